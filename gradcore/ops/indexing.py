"""Indexing: NumPy's keys (ints, slices, None, Ellipsis, index and bool arrays) on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import Array, backend_of, is_array
from .core import array_of, array_op, concrete
from .shape import each_batched, expand, permute, reshape, with_rank

Key = tuple[Any, ...]


class Layout(NamedTuple):
    """A key for batches, and how what it selects lies: its own result, permuted by `order`, has the batch in front."""

    key: Key
    order: tuple[int, ...] | None

    def in_front(self, result: Any) -> Any:
        """What the key selected, with the batch in front."""
        return result if self.order is None else permute(result, dims=self.order)

    def as_selected(self, values: Any) -> Any:
        """Values with the batch in front, as the key takes them."""
        if self.order is None:
            return values
        return permute(values, dims=tuple(self.order.index(i) for i in range(len(self.order))))


def layout(key: Key, batched: Sequence[bool], ndim: int, size: int, source: bool) -> Layout:
    """The key for a batch of tensors of `ndim` dimensions, of which `batched` entries hold an index for each member.

    With `source` the tensor that is indexed has the batch in front; else it is the same for all members.
    """
    everything = slice(None)
    if any(b and k.dtype.kind == "b" for k, b in zip(key, batched)):
        raise RuntimeError(
            "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over "
            "indexing with a boolean mask."
        )
    if is_basic(key):
        return Layout((everything, *key), None)
    spans = [k.ndim if is_array(k) and k.dtype.kind == "b" else 1 for k in key]
    rest = ndim - sum(n for k, n in zip(key, spans) if k is not None and k is not Ellipsis)
    full: list[Any] = []
    marks: list[bool] = []
    for k, b in zip(key, batched):
        entries = [everything] * rest if k is Ellipsis else [k]
        full += entries
        marks += [b] * len(entries)
    trailing = 0 if any(k is Ellipsis for k in key) else rest
    # Which entries are index arrays, and where their dimensions end up: in the place of the first if they stand side
    # by side, else in front.
    at = [i for i, k in enumerate(full) if is_array(k)]
    together = at[-1] - at[0] + 1 == len(at)
    first = at[0] if together else 0
    ranks = [1 if full[i].dtype.kind == "b" else full[i].ndim - marks[i] for i in at]
    rank = max(ranks)
    others = len(full) - len(at) + trailing
    if True not in marks:
        order = None if together else (rank, *range(rank), *range(rank + 1, rank + others + 1))
        return Layout((everything, *full), order)
    for i in at:
        if marks[i]:
            full[i] = array_of(with_rank(full[i], full[i].shape[1:], rank, size))
    total = 1 + rank + others
    if not source:
        # The batch is the first of the dimensions that the index arrays make.
        return Layout(tuple(full), (first, *range(first), *range(first + 1, total)) if first else None)
    backend = backend_of(next(k for k in full if is_array(k)))
    members = backend.from_host(np.arange(size).reshape((size,) + (1,) * rank))
    # Beside the members' own numbers the index arrays are no longer side by side, unless they come first.
    order = (0, *range(1 + rank, 1 + rank + first), *range(1, 1 + rank), *range(1 + rank + first, total))
    return Layout((members, *full), order if first else None)


def is_basic(key: Key) -> bool:
    """Whether `key` only selects a view: no index or bool arrays."""
    return not any(is_array(k) for k in key)


def check_key(op: str, x: Array, key: Key) -> None:
    """Raise IndexError, worded as PyTorch's, for a key that does not fit `x`."""
    consumed = 0
    for k in key:
        if k is None or k is Ellipsis:
            continue
        consumed += k.ndim if is_array(k) and k.dtype.kind == "b" else 1
    if consumed > x.ndim:
        if x.ndim == 0:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a 0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    dim = 0
    for i, k in enumerate(key):
        if k is None:
            continue
        if k is Ellipsis:
            rest = sum((r.ndim if is_array(r) and r.dtype.kind == "b" else 1) for r in key[i + 1 :] if r is not None)
            dim = x.ndim - rest
            continue
        if isinstance(k, slice):
            if k.step is not None and k.step <= 0:
                raise ValueError("step must be greater than zero")
        elif is_array(k):
            if k.dtype.kind == "b":
                for j, n in enumerate(k.shape):
                    if x.shape[dim + j] != n:
                        raise IndexError(
                            f"The shape of the mask {list(k.shape)} at index {j} does not match the shape of the "
                            f"indexed tensor {list(x.shape)} at index {dim + j}"
                        )
                dim += k.ndim - 1
            else:
                backend_of(x).check_index(op, concrete(k), x.shape[dim], dim)
        elif not -x.shape[dim] <= k < x.shape[dim]:
            raise IndexError(f"index {k} is out of bounds for dimension {dim} with size {x.shape[dim]}")
        dim += 1


def _view_name(node: Any) -> str:
    """PyTorch applies the entries of a key one by one: the last that does something is what is seen."""
    key = node.attrs["key"]
    for k in reversed(key):
        if k is None:
            return "UnsqueezeBackward0"
        if k is not Ellipsis and k != slice(None):
            return "SliceBackward0" if isinstance(k, slice) else "SelectBackward0"
    return "SliceBackward0" if slice(None) in key else "AliasBackward0"


@array_op(name="select_view", view=True, public=False, grad_name=_view_name)
def select_view(input: Array, key: Key) -> Array:
    """`input[key]` for a key of ints, slices, None and Ellipsis: a view."""
    check_key("index", input, key)
    result = input[key]
    # A NumPy scalar, where every dimension was indexed by an int, would not share memory.
    return result if is_array(result) else input[(*key, Ellipsis)]


