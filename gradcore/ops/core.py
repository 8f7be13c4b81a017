"""What an op is: a forward function on arrays, and a derivative written in op calls.

An op called on arrays runs; called on anything that defines `__gradcore_op__` (a Tensor) it hands itself over, which is
where promotion to the tape happens. A derivative is written in op calls, so one rule serves the ordinary backward pass
(on raw arrays, with no tape) and the one that records itself (on Tensors, for higher derivatives).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from typing import Any

from ..backends import Array, Number, backend_of, is_array
from ..expr import Program, Scalar
from .precision import Precision

Attrs = dict[str, Any]

GradName = str | Callable[[Any], str]

REGISTRY: dict[str, Op] = {}


class BatchRule:
    """A rule of `Op.batching`, called with what it names."""

    def __init__(self, rule: Callable[..., Any]):
        self.rule = rule

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the rule asks for."""
        return tuple(inspect.signature(self.rule).parameters)

    def __call__(self, op: Op, inputs: Sequence[Any], attrs: Attrs, **known: Any) -> Any:
        known = {**op.defaults, **attrs, "op": op, "inputs": inputs, "attrs": attrs, **known}
        if not op.variadic:
            known.update(zip(op.inputs, inputs))
            known.update({f"{n}_shape": shape for n, shape in zip(op.inputs, known["shapes"])})
        return self.rule(**{n: known[n] for n in self.names})


