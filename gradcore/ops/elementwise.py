"""Elementwise ops: everything follows from a scalar expression."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import Array, Number, backend_of, cpu, is_array
from ..expr import Primitive, Program, trace
from ..expr.graph import Scalar, as_scalar, input_names, make_const, make_input, make_node, substitute
from ..expr.numpy_emit import compile_numpy
from .convert import to_copy
from .core import Attrs, BatchRule, Op, Plan, array_of, one_backend, register
from .precision import Precision
from .shape import each_ranked

_CATEGORIES = ("bool", "integer", "floating point")
_numbers = itertools.count()
_TAKES = {"number": (1, 2), "integral": (1, 0), "floating": (2,)}


class Elementwise(Op):
    """An op declared by a Python function over scalars.

    The positional parameters are tensors or numbers. Keyword-only parameters are numbers or options. Options (None,
    strings, bools) and the numbers listed in `static` are seen by the function as they are, so that it can choose
    between expressions; other numbers become arguments of the kernel. `static` lists the strings as well.
    """

    # Whether the backward pass computes the result again where it wants it, instead of keeping it.
    recompute = False

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        grad_name: str | None = None,
        promote: str | None = "default",
        static: dict[str, tuple[float | str, ...]] | None = None,
        derivative: Callable[..., Any] | None = None,
        program: Program | None = None,
        bool_error: str | None = None,
        tensors: tuple[str, ...] = (),
    ):
        super().__init__(function, name, grad_name)
        self.tensors = tensors
        self.promote = promote
        self.static = static or {}
        self.by_hand = derivative
        self.bool_error = bool_error
        self.program_of = lru_cache(maxsize=None)(self._program_of)
        self.primitive = lru_cache(maxsize=None)(self._primitive)
        self.tangent_rule = lru_cache(maxsize=None)(self._tangent_rule)
        self._given = program
        if program is not None:
            self.parameters, self.defaults = program.inputs, {}
        given = self.signature.parameters.values()
        self.inputs = self.parameters if program else tuple(p.name for p in given if p.kind is not p.KEYWORD_ONLY)
        # The inputs are tensors or numbers, whatever their values: without attributes there is one program.
        self.plain = not any(n in self.static or n in self.defaults for n in self.inputs)
        self.default_key = tuple(
            (self.defaults[n], self.defaults[n].__class__) if n not in self.inputs and n in self.defaults else None
            for n in self.parameters
        )
        self._types: dict[Any, tuple[np.dtype, list[np.dtype]]] = {}

    # -- programs
    def _program_of(self, key: tuple[Any, ...]) -> Program:
        """The program for a static key: for each parameter a 1-tuple with its static value, or None."""
        if self._given is not None:
            return self._given
        fixed = self.fixed(key)
        free = [n for n in self.parameters if n not in fixed]
        return trace(lambda *scalars: self.function(**fixed, **dict(zip(free, scalars))), free)

    def fixed(self, key: tuple[Any, ...]) -> dict[str, Any]:
        """The parameters that a static key fixes, by name."""
        return {n: k[0] for n, k in zip(self.parameters, key) if k is not None}

    def split(self, inputs: Sequence[Any], attrs: Attrs) -> tuple[tuple[Any, ...], Sequence[Any]]:
        """The static key, and the values for the program's inputs in order."""
        if self.plain and not attrs:
            return self.default_key, inputs
        key: list[Any] = []
        values: list[Any] = []
        for position, name in enumerate(self.parameters):
            value = inputs[position] if position < len(inputs) else attrs.get(name, self.defaults.get(name))
            fixed = (
                (value is None and name in self.defaults)
                or (isinstance(value, (str, bool)) and name not in self.inputs)
                or (name in self.static and isinstance(value, (int, float)) and value in self.static[name])
            )
            if fixed:
                # 2 and 2.0 are equal keys but different constants.
                key.append((value, value.__class__))
            else:
                key.append(None)
                values.append(value)
        return tuple(key), values

    def traced(self, inputs: Sequence[Any], attrs: Attrs) -> Scalar:
        """The op's expression with scalars and numbers in the place of its inputs: a call within another expression."""
        key, values = self.split(inputs, attrs)
        program = self.program_of(key)
        if program.random:
            raise TypeError(f"{self.name}() cannot be used within an expression, which would repeat its random numbers")
        operands = tuple(map(as_scalar, values))
        replacements: dict[Scalar, Scalar] = dict(zip(map(make_input, program.inputs), operands))
        value = substitute(program.outputs, replacements)[0]
        return value if self.by_hand is None else make_node(self.primitive(key), (value, *operands))

    def _primitive(self, key: tuple[Any, ...]) -> Primitive:
        """An operator that returns its first operand, with this op's derivative by hand for the others."""
        program = self.program_of(key)
        by_hand: Any = self._hand_rule(program, self.fixed(key))

        def rule(g: Scalar, value: Scalar, *rest: Scalar) -> tuple[Scalar | None, ...]:
            grads = by_hand((g,), rest[:-1], rest[-1:])
            return None, *(None if x is None else as_scalar(x) for x in grads)

        return Primitive(f"{self.name}_{next(_numbers)}", 1 + len(program.inputs), "{0}", "{0}", rule)

    # -- forward
    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        key, values = self.split(inputs, attrs)
        program = self.program_of(key)
        # Numbers that the program holds as constants take part in promotion like the others.
        constants = () if self.plain else tuple([k[1] for n, k in zip(self.inputs, key) if k and k[0] is not None])
        outputs = self.evaluate(program, values, constants)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def evaluate(
        self, program: Program, values: Sequence[Array | Number], constants: tuple[type, ...] = ()
    ) -> list[Array]:
        """Run `program` on arrays and numbers, promoted by PyTorch's rules with numbers of the types `constants`."""
        compute, out_dtypes = self.types(program, kinds_of(values), constants)
        backend = one_backend(self.name, values, program.inputs)
        shape = broadcast_shape(self.name, values)
        if compute.kind in "iu":  # numbers wrap around, as the elements do
            values = [int(np.int64(v).astype(compute)) if v.__class__ is int else v for v in values]
        try:
            return backend.elementwise(program, values, compute, out_dtypes, shape)
        except (TypeError, ValueError, ZeroDivisionError) as error:  # NumPy's refusals: 2 ** -1, 1 // 0, ...
            raise RuntimeError(f"{self.name}(): {error}") from None

    def types(
        self, program: Program, signature: tuple[Any, ...], constants: tuple[type, ...] = ()
    ) -> tuple[np.dtype, list[np.dtype]]:
        """The dtype computed in and the outputs' dtypes, for operands given as to `promoted_type`."""
        default = dtypes.get_default_dtype()
        found = self._types.get((program, signature, constants, default))
        if found is None:
            operands, options = [(kind, None) for kind in constants], []
            for position, (name, (kind, dims)) in enumerate(zip(program.inputs, signature)):
                if dims is None and (name in self.tensors or kind not in (bool, int, float)):
                    raise TypeError(
                        f"{self.name}(): argument '{name}' (position {position + 1}) must be "
                        f"{'Tensor' if name in self.tensors else 'Tensor or Number'}, not {kind.__name__}"
                    )
                if name in self.inputs:
                    operands.append((kind, dims))
                elif kind is float:
                    options.append(name)
            promoted = promoted_type(operands)
            promote = self.promote
            if promote is None:  # the expression tells
                promote = "float" if program.fractional or options else "default"
            if promote == "float" and not promoted.is_floating_point:
                promoted = default
            elif promote == "whole" and promoted is dtypes.bool_:
                promoted = dtypes.int64
            elif self.bool_error and any(kind in (bool, dtypes.bool_.numpy) for kind, _ in operands):
                raise RuntimeError(f"{self.name}(): {self.bool_error}")
            elif (taken := _TAKES.get(promote)) and promoted.category not in taken:
                raise NotImplementedError(
                    f"\"{self.name}\" not implemented for '{dtypes.type_name(promoted.numpy)}': it takes "
                    f"{' or '.join(_CATEGORIES[c] for c in taken)} tensors; convert first"
                )
            if options and not promoted.is_floating_point:
                raise RuntimeError(
                    f"{self.name}(): For integral input tensors, argument {options[0]} must not be a floating point "
                    "number."
                )
            compute = promoted.numpy
            outs = [
                compute if program.output_kind(i) != "bool" else dtypes.bool_.numpy for i in range(len(program.outputs))
            ]
            found = self._types[program, signature, constants, default] = (compute, outs)
        return found

    # -- batches
    @staticmethod
    def _batch(
        op: Elementwise,
        inputs: Sequence[Any],
        shapes: Sequence[Any],
        batched: Sequence[bool],
        attrs: Attrs,
        size: int,
    ) -> Any:
        """The members' dimensions aligned, and the op itself."""
        rank = len(common_shape(op.name, [s for s in shapes if s is not None]))
        values = promoted_as_members(inputs, shapes, batched)
        return op(*each_ranked(values, shapes, batched, rank, size), **attrs)

    batch_rule = BatchRule(_batch)

    # -- derivative
    def plan_key(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        key, values = self.split(inputs, attrs)
        return key, tuple([not is_array(v) for v in values])

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        static, numbers = key
        program = self.program_of(static)
        wanted = [n for n, need in zip(self.inputs, needs) if need]
        gradient, present = program.gradient(wanted, self._hand_rule(program, self.fixed(static)), self.recompute)
        if not all(present):
            found = iter(gradient.outputs)
            gradient = Program(gradient.inputs, [next(found) if p else make_const(0) for p in present])
            if "grad0" not in gradient.inputs:  # it brings the shape and the dtype
                gradient = Program(("grad0", *gradient.inputs), gradient.outputs)
        programs = (program, gradient)
        op = _derived_op(self, gradient, "backward")
        # Where each of the gradient program's inputs comes from.
        outputs = range(len(program.outputs))
        grads = [i for i in outputs if f"grad{i}" in gradient.inputs]
        given = [n for n in gradient.inputs if n in program.inputs]
        results = tuple(i for i in outputs if f"result{i}" in gradient.inputs)
        positions = tuple(self.inputs.index(n) for n in given if n in self.inputs)
        numbered = [n for n in given if n not in self.inputs]  # keyword-only numbers, found in attrs
        in_order = [n for n in given if n in self.inputs] == given
        places = [i for i, need in enumerate(needs) if need]
        count = len(self.inputs)
        scalars = frozenset(n for n, number in zip(program.inputs, numbers) if number)

        def backward(gs: Sequence[Any], saved: Sequence[Any], attrs: Attrs, meta: Any) -> Sequence[Any]:
            values = dict(zip([self.inputs[p] for p in positions], saved))
            for name in numbered:
                values[name] = attrs.get(name, self.defaults.get(name))
            out = op(*(gs[i] for i in grads), *(values[n] for n in given), *saved[len(positions) :])
            full: list[Any] = [None] * count
            for place, value in zip(places, out if len(places) > 1 else (out,)):
                full[place] = value
            return full

        direct = None
        shaped = all("grad0" in input_names((o,)) for o in gradient.outputs)
        if shaped and grads == [0] and in_order and not numbered and len(program.outputs) == 1 and not gradient.random:
            direct = _padded(compile_numpy(gradient, scalars & set(gradient.inputs)), places, count)
            if not gradient.operations:  # the gradient itself, at any size: there is nothing to run
                passed_on = direct
                return Plan(self, (), (), lambda gs, saved, attrs, meta: passed_on(gs[0]), None, direct, programs)
        return Plan(self, positions, results, backward, None, direct, programs)

    def tangent(self, inputs: Sequence[Any], tangents: Sequence[Any], attrs: Attrs, results: Sequence[Any]) -> Any:
        """The tangent of the result, from those of the inputs (None: a constant); None if it is zero everywhere.

        The Jacobian is diagonal: what takes the gradient of the result to that of an input takes the tangent of the
        input to that of the result. One fused program adds up the inputs'. NotImplemented where it cannot be had so.
        """
        key, _ = self.split(inputs, attrs)
        rule = self.tangent_rule(tuple([t is not None for t in tangents]), key)
        if rule is None or rule is NotImplemented:
            return rule
        op, sources = rule
        known = {f"tangent{i}": t for i, t in enumerate(tangents)}
        known.update(zip(self.inputs, inputs))
        known.update({n: attrs.get(n, self.defaults.get(n)) for n in sources if n not in known})
        return op(*[results[0] if n == "result0" else known[n] for n in sources])

    def _tangent_rule(self, given: tuple[bool, ...], key: tuple[Any, ...]) -> Any:
        """The op that `tangent` runs, and the names of its operands: `tangent0`, ..., inputs, `result0`."""
        program = self.program_of(key)
        wanted = [n for n, g in zip(self.inputs, given) if g]
        if len(program.outputs) > 1 or program.random:
            return NotImplemented
        gradient, present = program.gradient(wanted, self._hand_rule(program, self.fixed(key)), self.recompute)
        terms = iter(gradient.outputs)
        total: Any = None
        for name, p in zip(wanted, present):
            if p:
                tangent = make_input(f"tangent{self.inputs.index(name)}")
                (term,) = substitute((next(terms),), {make_input("grad0"): tangent})
                total = term if total is None else total + term
        if total is None:
            return None
        program = Program(sorted(input_names((total,))), [total])
        return _derived_op(self, program, "tangent"), program.inputs

    def _hand_rule(self, program: Program, fixed: dict[str, Any]) -> Callable[..., Any] | None:
        if self.by_hand is None:
            return None
        rule, names = self.by_hand, program.inputs

        def derivative(gs: tuple[Any, ...], inputs: tuple[Any, ...], results: tuple[Any, ...]) -> Any:
            values = {**fixed, **dict(zip(names, inputs)), "g": gs[0], "result": results[0]}
            given = rule(**{n: values[n] for n in inspect.signature(rule).parameters})
            grads = given if isinstance(given, tuple) else (given,)
            if len(grads) != len(self.inputs):
                raise TypeError(
                    f"{self.name}(): its derivative returned {len(grads)} gradients, for {len(self.inputs)} inputs "
                    f"({', '.join(self.inputs)}); None stands for zero"
                )
            by_name = dict(zip(self.inputs, grads))
            return tuple(by_name.get(n) for n in names)

        return derivative


def _padded(function: Callable[..., Any], places: Sequence[int], count: int) -> Callable[..., Any]:
    """`function`'s gradients as a tuple with one entry for each input of the op."""
    if len(places) == count:
        return function if count > 1 else lambda *a: (function(*a),)
    if count == 2:
        return (lambda *a: (function(*a), None)) if places[0] == 0 else (lambda *a: (None, function(*a)))

    def padded(*a: Any) -> tuple[Any, ...]:
        out = iter(function(*a) if len(places) > 1 else (function(*a),))
        return tuple(next(out) if i in places else None for i in range(count))

    return padded


_derived_ops: dict[tuple[str, str, str], Elementwise] = {}


def _derived_op(op: Elementwise, program: Program, kind: str) -> Elementwise:
    """An op that computes a derivative of `op`, of the `kind` "backward" or "tangent"."""
    found = _derived_ops.get((op.name, kind, program.key))
    if found is None:
        found = Elementwise(op.function, name=f"{op.name}_{kind}", program=program.positional())
        found.batch_rule = op.batch_rule
        _derived_ops[(op.name, kind, program.key)] = found
    return found


def kinds_of(values: Sequence[Array | Number]) -> tuple[Any, ...]:
    """What promotion must know of operands: (NumPy dtype, has dimensions) or, of a number, (Python type, None)."""
    return tuple([(v.dtype, v.ndim > 0) if is_array(v) else (v.__class__, None) for v in values])


def promoted_type(signature: Sequence[tuple[Any, bool | None]]) -> dtypes.dtype:
    """PyTorch's result type for operands given as (NumPy dtype, has dimensions) or (Python type, None)."""
    groups: dict[Any, dtypes.dtype] = {}
    for kind, dims in signature:
        if dims is None:
            d = dtypes.bool_ if kind is bool else dtypes.int64 if kind is int else dtypes.get_default_dtype()
        else:
            d = dtypes.from_numpy(kind)
        groups[dims] = dtypes.promote_types(groups[dims], d) if dims in groups else d
    return dtypes.result_type(groups.get(True), groups.get(False), groups.get(None))


def promoted_as_members(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    """The inputs, converted where a batch of zero-dimensional tensors would be promoted as its members are not."""
    values = list(inputs)
    if not any(b and not s for s, b in zip(shapes, batched)):
        return values
    kinds = [(v.__class__, None) if s is None else (array_of(v).dtype, bool(s)) for v, s in zip(values, shapes)]
    if len({kind for kind, dims in kinds if dims is not None}) == 1:
        return values
    wanted = promoted_type([kind for kind in kinds if kind[0] is not type(None)])
    for i, (kind, dims) in enumerate(kinds):
        if batched[i] and not dims:
            own = dtypes.from_numpy(kind)
            if own.category == wanted.category and own is not wanted:
                values[i] = to_copy(values[i], dtype=wanted)
    return values


def broadcast_shape(op: str, values: Sequence[Any]) -> tuple[int, ...]:
    """The common shape of the array operands; RuntimeError, worded as PyTorch's, if there is none."""
    return common_shape(op, [value.shape for value in values if is_array(value)])


def common_shape(op: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that all of `shapes` broadcast to."""
    shape = shapes[0]
    for other in shapes[1:]:
        if shape == other:
            continue
        n = max(len(shape), len(other))
        a, b = (1,) * (n - len(shape)) + shape, (1,) * (n - len(other)) + other
        for dim in reversed(range(n)):
            if a[dim] != b[dim] and a[dim] != 1 and b[dim] != 1:
                raise RuntimeError(
                    f"{op}(): The size of tensor a ({a[dim]}) must match the size of tensor b ({b[dim]}) "
                    f"at non-singleton dimension {dim} (shapes {list(shape)} and {list(other)})"
                )
        shape = tuple(y if x == 1 else x for x, y in zip(a, b))
    return shape


def elementwise(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    grad_name: str | None = None,
    promote: str = "default",
    static: dict[str, tuple[float | str, ...]] | None = None,
    derivative: Callable[..., Any] | None = None,
    method: bool = True,
    inplace: bool = True,
    bool_error: str | None = None,
    tensors: tuple[str, ...] = (),
    kind: type[Elementwise] = Elementwise,
    precision: Precision | None = None,
) -> Any:
    """Declare an elementwise op (a decorator): function, method, in-place method, kernels and derivatives follow.

    `promote="float"` computes integers in the default float type, `"whole"` bools as int64; `"integral"` refuses
    floats, `"number"` bools, and `"floating"` takes floats alone.
    `derivative` replaces the symbolic one: a function of what it names among `g`, `result` and the inputs, returning
    one gradient for each input of the op. `bool_error` is the message for any bool operand, where they are refused.
    `tensors` names the inputs that may not be numbers; `kind` is the class of the op, `precision` what autocast does
    with the operands.
    """

    def declare(f: Callable[..., Any]) -> Elementwise:
        op = kind(
            f,
            name=name,
            grad_name=grad_name,
            promote=promote,
            static=static,
            derivative=derivative,
            bool_error=bool_error,
            tensors=tensors,
        )
        op.precision = precision
        op.methods = ((op.name, op.name + "_") if inplace else (op.name,)) if method else ()
        return register(op)

    return declare(function) if function is not None else declare


__all__ = ["Elementwise", "backend_of", "broadcast_shape", "cpu", "elementwise", "promoted_type"]
