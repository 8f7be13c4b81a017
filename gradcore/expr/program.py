"""A `Program`: named inputs and one or more output expressions; what one fused elementwise kernel computes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

from . import calculus
from .graph import Const, Input, Scalar, ScalarLike, as_scalar, input_names, key_of, make_input, substitute, topological

Derivative = Callable[..., Any]


class Program:
    """Scalar functions of named inputs, evaluated together for each element.

    `inputs` are the names in order, `outputs` the expressions. Programs are values: equal programs have equal `key`s.
    """

    def __init__(self, inputs: Sequence[str], outputs: Sequence[Scalar]):
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.key = f"{','.join(self.inputs)}|{key_of(self.outputs)}"
        self.nodes = topological(self.outputs)
        self._hash = hash(self.key)
        # What emitters made of it.
        self.compiled: dict[Any, Any] = {}
        unknown = set(input_names(self.outputs)) - set(self.inputs)
        if unknown:
            raise ValueError(f"the expression uses {sorted(unknown)}, which are not among its inputs {self.inputs}")

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Program) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Program(({', '.join(self.inputs)}) -> {', '.join(map(repr, self.outputs))})"

    @cached_property
    def operations(self) -> int:
        """How many operators one element costs."""
        return sum(n.op is not None for n in self.nodes)

    @cached_property
    def covers(self) -> bool:
        """Whether every output depends on every input, and so has the shape they broadcast to."""
        return all(set(input_names((o,))) == set(self.inputs) for o in self.outputs)

    @cached_property
    def random(self) -> bool:
        """Whether it draws random numbers, and so depends on the element's position."""
        return any(n.op is not None and n.op.name == "uniform" for n in self.nodes)

    def output_kind(self, index: int) -> str:
        """`"bool"` if output `index` is a truth value, `"operand"` if it is one for bool inputs, else `"value"`."""
        return result_kind(self.outputs[index])

    def promotes(self, name: str) -> bool:
        """Whether the input takes part in arithmetic: false for one that is only ever a condition or an operand of
        logical operators, which a bool array may stay."""
        leaf = make_input(name)
        return any(
            any(a is leaf for a in (n.args[1:] if n.op.name == "where" else n.args))
            for n in self.nodes
            if n.op and not n.op.name.startswith("logical_")
        ) or any(o is leaf for o in self.outputs)

    @cached_property
    def fractional(self) -> bool:
        """Whether integers give fractions: an operator that is not defined within the integers, or a fraction in it."""
        return any(n.op.fractional if n.op else isinstance(getattr(n, "value", None), float) for n in self.nodes)

    def bind(self, **constants: float) -> Program:
        """The program with some inputs fixed to constants, simplified."""
        names = tuple(n for n in self.inputs if n not in constants)
        replacements: dict[Scalar, Scalar] = {make_input(n): as_scalar(v) for n, v in constants.items()}
        return Program(names, substitute(self.outputs, replacements))

    def positional(self) -> Program:
        """The program with its inputs called `a0`, `a1`, ..., which leaves `grad0` and `result0` free."""
        names = [f"a{i}" for i in range(len(self.inputs))]
        replacements: dict[Scalar, Scalar] = {make_input(old): make_input(new) for old, new in zip(self.inputs, names)}
        return Program(names, substitute(self.outputs, replacements))

    def gradient(
        self, wrt: Sequence[str], derivative: Derivative | None = None, recompute: bool = False
    ) -> tuple[Program, tuple[bool, ...]]:
        """The program of the gradients with respect to the inputs `wrt`.

        Its inputs are those it needs of: `grad0`, `grad1`, ... (one for each output), the inputs, and `result0`, ...
        (the saved outputs). The second value tells, for each name in `wrt`, whether there is a gradient: an input
        whose derivative is zero everywhere has no output in the program.

        `derivative(grads, inputs, results)` replaces the symbolic rule; each argument is a tuple of scalars and it
        returns one scalar or None for each input. With `recompute` nothing is saved but the inputs.
        """
        inputs = tuple(make_input(n) for n in self.inputs)
        taken = [n for n in self.inputs if re.fullmatch(r"(grad|result)\d+", n)]
        if taken:
            raise ValueError(f"an expression's input may not be called {taken[0]!r}: gradients and results are")
        grads = tuple(make_input(f"grad{i}") for i in range(len(self.outputs)))
        saved = tuple(make_input(f"result{i}") for i in range(len(self.outputs)))
        results: tuple[Scalar, ...] = self.outputs if recompute else saved
        wanted = [self.inputs.index(n) for n in wrt]
        if derivative is not None:
            given = derivative(grads, inputs, results)
            values = [None if given[i] is None else as_scalar(given[i]) for i in wanted]
        else:
            values = list(calculus.gradients(self.outputs, grads, [inputs[i] for i in wanted], results))
        outputs = tuple(v for v in values if v is not None)
        used = set(input_names(outputs))
        names = tuple(leaf.name for leaf in (*grads, *inputs, *saved) if leaf.name in used)
        return Program(names, outputs), tuple(v is not None for v in values)


@cache
def result_kind(node: Scalar) -> str:
    """The kind of value `node` yields: see `Program.output_kind`."""
    if node.op is None:
        return "bool" if isinstance(node, Const) and isinstance(node.value, bool) else "operand"
    if node.op.name == "where":
        kinds = {result_kind(a) for a in node.args[1:]}
        return kinds.pop() if len(kinds) == 1 else "value"
    return node.op.kind


def trace(function: Callable[..., ScalarLike | Sequence[ScalarLike]], names: Sequence[str] | None = None) -> Program:
    """Run `function` on symbolic scalars and record what it computes.

    `names` are the inputs' names: those of the function's parameters unless given.
    """
    if names is None:
        parameters = inspect.signature(function).parameters.values()
        for p in parameters:
            if p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"an expression takes plain positional parameters only, not *{p.name}")
        names = [p.name for p in parameters]
    result = function(*(make_input(n) for n in names))
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    return Program(names, tuple(as_scalar(o) for o in outputs))


__all__ = ["Input", "Program", "trace"]