class Plan:
    """How to differentiate one op for one pattern of wanted gradients: what to keep, and what to do with it.

    `inputs` and `outputs` are the positions of the values to keep; `backward(grads, saved, attrs, meta)` returns one
    gradient (or None) for each input of the op. `meta`, for rules that ask, is what `describe(inputs)` made of the
    arrays: of each input its shape, dtype and device, as far as they are asked for.
    """

    __slots__ = ("backward", "describe", "direct", "inputs", "op", "outputs", "programs")

    def __init__(
        self,
        op: Op,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        backward: Callable[..., Sequence[Any]],
        describe: Callable[[Sequence[Any]], Any] | None = None,
        direct: Callable[..., Any] | None = None,
        programs: tuple[Program, Program] | None = None,
    ):
        self.op, self.inputs, self.outputs, self.backward, self.describe = op, inputs, outputs, backward, describe
        # For elementwise ops: what is computed, and the gradients that are wanted of it.
        self.programs = programs
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
    # Whether `out` may not share memory with an input.
    apart = False
    # The definition in plain ops, which higher derivatives are taken of. An op that has one gives its first `results`
    # alone; the others are what its kernel keeps for the backward pass.
    composite: Callable[..., Any] | None = None
    results = 1
    # Whether the derivative wants zeros, not None, for results that no gradient arrived at.
    fill_grads = True
    # How it runs on batches (see `batching`).
    batch_rule: BatchRule | None = None
    # Whether `out` must have the dtype of the result, instead of one that it converts to.
    exact_out = False
    # What autocast does with the operands; None: nothing.
    precision: Precision | None = None
    # The class of the tape's node, as PyTorch names it, or a function of the node where PyTorch has several.
    grad_name: GradName

    def __init__(self, function: Callable[..., Any], name: str | None = None, grad_name: GradName | None = None):
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
            if hasattr(value, "__gradcore_op__"):
                return value.__gradcore_op__(self, inputs, attrs)
        return self.run(inputs, attrs)

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        """The result for arrays (and numbers): an array, or a tuple of arrays."""
        raise NotImplementedError

    def batching(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set how the op runs on batches, in op calls (a decorator).

        The rule gets the inputs with the batch in front, where they are batched, and returns the results so. What it
        needs it names in its parameters: an input or an attribute; `inputs`, the list, and `attrs`, all of them;
        `batched`, which of the inputs are; `NAME_shape`, an input's without the batch, and `shapes`, all of them;
        `size`, that of the batch; `randomness`; `op`; for ops with an index key, `batched_key`, which of its entries
        are. It may return NotImplemented: then the op's composite is run instead.
        """
        self.batch_rule = BatchRule(rule)
        return rule

    def maker(self, node: Any, k: int) -> tuple[Any, int]:
        """The node that made what `node` saved in place `k`, beyond the inputs and results that its plan names."""
        return None, 0

    def traced(self, inputs: Sequence[Any], attrs: Attrs) -> Scalar:
        """What the op is within the expression of an elementwise op that is being traced."""
        raise TypeError(
            f"{self.name}() cannot be used within an expression: it works on whole tensors, an expression on one "
            "element of each. Call it outside, and pass its result as an argument"
        )

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        """The plan for the gradients marked in `needs`; `key` is what `plan_key` gave."""
        raise NotImplementedError

    def plan_key(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        """What, besides the wanted gradients, a plan depends on."""
        return None

    def source(self, takes_out: bool) -> tuple[str, Attrs]:
        """The text of a Python function with the op's own signature that calls `run(op, inputs, attrs)`, and the
        defaults that it names `default_PARAMETER`.

        With `takes_out` there is one parameter more; unless it is None, `run_out(op, inputs, attrs, out)` is called.
        """
        parameters, attributes, defaults = [], [], {}
        keyword_only = False
        pack = ""
        for p in self.signature.parameters.values():
            if p.name == self.varargs:
                parameters += ["*given", f"{p.name}=None"]
                pack = f"  if {p.name} is None:\n   {p.name} = several(name, {p.name!r}, given)\n"
            else:
                if p.kind is p.KEYWORD_ONLY and not keyword_only:
                    parameters.append("*")
                    keyword_only = True
                default = ""
                if p.default is not p.empty:
                    defaults[f"default_{p.name}"] = p.default
                    default = f"=default_{p.name}"
                parameters.append(p.name + default)
            if p.name not in self.inputs:
                attributes.append(f"{p.name!r}: {p.name}")
        more = []
        if "dim" in self.defaults:  # NumPy's names, which PyTorch takes too
            more.append("axis=None")
            pack += "  if axis is not None:\n   dim = axis\n"
            if "keepdim" in self.defaults:
                more.append("keepdims=None")
                pack += "  if keepdims is not None:\n   keepdim = keepdims\n"
        inputs = "".join(f"{n}, " for n in self.inputs)
        if self.variadic:
            inputs = f"sequence(name, {self.inputs[0]!r}, {self.inputs[0]})"
        arguments = f"op, ({inputs}), {{{', '.join(attributes)}}}"
        if takes_out:
            more.append("out=None")
            pack += f"  if out is not None:\n   return run_out({arguments}, out)\n"
        if more and not keyword_only and self.varargs is None:
            parameters.append("*")
        parameters += more
        return f" def function({', '.join(parameters)}):\n{pack}  return run({arguments})\n", defaults


Runner = Callable[[Op, tuple[Any, ...], Attrs], Any]


_OUT = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Array | None")


def make_function(op: Op, name: str, run: Runner, run_out: Callable[..., Any] | None = None) -> Any:
    """A Python function with the op's own signature that calls `run(op, inputs, attrs)`.

    If there is a `run_out` it has a parameter `out`. It is generated, so that Python itself binds the arguments: fast,
    and with its own messages.
    """
    text, defaults = op.source(run_out is not None)
    function = _factory(text, tuple(defaults))(name, op, run, run_out, **defaults)
    function.__name__ = function.__qualname__ = name
    function.__code__ = function.__code__.replace(co_name=name)
    signature = op.signature
    if run_out is not None:
        signature = signature.replace(parameters=[*signature.parameters.values(), _OUT])
    function.__doc__, function.__signature__, function.op = op.__doc__, signature, op
    return function


@cache
def _factory(text: str, defaults: tuple[str, ...]) -> Callable[..., Any]:
    """What makes functions of such a text. Many ops share one: to compile it for each would be most of an import."""
    scope: dict[str, Any] = {"__name__": "gradcore", "several": _several, "sequence": _sequence}
    exec(f"def make({', '.join(('name', 'op', 'run', 'run_out', *defaults))}):\n{text} return function\n", scope)
    made: Callable[..., Any] = scope["make"]
    return made


def _several(op: str, name: str, given: tuple[Any, ...]) -> Any:
    """Several arguments, or the one that is a sequence of them."""
    if not given:
        raise TypeError(f'{op}() missing 1 required positional arguments: "{name}"')
    return given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _sequence(op: str, name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{op}(): argument '{name}' (position 1) must be tuple of Tensors, not {type(value).__name__}")
    return tuple(value)


class ArrayOp(Op):
    """An op whose forward is a function on arrays and whose derivative is a table of rules.

    The parameters annotated `Array`, `Array | None`, `Array | float` or (one, the first) `Sequence[Array]` are the
    tensor inputs, which calls pass by position, in this order; the others are attributes, passed by name. `rules` maps
    an input's name to a function that returns its gradient; `rules["*"]` is one function that returns all of them, for
    gradients computed together. What a rule needs it names in its parameters:

    `g` (the gradient; `gs`, a tuple, for ops with several results), an input, `inputs` (all of them), `result`
    (`result1`, ... for further ones), an attribute, `NAME_shape`, `NAME_dtype` and `NAME_device` of an input, `needs`
    (which gradients are wanted). Only what is named is kept alive.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None, grad_name: GradName | None = None):
        super().__init__(function, name, grad_name)
        annotated = {n: str(p.annotation) for n, p in self.signature.parameters.items()}
        self.inputs = tuple(n for n, a in annotated.items() if a in _INPUTS)
        self.variadic = bool(self.inputs) and annotated[self.inputs[0]] == "Sequence[Array]"
        self.leading = self.parameters[: len(self.inputs)] == self.inputs
        self.rules: dict[str, Callable[..., Any]] = {}
        # Groups of inputs, in each of which the op is linear while the others are fixed.
        self.linear: tuple[tuple[str, ...], ...] = ()
        self.forward_rule: Callable[..., Any] | None = None

    def derivative(self, **rules: Callable[..., Any]) -> None:
        """Set the rules by input name."""
        self.rules.update(rules)

    def joint_derivative(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set one rule for all inputs (a decorator)."""
        self.rules["*"] = rule
        return rule

    def forward_derivative(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set how forward mode gets the tangent of the (only) result, in op calls (a decorator).

        What the rule needs it names in its parameters: an input, `NAME_tangent` (None: a constant), `result`, an
        attribute. Without a rule the tangent is derived (see `autograd.tangents`), at a higher price.
        """
        self.forward_rule = rule
        return rule

    def forward(self, inputs: Sequence[Any], tangents: Sequence[Any], attrs: Attrs, result: Any) -> Any:
        """The tangent of the result, by the rule."""
        assert self.forward_rule is not None
        known = {**self.defaults, **attrs, **dict(zip(self.inputs, inputs)), "result": result}
        known.update({f"{n}_tangent": t for n, t in zip(self.inputs, tangents)})
        return self.forward_rule(**{n: known.get(n) for n in inspect.signature(self.forward_rule).parameters})

    def composite_of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the definition in plain ops (a decorator): what higher derivatives are taken of, and the tests' oracle.

        Needed where a derivative is a kernel that is not itself differentiable. It returns the first result only (the
        first `results`).
        """
        self.composite = function
        return function

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        try:
            if self.leading:
                return self.function(list(inputs), **attrs) if self.variadic else self.function(*inputs, **attrs)
            return self.function(**dict(zip(self.inputs, inputs)), **attrs)
        except AttributeError:
            for position, value in enumerate(inputs):
                if self.variadic and not is_array(value):
                    raise TypeError(
                        f"expected Tensor as element {position} in argument 0, but got {type(value).__name__}"
                    ) from None
                if not is_array(value) and value is not None:
                    name = self.inputs[position]
                    place = self.parameters.index(name)
                    raise TypeError(
                        f"{self.name}(): argument '{name}' (position {place + 1}) must be Tensor, not "
                        f"{type(value).__name__}"
                    ) from None
            raise

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        joint = self.rules.get("*")
        if joint is not None:
            rules: list[Any] = [joint]
        else:
            rules = [self.rules[n] if need else None for n, need in zip(self.inputs, needs)]
        wanted = [tuple(inspect.signature(r).parameters) if r is not None else () for r in rules]
        names = {n for w in wanted for n in w}
        kept = () if self.variadic else tuple(i for i, n in enumerate(self.inputs) if n in names or "inputs" in names)
        results = sorted(n for n in names if re.fullmatch(r"result\d*", n))
        outputs = tuple(int(n[6:] or 0) for n in results)

        # Generated: where each of a rule's parameters is found is settled here, not at every backward pass.
        scope: dict[str, Any] = {"needs": needs, "backend_of": backend_of, "nothing": (None,) * len(_FIELDS)}
        places = {"g": "gs[0]", "gs": "gs", "needs": "needs"}
        if not self.variadic:
            places["inputs"] = f"saved[:{len(kept)}]"
        places.update({self.inputs[p]: f"saved[{k}]" for k, p in enumerate(kept)})
        places.update({n: f"saved[{k}]" for k, n in enumerate(results, len(kept))})
        described = []  # for each input the text of its meta
        for i, n in enumerate(self.inputs):
            array = "a" if self.variadic else f"arrays[{i}]"
            fields = [text.format(array) if f"{n}_{field}" in names else "None" for field, text in _FIELDS.items()]
            optional = f" if {array} is not None else nothing" if n in self.defaults else ""
            described.append(f"({', '.join(fields)}){optional}")
            for k, field in enumerate(_FIELDS):
                places[f"{n}_{field}"] = f"tuple([m[{k}] for m in meta])" if self.variadic else f"meta[{i}][{k}]"
        for n in self.parameters:
            if n not in self.inputs:
                scope[f"default_{n}"] = self.defaults.get(n)
                places[n] = f"attrs.get({n!r}, default_{n})"
        calls = []
        for i, (rule, parameters) in enumerate(zip(rules, wanted)):
            scope[f"rule{i}"] = rule
            unknown = [n for n in parameters if n not in places]
            if unknown:
                raise TypeError(f"{self.name}: a rule asks for {unknown[0]!r}; there are {', '.join(places)}")
            calls.append(
                f"rule{i}({', '.join(f'{n}={places[n]}' for n in parameters)})" if rule is not None else "None"
            )
        result = calls[0] if joint is not None else f"({', '.join(calls)},)"
        text = f"tuple([{described[0]} for a in arrays])" if self.variadic else f"({', '.join(described)},)"
        exec(f"def backward(gs, saved, attrs, meta):\n    return {result}\n", scope)
        exec(f"def describe(arrays):\n    return {text}\n", scope)
        return Plan(self, kept, outputs, scope["backward"], scope["describe"] if "meta" in result else None)


_INPUTS = frozenset(("Array", "Array | None", "Array | float", "Sequence[Array]"))
_FIELDS = {"shape": "{0}.shape", "dtype": "{0}.dtype", "device": "backend_of({0}).device"}


def array_op(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    grad_name: GradName | None = None,
    view: bool | None = False,
    method: bool = True,
    varargs: str | None = None,
    public: bool = True,
    linear: Sequence[str] = (),
    inplace: bool = False,
    apart: bool = False,
    results: int = 1,
    precision: Precision | None = None,
) -> Any:
    """Declare an `ArrayOp` (a decorator).

    `method`: also a method of Tensor, and with `inplace` one that ends in `_`; `public`: also a function of gradcore;
    `apart`: `out` may not share memory with an input; `results`: how many of its results an op with a composite gives;
    `precision`: what autocast does with the operands.

    `linear` tells, for forward mode, in which inputs the op is linear while the others are fixed: `["input", "other"]`
    in each, `["input value"]` in both at once. (Views are, in their first input.)
    """

    def declare(f: Callable[..., Any]) -> ArrayOp:
        op = ArrayOp(f, name, grad_name)
        op.view, op.varargs, op.public, op.apart, op.results = view, varargs, public, apart, results
        op.precision = precision
        op.methods = (op.name, *((f"{op.name}_",) if inplace else ())) if method and public else ()
        op.linear = tuple(tuple(group.split()) for group in linear)
        return register(op)

    return declare(function) if function is not None else declare


def array_of(value: Any) -> Array:
    """The array of a Tensor; an array is returned as it is."""
    return getattr(value, "_array", value)


def whole(x: Array) -> Array:
    """`x` if it is C-contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else backend_of(x).copy(x)


def concrete(array: Any) -> Array:
    """The array itself, or the one at the bottom of what stands for one: for checks of values, whatever their shape."""
    return getattr(array, "concrete", array)


def register(op: Any) -> Any:
    """Enter `op` in the registry under its name."""
    if op.name in REGISTRY:
        raise ValueError(f"an op called {op.name!r} is declared already, in {REGISTRY[op.name].function.__module__}")
    REGISTRY[op.name] = op
    return op


class MixedDevices(RuntimeError):
    """The arrays of one operation lie on several devices."""


def one_backend(op: str, inputs: Sequence[Array | Number], names: Sequence[str]) -> Any:
    """The backend of all array inputs; MixedDevices (a RuntimeError) names the odd one out and the fix."""
    first: Any = None
    at = 0
    for position, value in enumerate(inputs):
        if is_array(value):
            backend = backend_of(value)
            if first is None:
                first, at = backend, position
            elif backend is not first:
                one, other = (names[i] if i < len(names) else f"#{i}" for i in (at, position))
                raise MixedDevices(
                    f"{op}(): expected all tensors to be on the same device, but found at least two devices, "
                    f"{first.device} (argument '{one}') and {backend.device} (argument '{other}'). "
                    f"Move one of them: {other}.to('{first.device}')"
                )
    if first is None:
        raise TypeError(f"{op}(): at least one argument must be a Tensor")
    return first
