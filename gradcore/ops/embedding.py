"""Rows of a table by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import add, div, eq
from .core import array_of, array_op, one_backend
from .masking import masked_fill
from .scatter import check_index, index_fill_value
from .shape import each_batched, reshape, unsqueeze


@array_op(public=False, name="embedding_rows", grad_name="EmbeddingBackward0", linear=["weight"])
def embedding(weight: Array, index: Array, padding_idx: int | None, scale_grad_by_freq: bool) -> Array:
    """`weight[index]` of a table (rows, width): (*index.shape, width)."""
    backend = one_backend("embedding", (weight, index), ("weight", "input"))
    check_index("embedding", index)
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, got {weight.ndim}-D")
    backend.check_index("embedding", index, weight.shape[0], 0, negative=False)
    return backend.take(weight, index, 0)


@array_op(public=False, name="embedding_backward", grad_name="EmbeddingDenseBackward0", linear=["grad"])
def embedding_backward(grad: Array, index: Array, rows: int, padding_idx: int | None) -> Array:
    """Zeros (rows, width) with `grad` added at the rows `index`, in a fixed order; row `padding_idx` stays 0."""
    backend = backend_of(grad)
    width = grad.shape[-1]
    out = backend.full((rows, width), 0, grad.dtype)
    backend.index_add(out, (index.reshape(-1),), grad.reshape(index.size, width))
    if padding_idx is not None:
        out[padding_idx] = 0
    return out


@array_op(public=False, name="frequency")
def frequency(index: Array, rows: int, dtype: Any) -> Array:
    """How often each element of `index` occurs in it."""
    backend = backend_of(index)
    flat = index.reshape(-1)
    counts = backend.full((rows,), 0, dtypes.int64.numpy)
    backend.index_add(counts, (flat,), backend.full(flat.shape, 1, dtypes.int64.numpy))
    return backend.take(counts, index, 0).astype(dtype)


def _in_one_table(index: Any, shape: Any, batched: bool, rows: int, size: int) -> Any:
    """The members' indices as ones into their tables, one behind the other: (size, *shape)."""
    (index,) = each_batched((index,), (shape,), (batched,), size)
    starts = backend_of(array_of(index)).xp.arange(size, dtype=dtypes.int64.numpy) * rows
    return add(index, starts.reshape((size,) + (1,) * len(shape)))


@embedding.batching
def _embedding_batch(
    inputs: Sequence[Any],
    shapes: Sequence[Any],
    batched: Sequence[bool],
    size: int,
    padding_idx: int | None,
    scale_grad_by_freq: bool,
) -> Any:
    weight, index = inputs
    if not batched[0]:  # one table for all
        return embedding(weight, index, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq)
    if padding_idx is not None:
        raise NotImplementedError("embedding(): tables in a batch cannot have a padding_idx yet")
    rows, width = shapes[0]
    index = _in_one_table(index, shapes[1], batched[1], rows, size)
    table = reshape(weight, shape=(size * rows, width))
    return embedding(table, index, padding_idx=None, scale_grad_by_freq=scale_grad_by_freq)


@embedding_backward.batching
def _embedding_backward_batch(
    inputs: Sequence[Any],
    shapes: Sequence[Any],
    batched: Sequence[bool],
    size: int,
    rows: int,
    padding_idx: int | None,
) -> Any:
    (grad,) = each_batched(inputs[:1], shapes[:1], batched[:1], size)
    index = _in_one_table(inputs[1], shapes[1], batched[1], rows, size)
    out = embedding_backward(grad, index, rows=size * rows, padding_idx=None)
    out = reshape(out, shape=(size, rows, shapes[0][-1]))
    if padding_idx is None:
        return out
    padding = backend_of(array_of(out)).full((1,), padding_idx, dtypes.int64.numpy)
    return index_fill_value(out, padding, 0, dim=1)


@frequency.batching
def _frequency_batch(index: Any, index_shape: Any, rows: int, dtype: Any, size: int) -> Any:
    return frequency(_in_one_table(index, index_shape, True, rows, size), rows=size * rows, dtype=dtype)


def _rule(
    g: Any, index: Any, weight_shape: Any, weight_dtype: Any, padding_idx: int | None, scale_grad_by_freq: bool
) -> Any:
    if scale_grad_by_freq:
        g = div(g, unsqueeze(frequency(index, rows=weight_shape[0], dtype=weight_dtype), dim=-1))
    return embedding_backward(g, index, rows=weight_shape[0], padding_idx=padding_idx)


def _rule_of_rule(g: Any, index: Any, padding_idx: int | None) -> Any:
    out = embedding(g, index, padding_idx=None, scale_grad_by_freq=False)
    return out if padding_idx is None else masked_fill(out, unsqueeze(eq(index, padding_idx), dim=-1), 0)


embedding.derivative(weight=_rule)
embedding_backward.derivative(grad=_rule_of_rule)
