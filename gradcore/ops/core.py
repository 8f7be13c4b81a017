"""What an op is: a forward function on arrays, and a derivative written in op calls.

An op called on arrays runs; called on anything that defines `__gradcore_op__` (a Tensor) it hands itself over, which is
where promotion to the tape happens. A derivative is written in op calls, so one rule serves the ordinary backward pass
(on raw arrays, with no tape) and the one that records itself (on Tensors, for higher derivatives).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from ..backends import Array, Number, backend_of, is_array

Attrs = dict[str, Any]

REGISTRY: dict[str, Op] = {}


class Plan:
    """How to differentiate one op for one pattern of wanted gradients: what to keep, and what to do with it.

    `inputs` and `outputs` are the positions of the values to keep; `backward(grads, saved, attrs, meta)` returns one
    gradient (or None) for each input of the op. `meta` are the inputs' (shape, dtype, device), for rules that ask.
    """

    __slots__ = ("backward", "direct", "inputs", "meta", "op", "outputs")

    def __init__(
        self,
        op: Op,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        backward: Callable[..., Sequence[Any]],
        meta: bool = False,
        direct: Callable[..., Any] | None = None,
    ):
        self.op, self.inputs, self.outputs, self.backward, self.meta = op, inputs, outputs, backward, meta
        # For elementwise ops on the CPU: the generated function itself, called with the gradient and the saved values.
        self.direct = direct


class Op:
    """A differentiable function of arrays. Subclasses: `Elementwise` (from an expression) and `ArrayOp` (by hand)."""

    name: str
    signature: inspect.Signature
    # False: a new array. True: shares memory with its first input. None: sometimes (reshape).
    view: bool | None = False
    variadic = False
    inputs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    varargs: str | None = None
    public = True
    # The class of the tape's node, as PyTorch names it.
    grad_name: str

    def __init__(self, function: Callable[..., Any], name: str | None = None, grad_name: str | None = None):
        self.name = name or function.__name__
        self.function = function
        self.signature = inspect.signature(function)
        self.__doc__ = inspect.getdoc(function)
        self.parameters = tuple(self.signature.parameters)
        self.defaults = {
            n: p.default for n, p in self.signature.parameters.items() if p.default is not inspect.Parameter.empty
        }
        camel = "".join(part.capitalize() for part in self.name.strip("_").split("_"))
        self.grad_name = grad_name or f"{camel}Backward0"
        self.plan = lru_cache(maxsize=None)(self.make_plan)

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}>"

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        for value in inputs:
            if not is_array(value) and hasattr(value, "__gradcore_op__"):
                return value.__gradcore_op__(self, inputs, attrs)
        return self.run(inputs, attrs)

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        """The result for arrays (and numbers): an array, or a tuple of arrays."""
        raise NotImplementedError

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        """The plan for the gradients marked in `needs`; `key` is what `plan_key` gave."""
        raise NotImplementedError

    def plan_key(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        """What, besides the wanted gradients, a plan depends on."""
        return None

    def function_of(self, run: Callable[[Op, tuple[Any, ...], Attrs], Any], name: str | None = None) -> Any:
        """A Python function with the op's own signature that calls `run(op, inputs, attrs)`.

        It is generated, so that Python itself binds the arguments: fast, and with its own messages.
        """
        name = name or self.name
        scope: dict[str, Any] = {"run": run, "op": self}
        parameters, attributes, keyword_only = [], [], False
        pack = ""
        for p in self.signature.parameters.values():
            if p.name == self.varargs:
                parameters += ["*given", f"{p.name}=None"]
                pack = (
                    f"    if {p.name} is None:\n"
                    f"        {p.name} = given[0] if len(given) == 1 and given[0].__class__ is not int else given\n"
                )
            else:
                if p.kind is p.KEYWORD_ONLY and not keyword_only:
                    parameters.append("*")
                    keyword_only = True
                default = ""
                if p.default is not p.empty:
                    scope[f"default_{p.name}"] = p.default
                    default = f"=default_{p.name}"
                parameters.append(p.name + default)
            if p.name not in self.inputs:
                attributes.append(f"{p.name!r}: {p.name}")
        inputs = f"tuple({self.inputs[0]})" if self.variadic else "".join(f"{n}, " for n in self.inputs)
        text = (
            f"def {name}({', '.join(parameters)}):\n{pack}    return run(op, ({inputs}), {{{', '.join(attributes)}}})\n"
        )
        exec(text, scope)
        function = scope[name]
        function.__module__ = "gradcore"
        function.__doc__ = self.__doc__
        function.__signature__ = self.signature
        function.op = self
        return function


class ArrayOp(Op):
    """An op whose forward is a function on arrays and whose derivative is a table of rules.

    The parameters annotated `Array`, `Array | None` or (one, the first) `Sequence[Array]` are the tensor inputs; the
    others are attributes. `rules` maps an input's name to a function that returns its gradient; `rules["*"]` is one
    function that returns all of them, for gradients computed together. What a rule needs it names in its parameters:

    `g` (the gradient; `gs`, a tuple, for ops with several results), an input, `result` (`result1`, ... for further
    ones), an attribute, `NAME_shape`, `NAME_dtype` and `NAME_device` of an input, `needs` (which gradients are
    wanted). Only what is named is kept alive.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None, grad_name: str | None = None):
        super().__init__(function, name, grad_name)
        annotated = {n: str(p.annotation) for n, p in self.signature.parameters.items()}
        self.inputs = tuple(n for n, a in annotated.items() if a in ("Array", "Array | None", "Sequence[Array]"))
        self.variadic = bool(self.inputs) and annotated[self.inputs[0]] == "Sequence[Array]"
        self.rules: dict[str, Callable[..., Any]] = {}
        self.composite: Callable[..., Any] | None = None

    def derivative(self, **rules: Callable[..., Any]) -> None:
        """Set the rules by input name."""
        self.rules.update(rules)

    def joint_derivative(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set one rule for all inputs (a decorator)."""
        self.rules["*"] = rule
        return rule

    def composite_of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the definition in plain ops (a decorator): what higher derivatives are taken of, and the tests' oracle.

        Needed where a derivative is a kernel that is not itself differentiable. It returns the first result only.
        """
        self.composite = function
        return function

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        if self.variadic:
            return self.function(list(inputs), **attrs)
        return self.function(*inputs, **attrs)

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        joint = self.rules.get("*")
        if joint is not None:
            rules = [joint]
        else:
            rules = [self.rules[n] if need else None for n, need in zip(self.inputs, needs)]  # type: ignore[misc]
        wanted = [tuple(inspect.signature(r).parameters) if r is not None else () for r in rules]
        names = {n for w in wanted for n in w}
        if self.variadic:
            kept: tuple[int, ...] = ()
        else:
            kept = tuple(i for i, n in enumerate(self.inputs) if n in names)
        results = sorted(n for n in names if re.fullmatch(r"result\d*", n))
        outputs = tuple(int(n[6:] or 0) for n in results)
        meta = any(n.endswith(("_shape", "_dtype", "_device")) for n in names)
        inputs, defaults = self.inputs, self.defaults

        def arguments(gs: Sequence[Any], saved: Sequence[Any], attrs: Attrs, metas: Any) -> Attrs:
            values = {**defaults, **attrs, "gs": gs, "g": gs[0], "needs": needs}
            for position, value in zip(kept, saved):
                values[inputs[position]] = value
            values.update(zip(results, saved[len(kept) :]))
            if meta:
                if self.variadic:
                    values[f"{self.inputs[0]}_shape"] = tuple(m[0] for m in metas)
                else:
                    for name, m in zip(inputs, metas):
                        values[f"{name}_shape"], values[f"{name}_dtype"], values[f"{name}_device"] = m or (None,) * 3
            return values

        def backward(gs: Sequence[Any], saved: Sequence[Any], attrs: Attrs, metas: Any) -> Sequence[Any]:
            values = arguments(gs, saved, attrs, metas)
            if joint is not None:
                return joint(**{n: values[n] for n in wanted[0]})  # type: ignore[no-any-return]
            return [r(**{n: values[n] for n in w}) if r is not None else None for r, w in zip(rules, wanted)]

        return Plan(self, kept, outputs, backward, meta)


def array_op(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    grad_name: str | None = None,
    view: bool | None = False,
    method: bool = True,
    varargs: str | None = None,
    public: bool = True,
) -> Any:
    """Declare an `ArrayOp` (a decorator). `method`: also a method of Tensor; `public`: also a function of gradcore."""

    def declare(f: Callable[..., Any]) -> ArrayOp:
        op = ArrayOp(f, name, grad_name)
        op.view, op.varargs, op.public = view, varargs, public
        op.methods = (op.name,) if method and public else ()
        return register(op)

    return declare(function) if function is not None else declare


def array_of(value: Any) -> Array:
    """The array of a Tensor; an array is returned as it is."""
    return getattr(value, "_array", value)


def register(op: Any) -> Any:
    """Enter `op` in the registry under its name."""
    if op.name in REGISTRY:
        raise ValueError(f"an op called {op.name!r} is declared already, in {REGISTRY[op.name].function.__module__}")
    REGISTRY[op.name] = op
    return op


def one_backend(op: str, inputs: Sequence[Array | Number], names: Sequence[str]) -> Any:
    """The backend of all array inputs; RuntimeError naming the odd one out and the fix if they are on several."""
    first: Any = None
    at = 0
    for position, value in enumerate(inputs):
        if is_array(value):
            backend = backend_of(value)
            if first is None:
                first, at = backend, position
            elif backend is not first:
                one, other = (names[i] if i < len(names) else f"#{i}" for i in (at, position))
                raise RuntimeError(
                    f"{op}(): expected all tensors to be on the same device, but found at least two devices, "
                    f"{first.device} (argument '{one}') and {backend.device} (argument '{other}'). "
                    f"Move one of them: {other}.to('{first.device}')"
                )
    if first is None:
        raise TypeError(f"{op}(): at least one argument must be a Tensor")
    return first
