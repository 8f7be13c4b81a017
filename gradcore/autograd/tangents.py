"""Forward mode: the tangents of tensors, and how operations pass them on.

While a dual level is entered a tensor may have a tangent: another tensor, of its shape. An operation on such tensors
runs as ever and is recorded as ever; then the tangents of its results are computed from those of its inputs, by
operations on tensors, which are recorded, too. So backward passes go through tangents (reverse over forward), and as
the values that a node saves keep their tangents, gradients have tangents (forward over reverse).

How a tangent is computed follows from what the op declares. In this order:

- an op with a rule for forward mode: that;
- an elementwise op: the Jacobian is diagonal, and so its own transpose. The tangent is the sum of the backward rules of
  the inputs, each with an input's tangent in the place of the gradient, as one fused program;
- an op with a composite: the tangent of that;
- a view, or an op that is declared `linear` in some inputs: the op itself, of the tangents;
- any other: two backward passes (see `derivatives.Tangents`).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import backend_of
from ..ops.arithmetic import add, gt
from ..ops.convert import to_copy
from ..ops.core import ArrayOp, Attrs, Op
from ..ops.elementwise import Elementwise
from ..ops.shape import clone, contiguous, expand, narrow, permute, reshape
from .derivatives import Tangents, variable_of, without_history
from .grad_mode import mode, recording
from .inplace import apply_inplace, copy_values, through
from .tape import apply, path_to, wants_grad, wrap
from .tracer import Tracer
from .variable import Node, Tangent, Variable


class Level:
    """One stretch of forward mode. It knows the tangents it has, so that their memory is free at its end."""

    def __init__(self) -> None:
        # How many levels of tracers it was entered in (see `tape.passes_tangents`).
        self.depth = len(mode.levels)
        self.tangents: weakref.WeakSet[Tangent] = weakref.WeakSet()

    def end(self) -> None:
        """Drop all tangents."""
        for tangent in tuple(self.tangents):
            tangent.value = None


class without_tangents:
    """A context manager: operations pass no tangents on."""

    def __enter__(self) -> None:
        self._before, mode.dual = mode.dual, None

    def __exit__(self, *exc: object) -> None:
        mode.dual = self._before


def tangent_of(t: Variable) -> Any:
    """The tangent of `t` at the level that is entered, or None; a view of what has one has the view of it."""
    level = mode.dual
    if level is None:
        return None
    if t._tangent is not None and t._tangent.level is level:
        return t._tangent.value
    if t._base is None:
        return None
    whole = tangent_of(t._base)
    if whole is None:
        return None
    with without_tangents():
        value = through(whole, path_to(t))
    set_tangent(t, value)
    return value


def set_tangent(t: Variable, value: Any) -> None:
    """Give `t` a tangent of its shape at the level that is entered; None: none, whatever its base has."""
    level = mode.dual
    t._tangent = Tangent(level, value)
    level.tangents.add(t._tangent)


def check_size(t: Variable, tangent: Variable) -> None:
    """RuntimeError unless `tangent` has the shape of what it is a tangent of."""
    if t._array.shape != tangent._array.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(t._array.shape)} while the given forward gradient is of size "
            f"{list(tangent._array.shape)}."
        )


def laid_out_as(t: Variable, value: Any) -> Any:
    """`value` in memory in the order of `t`, so that what is a view of one is a view of the other."""
    strides = t._array.strides
    if value._array.strides == strides or value._array.size < 2:
        return value
    order = sorted(range(len(strides)), key=lambda i: -strides[i])
    inverse = [order.index(i) for i in range(len(order))]
    return permute(contiguous(permute(value, dims=order)), dims=inverse)


def detached(t: Variable) -> Any:
    """The same values and tangent, without history."""
    out = wrap(t._array)
    value = tangent_of(t)
    if value is not None:
        set_tangent(out, wrap(value._array))
    return out


# ---------------------------------------------------------------- operations
def propagate(op: Op, inputs: Sequence[Any], attrs: Attrs, results: Sequence[Any], node: Node | None) -> None:
    """Give the results of an operation their tangents, and the node what it needs to give its gradients theirs."""
    tangents = [tangent_of(t) if isinstance(t, Variable) else None for t in inputs]
    if all(t is None for t in tangents):
        return
    for result, value in zip(results, _tangents_of_results(op, inputs, tangents, attrs, results)):
        if _is_float(result):
            with without_tangents():
                value = zeros_like(result) if value is None else _fitted(result, value)
            set_tangent(result, value)
    if node is not None:
        _remember(node, inputs, results)


def _remember(node: Node, inputs: Sequence[Any], results: Sequence[Any]) -> None:
    """Have `node` know the tangents of what it saved."""
    plan = node.plan
    saved = [*(inputs[p] for p in plan.inputs), *(results[p] if p < len(results) else None for p in plan.outputs)]
    for k, t in enumerate(saved):
        _remember_tangent(node, k, t)


def _remember_tangent(node: Node, k: int, t: Any) -> None:
    if isinstance(t, Variable) and tangent_of(t) is not None and t._tangent is not None:
        node.more().tangents[k] = t._tangent


def _fitted(result: Variable, value: Any) -> Any:
    array = result._array
    if value._array.dtype != array.dtype:
        value = to_copy(value, dtype=dtypes.from_numpy(array.dtype))
    if value._array.shape != array.shape:
        value = expand(value, size=array.shape)
    return laid_out_as(result, value)


def _is_float(t: Any) -> bool:
    return isinstance(t, Variable) and t._array.dtype.kind in "fV"


def _tangents_of_results(
    op: Op, inputs: Sequence[Any], tangents: Sequence[Any], attrs: Attrs, results: Sequence[Any]
) -> Sequence[Any]:
    if not any(map(_is_float, results)):
        return (None,) * len(results)
    if isinstance(op, ArrayOp) and op.forward_rule is not None:
        with without_tangents():
            return (op.forward(inputs, tangents, attrs, results[0]),)
    if isinstance(op, Elementwise):
        with without_tangents():
            found = op.tangent(inputs, tangents, attrs, results)
        if found is not NotImplemented:
            return (found,)
    elif op.composite is not None:
        given = dict(zip(op.inputs, inputs))
        found = op.composite(**{**op.defaults, **given, **attrs})
        return tuple(map(tangent_of, found)) if isinstance(found, tuple) else (tangent_of(found),)
    with without_tangents():
        groups = op.linear if isinstance(op, ArrayOp) else ()
        if op.view is not False:
            groups = (op.inputs[:1],)
        if groups:
            return _linear(op, groups, inputs, tangents, attrs)
        return _two_passes(op, inputs, tangents, attrs, results)


def _linear(
    op: Op, groups: Sequence[tuple[str, ...]], inputs: Sequence[Any], tangents: Sequence[Any], attrs: Attrs
) -> Sequence[Any]:
    """The sum over the groups of inputs in which the op is linear: the op, with tangents in the place of a group."""
    total: Any = None
    for group in groups:
        members = range(len(inputs)) if op.variadic else [op.inputs.index(n) for n in group]
        if all(tangents[i] is None for i in members):
            continue
        given = list(inputs)
        for i in members:
            given[i] = _or_zeros(inputs[i], tangents[i])
        out = apply(op, given, attrs)
        outs = out if isinstance(out, tuple) else (out,)
        total = outs if total is None else [a + b for a, b in zip(total, outs)]
    return total if total is not None else (None,)


def _or_zeros(t: Any, tangent: Any) -> Any:
    if tangent is not None:
        return tangent
    if not isinstance(t, Variable):  # a number
        return 0.0
    return zeros_like(t)


def zeros_like(t: Variable) -> Any:
    """Zeros, laid out in memory as `t`."""
    array = t._array
    return laid_out_as(t, wrap(backend_of(array).full(array.shape, 0, array.dtype)))


def _two_passes(
    op: Op, inputs: Sequence[Any], tangents: Sequence[Any], attrs: Attrs, results: Sequence[Any]
) -> Sequence[Any]:
    """The tangents by two backward passes through the op alone."""
    connected = mode.enabled
    wanted = [i for i, t in enumerate(tangents) if t is not None]
    recorded = connected and any(isinstance(t, Variable) and wants_grad(t) for t in (*inputs, *tangents))
    with recording(True):
        given = list(inputs)
        for i, t in enumerate(inputs):
            if isinstance(t, Variable):
                given[i] = variable_of(t, connected) if i in wanted else (t if connected else without_history(t))
        out = apply(op, given, attrs)
        outs = out if isinstance(out, tuple) else (out,)
        if not any(wants_grad(o) for o in outs):
            return (None,) * len(outs)
        through_op = Tangents(outs, [given[i] for i in wanted])
        return through_op.of([tangents[i] for i in wanted], create_graph=recorded)


# ---------------------------------------------------------------- changes in place
class Change:
    """The tangents of an operation that changes its first input in place: made before, finished after the change."""

    def __init__(self, op: Op, inputs: Sequence[Any], attrs: Attrs):
        # The operation on a copy: what it is about to overwrite is needed, for the tangent and its history.
        self.inputs = [clone(inputs[0]), *inputs[1:]]
        self.result = apply(op, self.inputs, attrs)

    def finish(self, target: Variable, node: Node | None) -> None:
        """Give the tangent to `target`, which has been changed."""
        value = tangent_of(self.result)
        if target._array.dtype.kind in "fV":
            with without_tangents():
                value = zeros_like(target) if value is None else _fitted(target, value)
            assign(target, value)
        if node is not None:
            _remember(node, self.inputs, (self.result,))


def assign(target: Variable, value: Any) -> None:
    """Put `value` in the place of the tangent of `target`, and of the part of its base's that it shows."""
    old = tangent_of(target)
    if old is None and target._base is not None:
        with without_tangents():
            zeros = _batched_as(value, zeros_like(target._base))
        set_tangent(target._base, zeros)
        target._tangent = None
        old = tangent_of(target)
    if old is None:
        set_tangent(target, clone(value))
    else:
        with without_tangents():
            apply_inplace(copy_values, (old, value), {})


