"""Rows of a table by their numbers."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import div, eq
from .core import array_op, one_backend
from .masking import masked_fill
from .scatter import check_index
from .shape import unsqueeze


@array_op(public=False, name="embedding_rows", grad_name="EmbeddingBackward0")
def embedding(weight: Array, index: Array, padding_idx: int | None, scale_grad_by_freq: bool) -> Array:
    """`weight[index]` of a table (rows, width): (*index.shape, width)."""
    backend = one_backend("embedding", (weight, index), ("weight", "input"))
    check_index("embedding", index)
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, got {weight.ndim}-D")
    backend.check_index("embedding", index, weight.shape[0], 0, negative=False)
    return backend.take(weight, index, 0)


@array_op(public=False, name="embedding_backward", grad_name="EmbeddingDenseBackward0")
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
