"""Rows of a table by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import add, div, eq, remainder
from .core import array_of, array_op, one_backend
from .gathering import check_index
from .masking import masked_fill
from .shape import each_batched, reshape, unsqueeze


@array_op(public=False, name="embedding_rows", grad_name="EmbeddingBackward0", linear=["weight"])
def embedding(
    weight: Array, index: Array, padding_idx: int | None, scale_grad_by_freq: bool, rows: int | None = None
) -> Array:
    """`weight[index]` of a table (rows, width), or of several behind one another: (*index.shape, width).

    `rows` are those of one of several tables, in each of which the row `padding_idx` has no gradient.
    """
    backend = one_backend("embedding", (weight, index), ("weight", "input"))
    check_index("embedding", index)
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, got {weight.ndim}-D")
    backend.check_index("embedding", index, weight.shape[0], 0, negative=False)
    return backend.take(weight, index, 0)


@array_op(public=False, name="embedding_backward", grad_name="EmbeddingDenseBackward0", linear=["grad"])
def embedding_backward(grad: Array, index: Array, total: int, padding_idx: int | None, rows: int | None) -> Array:
    """Zeros (total, width) with `grad` added at the rows `index`, in a fixed order; rows of padding stay 0."""
    backend = backend_of(grad)
    width = grad.shape[-1]
    out = backend.full((total, width), 0, grad.dtype)
    backend.index_add(out, (index.reshape(-1),), grad.reshape(index.size, width))
    if padding_idx is not None:
        out[padding_idx :: rows or total or 1] = 0
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
    inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, attrs: dict[str, Any]
) -> Any:
    weight, index = inputs
    if not batched[0]:  # one table for all
        return embedding(weight, index, **attrs)
    total, width = shapes[0]
    index = _in_one_table(index, shapes[1], batched[1], total, size)
    return embedding(reshape(weight, shape=(size * total, width)), index, **{"rows": total, **attrs})


@embedding_backward.batching
def _embedding_backward_batch(
    inputs: Sequence[Any],
    shapes: Sequence[Any],
    batched: Sequence[bool],
    size: int,
    total: int,
    padding_idx: int | None,
    rows: int | None,
) -> Any:
    (grad,) = each_batched(inputs[:1], shapes[:1], batched[:1], size)
    index = _in_one_table(inputs[1], shapes[1], batched[1], total, size)
    out = embedding_backward(grad, index, total=size * total, padding_idx=padding_idx, rows=rows or total)
    return reshape(out, shape=(size, total, shapes[0][-1]))


@frequency.batching
def _frequency_batch(index: Any, index_shape: Any, rows: int, dtype: Any, size: int) -> Any:
    return frequency(_in_one_table(index, index_shape, True, rows, size), rows=size * rows, dtype=dtype)


def _rule(
    g: Any,
    index: Any,
    weight_shape: Any,
    weight_dtype: Any,
    padding_idx: int | None,
    scale_grad_by_freq: bool,
    rows: int | None,
) -> Any:
    if scale_grad_by_freq:
        g = div(g, unsqueeze(frequency(index, rows=weight_shape[0], dtype=weight_dtype), dim=-1))
    return embedding_backward(g, index, total=weight_shape[0], padding_idx=padding_idx, rows=rows)


def _rule_of_rule(g: Any, index: Any, padding_idx: int | None, rows: int | None) -> Any:
    out = embedding(g, index, padding_idx=None, scale_grad_by_freq=False)
    if padding_idx is None:
        return out
    row = index if rows is None else remainder(index, rows)
    return masked_fill(out, unsqueeze(eq(row, padding_idx), dim=-1), 0)


embedding.derivative(weight=_rule)
embedding_backward.derivative(grad=_rule_of_rule)
