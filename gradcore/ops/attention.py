"""Scaled dot-product attention: a kernel that never has all scores in memory, and its definition in plain ops.

The backward pass computes the scores again, block by block, from the log-sum-exp of each row. (M. Milakov and N.
Gimelshein, 2018; T. Dao et al., "FlashAttention", NeurIPS 2022.)
"""

from __future__ import annotations

from math import inf
from typing import Any

from ..backends import Array, backend_of
from .arithmetic import add, eq, mul, where
from .core import array_of, array_op, one_backend
from .linalg import matmul, transposed
from .reductions import amax
from .rows import softmax


def _whole(x: Array) -> Array:
    return x if x.flags.c_contiguous else backend_of(x).copy(x)


@array_op(name="attention", public=False, grad_name="ScaledDotProductAttentionBackward0")
def attention(
    query: Array, key: Array, value: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """`softmax(query @ key.T * scale) @ value` for query (heads, n, e), key (heads, m, e) and value (heads, m, v).

    See `Backend.attention` for mask (which has no gradient) and causal. Returns (heads, n, v) and the rows'
    log-sum-exp.
    """
    backend = one_backend("scaled_dot_product_attention", (query, key, value, mask), ("query", "key", "value", "mask"))
    return backend.attention(_whole(query), _whole(key), _whole(value), mask, causal, scale)


@attention.joint_derivative
def _rule(
    g: Array,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    result: Array,
    result1: Array,
    causal: bool,
    scale: float,
) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    arrays = (_whole(g), _whole(query), _whole(key), _whole(value))
    return *backend_of(g).attention_backward(*arrays, mask, result, result1, causal, scale), None


def probabilities(query: Any, key: Any, mask: Any, causal: bool, scale: float) -> Any:
    """The softmax of the scores, in plain ops; 0 in rows without any key."""
    scores = matmul(mul(query, scale), transposed(key))
    xp = backend_of(array_of(query)).xp
    if causal:
        n, m = scores.shape[-2:]
        scores = where(xp.arange(n)[:, None] >= xp.arange(m), scores, -inf)
    if mask is not None:
        scores = where(mask, scores, -inf) if array_of(mask).dtype.kind == "b" else add(scores, mask)
    if not scores.shape[-1]:
        return scores
    dead = eq(amax(scores, dim=-1, keepdim=True), -inf)
    return where(dead, 0.0, softmax(where(dead, 0.0, scores), dim=scores.ndim - 1))


@attention.composite_of
def _composite(query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    return matmul(probabilities(query, key, mask, causal, scale), value)