@select_view.batching
def _select_batch(inputs: Sequence[Any], shapes: Sequence[Any], key: Key) -> Any:
    return select_view(inputs[0], key=(slice(None), *key))


@array_op(name="index", public=False, linear=["input"])
def index(input: Array, key: Key) -> Array:
    """`input[key]` where the key holds index or bool arrays: a copy."""
    check_key("index", input, key)
    return input[key]


@index.batching
def _index_batch(
    input: Any, input_shape: Any, key: Key, batched: Sequence[bool], batched_key: Sequence[bool], size: int
) -> Any:
    found = layout(key, batched_key, len(input_shape), size, batched[0])
    return found.in_front(index(input, key=found.key))


@array_op(name="index_backward", public=False, linear=["grad"])
def index_backward(grad: Array, shape: tuple[int, ...], key: Key) -> Array:
    """Zeros of `shape` with `grad` added at `key`."""
    backend = backend_of(grad)
    out = backend.full(shape, 0, grad.dtype)
    if is_basic(key):
        out[key] = grad
    else:
        backend.index_add(out, key, grad)
    return out


@index_backward.batching
def _index_backward_batch(
    grad: Any,
    grad_shape: Any,
    shape: tuple[int, ...],
    key: Key,
    batched: Sequence[bool],
    batched_key: Sequence[bool],
    size: int,
) -> Any:
    found = layout(key, batched_key, len(shape), size, True)
    (grad,) = each_batched((grad,), (grad_shape,), batched, size)
    return index_backward(found.as_selected(grad), shape=(size, *shape), key=found.key)


def _rule(g: Any, input_shape: Any, key: Key) -> Any:
    return index_backward(g, shape=input_shape, key=key)


def pick(g: Any, key: Key) -> Any:
    return select_view(g, key=key) if is_basic(key) else index(g, key=key)


select_view.derivative(input=_rule)
index.derivative(input=_rule)
index_backward.derivative(grad=pick)


@array_op(name="index_put", public=False, grad_name="IndexPutBackward0", linear=["input value"])
def index_put(input: Array, value: Array, key: Key) -> Array:
    """A copy of `input` with `value` written at `key`."""
    check_key("index_put", input, key)
    out = backend_of(input).copy(input)
    write(out, value, key)
    return out


def write(target: Array, value: Any, key: Key) -> None:
    """`target[key] = value`; RuntimeError, before anything is written, if the shapes do not fit."""
    if is_array(value):
        # NumPy drops leading dimensions of size 1 of the value, as PyTorch does.
        expected = target[key].shape
        try:
            fits = backend_of(value).xp.broadcast_shapes(value.shape, expected) == tuple(expected)
        except ValueError:
            fits = False
        if not fits and tuple(n for n in value.shape if n != 1) != tuple(n for n in expected if n != 1):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of "
                f"shape {list(expected)}"
            )
    target[key] = value


def _as_written(value: Any, shape: Any, batched: bool, found: Layout, target: Any, size: int) -> Any:
    """A value that is written to what a key of batches selects of `target`, laid out as that is."""
    if shape is None:
        return value
    selected = list(pick(target, key=found.key).shape)
    members = selected if found.order is None else [selected[i] for i in found.order]
    while len(shape) >= len(members) and shape[0] == 1:  # dimensions of size 1 beyond those there are
        shape = shape[1:]
    value = reshape(value, shape=(size, *(1,) * (len(members) - 1 - len(shape)), *shape) if batched else shape)
    return value if found.order is None else found.as_selected(expand(value, size=members))


def write_batch(
    target: Any, value: Any, shape: Any, batched: bool, key: Key, batched_key: Sequence[bool], ndim: int
) -> None:
    """`target[key] = value` for each member of a batch: `target` is a tensor with the batch in front."""
    size = target.shape[0]
    found = layout(key, batched_key, ndim, size, True)
    target[found.key] = _as_written(value, shape, batched, found, target, size)


@array_op(name="index_fill_zero", public=False, linear=["input"])
def index_fill(input: Array, key: Key) -> Array:
    """A copy of `input` with zeros at `key`."""
    out = backend_of(input).copy(input)
    out[key] = 0
    return out


@index_fill.batching
def _index_fill_batch(
    input: Any, input_shape: Any, key: Key, batched: Sequence[bool], batched_key: Sequence[bool], size: int
) -> Any:
    found = layout(key, batched_key, len(input_shape), size, True)
    return index_fill(each_batched((input,), (input_shape,), batched, size)[0], key=found.key)


index_fill.derivative(input=lambda g, key: index_fill(g, key=key))


def _put_input(g: Any, key: Key) -> Any:
    return index_fill(g, key=key)


index_put.derivative(input=_put_input, value=pick)


@array_op(public=False, grad_name="IndexPutBackward0", linear=["input value"])
def index_put_add(input: Array, value: Array, key: Key) -> Array:
    """A copy of `input` with `value` added at `key`, once for every time an element is named."""
    out = backend_of(input).copy(input)
    backend_of(input).index_add(out, key, value)
    return out


index_put_add.derivative(input=lambda g: g, value=pick)


def _put_in_batches(op: Any) -> None:
    """Give an op that writes at a key its batch rule."""

    @op.batching
    def rule(
        inputs: Sequence[Any],
        shapes: Sequence[Any],
        key: Key,
        batched: Sequence[bool],
        batched_key: Sequence[bool],
        size: int,
    ) -> Any:
        (target,) = each_batched(inputs[:1], shapes[:1], batched[:1], size)
        found = layout(key, batched_key, len(shapes[0]), size, True)
        return op(target, _as_written(inputs[1], shapes[1], batched[1], found, target, size), key=found.key)


_put_in_batches(index_put)
_put_in_batches(index_put_add)