def _batched_as(value: Any, zeros: Any) -> Any:
    """`zeros`, for each member of the batch that `value` is, if it is one: what is shared could not take its values."""
    if not isinstance(value._array, Tracer) or not value._array.size:
        return zeros
    first = reshape(narrow(reshape(value, shape=(-1,)), dim=0, start=0, length=1), shape=())
    return laid_out_as(zeros, add(zeros, gt(first, math.inf)))


# ---------------------------------------------------------------- functions of the user
def pass_on(function: Any, ctx: Any, args: Sequence[Any], outputs: Sequence[Any], saved: Sequence[Any]) -> None:
    """Give the outputs of a Function the tangents that its `jvp` makes, and its node those of what it `saved`."""
    tangents = [tangent_of(a) if isinstance(a, Variable) else None for a in args]
    if all(t is None for t in tangents):
        return
    given = [zeros_like(a) if t is None and ctx._materialize and _is_float(a) else t for a, t in zip(args, tangents)]
    with without_tangents():
        found = function.jvp(ctx, *given)
    values = found if isinstance(found, tuple) else (found,)
    if len(values) != len(outputs):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(outputs)} but got "
            f"{len(values)})"
        )
    for i, (out, value) in enumerate(zip(outputs, values)):
        if value is not None and not isinstance(value, Variable):
            raise RuntimeError(f"expected Variable or None (got {type(value).__name__}) for grad output {i}.")
        if value is None or not _is_float(out) or any(out is t for t in ctx._non_differentiable):
            continue
        if value._array.shape != out._array.shape:
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is "
                f"not supported. Tensor is of size {list(out._array.shape)} while the given forward gradient is of "
                f"size {list(value._array.shape)}."
            )
        if any(out is t for t in ctx._dirty):
            if value is not tangent_of(out):
                raise RuntimeError(
                    "An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is "
                    "modifying an input inplace, then the jvp function must modify the corresponding gradient inplace."
                )
            continue
        shown = any(t is not None and value.shares_memory(t) for t in given)
        is_view = any(isinstance(a, Variable) and out.shares_memory(a) for a in args)
        if is_view and not shown:
            raise RuntimeError(
                "A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a "
                "view."
            )
        with without_tangents():
            value = _fitted(out, value if is_view or not shown else clone(value))
        set_tangent(out, value)
    node = None if ctx._node is None else ctx._node()
    if node is not None:
        for k, t in enumerate([t for t in saved if t is not None]):
            _remember_tangent(node, k, t)
