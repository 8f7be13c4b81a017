"""In-place operations: version counters, leaf rules, and the history of views and their bases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of, is_array
from ..ops.arithmetic import mul, where
from ..ops.convert import to_copy
from ..ops.core import Attrs, MixedDevices, Op, array_of, array_op
from ..ops.shape import clone, each_batched, with_rank
from .autocast import uncast
from .grad_mode import mode
from .tape import (
    apply,
    edge_of,
    needs_at,
    node_of,
    passes_tangents,
    path_to,
    record,
    recorded,
    scalars_moved,
    tell,
    tell_changing,
    wants_grad,
    watched,
)
from .tracer import Level, Tracer, interpreted, level_of, operands_of
from .variable import Node, Variable, bump, next_sequence


def through(x: Any, chain: Sequence[tuple[Op, Attrs, int]]) -> Any:
    """`x` through the ops that lead from a base to its view."""
    for op, attrs, result in chain:
        x = op(x, **attrs)
        if isinstance(x, tuple):
            x = x[result]
    return x


@array_op(public=False, linear=["grad"])
def zero_view(grad: Array, chain: Any) -> Array:
    """A copy of `grad` with zeros where the view of `chain` lies."""
    backend = backend_of(grad)
    out = backend.copy(grad)
    region = through(out, chain)
    if backend.xp.may_share_memory(region, out):
        region[...] = 0
    else:  # the chain copies for these strides: find the elements by their positions
        positions = through(backend.xp.arange(out.size).reshape(out.shape), chain)
        out.reshape(-1)[positions.reshape(-1)] = 0
    return out


zero_view.derivative(grad=lambda g, chain: zero_view(g, chain=chain))


@array_op(public=False, grad_name="CopySlices")
def copy_slices(base: Array, value: Array, chain: Any) -> Array:
    """What a base becomes when a view of it is changed in place to `value`. Recorded, never run."""
    raise NotImplementedError("copy_slices stands for a change that has been made already")


copy_slices.derivative(
    base=lambda g, chain: zero_view(g, chain=chain),
    value=lambda g, chain: through(g, chain),
)


@array_op(name="copy_values", public=False, grad_name="CopyBackwards", linear=["input value"])
def copy_values(input: Array, value: Array) -> Array:
    """`value` broadcast to the shape and converted to the dtype of `input`."""
    backend = backend_of(input)
    if is_array(value) and backend_of(value) is not backend:
        value = backend.from_host(backend_of(value).to_host(value))
    out = backend.empty(input.shape, input.dtype)
    out[...] = value
    return out


def _copy_value(g: Any, input_device: Any, value_device: Any) -> Any:
    return g if input_device == value_device else to_copy(g, device=value_device)


@copy_values.batching
def _copy_values_batch(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int) -> Any:
    (target,) = each_batched(inputs[:1], shapes[:1], batched[:1], size)
    return copy_values(target, with_rank(inputs[1], shapes[1], len(shapes[0]), size) if batched[1] else inputs[1])


@zero_view.batching
def _zero_view_batch(grad: Any, grad_shape: Any, chain: Any) -> Any:
    backend = backend_of(array_of(grad))
    kept = zero_view(backend.full(grad_shape, 1, dtypes.bool_.numpy), chain=chain)
    return where(kept, grad, 0)


copy_values.derivative(input=lambda g: mul(g, 0), value=_copy_value)


CHANGED_OUTSIDE = (
    "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal "
    "tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details."
)


def check_target(t: Variable) -> None:
    """RuntimeError if `t` may not be changed in place: its elements overlap, or gradients would be lost."""
    array = t._array
    if 0 in array.strides and array.size and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    check_changeable(t)


def check_changeable(t: Variable) -> None:
    """RuntimeError if `t` may not become something else in place, because gradients would be lost."""
    if t.is_inference() and not mode.inference:
        raise RuntimeError(CHANGED_OUTSIDE)
    if mode.enabled:
        if t._severed is not None:
            raise RuntimeError(t._severed)
        if t._requires_grad and node_of(t) is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        base = t._base
        if base is not None and base._node is None and base._requires_grad:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


_ONE_OF_SEVERAL = (
    "Output {} of {} is a view and is being modified inplace. This view is the output of a function that returns "
    "multiple views. Such functions do not allow the output views to be modified inplace. You should replace the "
    "inplace operation by an out-of-place one."
)


def _made_by(view: Variable) -> tuple[int, str]:
    """Which result of which operation a view is, as PyTorch names it."""
    node = node_of(view)
    if node is not None:
        return view._index, node.name().split("Backward")[0]
    op, _, index = view._chain[-1]
    return index, op.name.capitalize()


def check_result(op: str, target: Array, result: Array) -> None:
    """RuntimeError if `result` does not fit into `target`."""
    if result.shape != target.shape:
        raise RuntimeError(
            f"{op}(): output with shape {list(target.shape)} doesn't match the broadcast shape {list(result.shape)}"
        )
    check_dtype(op, target, result)


def check_dtype(op: str, target: Array, result: Array) -> None:
    """RuntimeError if elements of `result` cannot become elements of `target`."""
    if dtypes.from_numpy(result.dtype).category > dtypes.from_numpy(target.dtype).category:
        raise RuntimeError(
            f"{op}(): result type {dtypes.type_name(result.dtype)} can't be cast to the desired output type "
            f"{dtypes.type_name(target.dtype)}"
        )


def _result_at(level: Level, op: Op, inputs: Sequence[Any], arrays: Sequence[Any], attrs: Attrs) -> Any:
    """What to write to the first of `inputs`, which hold tracers of `level`."""
    if op is copy_values:
        return arrays[1]
    # It is computed below, where what the change will overwrite may be kept, too.
    target = inputs[0]
    apart = [clone(a) if isinstance(t, Variable) and target.shares_memory(t) else a for t, a in zip(inputs, arrays)]
    return interpreted(level, op, apart, attrs)


def apply_inplace(op: Op, inputs: Sequence[Any], attrs: Attrs, write: Callable[..., None] | None = None) -> Any:
    """Run `op` and put its result in the place of its first input, which is returned.

    `write(*arrays)` makes the change itself, for ops that touch only part of the first of them. If anything is wrong
    the tensor stays as it was.
    """
    target: Variable = inputs[0]
    check_target(target)
    arrays = [t._array if isinstance(t, Variable) else t for t in inputs]
    needs = tuple([isinstance(t, Variable) and wants_grad(t) for t in inputs])
    level = level_of(arrays, attrs) if mode.levels else None
    if level is not None:
        if not (isinstance(target._array, Tracer) and target._array.level is level):
            raise level.inplace_error(op.name + "_", arrays, attrs)
        needs = tuple(needs_at(level, arrays, needs))
        arrays = operands_of(level, inputs)
    wanted = mode.enabled and True in needs and target._array.dtype.kind in "fV"
    if wanted and target._one_of_several:
        raise RuntimeError(_ONE_OF_SEVERAL.format(*_made_by(target)))
    result = None
    if write is None:
        try:
            result = op.run(arrays, attrs) if level is None else _result_at(level, op, inputs, arrays, attrs)
        except MixedDevices:
            moved = scalars_moved(op, inputs)
            if moved is None or moved[0] is not target:
                raise
            return apply_inplace(op, moved, attrs)
        if op is not copy_values:  # (which converts and broadcasts)
            check_result(op.name + "_", target._array, result)
    change = _change(op, inputs, attrs) if passes_tangents(level) else None
    tell_changing(target)
    node = None
    if wanted:
        plan = op.plan(needs, op.plan_key(arrays, attrs))
        # What the change will overwrite is kept as a copy.
        kept = {
            i: clone(arrays[i])
            for i in plan.inputs
            if isinstance(inputs[i], Variable) and target.shares_memory(inputs[i])
        }
        node = record(plan, inputs, needs, arrays, (target._array,), attrs, kept)
    if write is None:
        target._array[...] = result
    else:
        write(*arrays)
    counter = target.counter()
    bump(counter)
    if node is not None:
        # What the node keeps of its own result is the changed array: it is newer than the change.
        first = len(node.plan.inputs)
        node.saved = (*(node.saved or ())[:first], *[target._array for _ in node.plan.outputs])
        node.counters = (*node.counters[:first], *[counter for _ in node.plan.outputs])
        node.sequence = next_sequence()
        recorded(node)
        rebase(target, node)
    if change is not None:
        change.finish(target, node)
    tell(op, inputs, attrs, (target,))
    return target


def _change(op: Op, inputs: Sequence[Any], attrs: Attrs) -> Any:
    """What changes in place do in forward mode; None if nothing has a tangent."""
    from .tangents import Change

    return Change(op, inputs, attrs) if _concerned(inputs) else None


def _concerned(inputs: Sequence[Any]) -> bool:
    from .tangents import tangent_of

    return any(isinstance(t, Variable) and tangent_of(t) is not None for t in inputs)


def apply_view_inplace(op: Op, target: Variable, attrs: Attrs, inverse: tuple[Op, Attrs]) -> Any:
    """Put the view of `target` that `op` makes, and `inverse` leads back from, in its place; `target` is returned."""
    check_changeable(target)
    before = mode.enabled
    mode.enabled = before or target._node is not None  # what is recorded of it has to fit its shape
    try:
        view = apply(op, (target,), attrs)
    finally:
        mode.enabled = before
    tell_changing(target)
    if target._base is None:
        target._undone = ((*inverse, 0), *target._undone)
    else:
        target._chain = (*target._chain, (op, attrs, 0))
    target._array, target._spec, target._tangent = view._array, None, view._tangent
    if view._node is not None:
        target.set_history(view._node, view._index)
    bump(target.counter())
    target._seen = target.counter()[1]
    tell(op, (target,), attrs, (target,))
    return target


def apply_out(op: Op, inputs: Sequence[Any], attrs: Attrs, out: Any) -> Any:
    """Run `op` and put its result into the tensor `out`, which is returned."""
    if op.exact_out and isinstance(out, Variable) and out._array.dtype != inputs[0]._array.dtype:
        given, wanted = dtypes.type_name(inputs[0]._array.dtype), dtypes.type_name(out._array.dtype)
        raise RuntimeError(
            f"{op.name}(): Expected the dtype for input and out to match, but got {given} for input's dtype and "
            f"{wanted} for out's dtype."
        )
    return write_out(op.name, inputs, out, lambda: apply(op, inputs, attrs), op.apart)


def write_out(op: str, inputs: Sequence[Any], out: Any, compute: Callable[[], Any], apart: bool = False) -> Any:
    """Put what `compute` makes of `inputs` into the tensor `out`, of another size if need be, which is returned.

    With `apart` it may not share memory with an input.
    """
    if not isinstance(out, Variable):
        raise TypeError(f"{op}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if mode.enabled and any(isinstance(t, Variable) and wants_grad(t) for t in (*inputs, out)):
        raise RuntimeError(
            f"{op}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if mode.dual is not None and _concerned((*inputs, out)):
        raise NotImplementedError(
            f"Trying to use forward AD with {op}_out that does not support it because it is an out= function"
        )
    check_target(out)
    backend = backend_of(out._array)
    for t in inputs if apart else ():
        if t is out or (backend_of(t._array) is backend and backend.xp.may_share_memory(t._array, out._array)):
            raise RuntimeError(
                "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
                "memory location. Please clone() the tensor before performing the operation."
            )
    result = uncast(compute)._array
    if backend_of(result) is not backend:
        raise RuntimeError(
            f"{op}(): Expected out tensor to be on {backend_of(result).device}, but it is on {backend.device}; move it "
            "with .to()"
        )
    check_dtype(op, out._array, result)
    if result.shape != out._array.shape:
        if out._array.size:
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{list(out._array.shape)}, which does not match the required output shape {list(result.shape)}. This "
                "behavior is deprecated, and in a future PyTorch release outputs will not be resized unless they have "
                "zero elements. Pass an out of the right shape, or an empty one.",
                UserWarning,
                stacklevel=4,
            )
        out._array, out._spec = backend.empty(result.shape, out._array.dtype), None
    out._array[...] = result
    bump(out.counter())
    return out


def rebase(target: Variable, node: Node, index: int = 0) -> None:
    """Make result `index` of `node` the history of `target`; for a view, of the part of its base that it shows."""
    base = target._base
    if base is None:
        target.set_history(node, index)
        return
    needs = (base._requires_grad, True)
    plan = copy_slices.plan(needs, None)
    fresh = record(plan, (base, None), (False, False), (base._array, None), (base._array,), {"chain": path_to(target)})
    fresh.edges = (edge_of(base) if base._requires_grad else None, node)
    fresh.indices = (base._index, index) if base._index or index else None
    base.set_history(fresh, 0)
    # The view's own history is made anew from the base, whose version has changed, when it is next asked for.
    target._requires_grad = True
    if target._node is not None and target._node.extra is not None:
        node_of(target)


def note_changes(tensors: Iterable[Any]) -> None:
    """Tell autograd that tensors are about to be changed in place, unrecorded and past the ops."""
    for t in tensors:
        if watched():
            tell_changing(t)
        bump(t.counter())
