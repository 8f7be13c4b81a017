"""Scaled dot-product attention: a kernel that never has all scores in memory, and its definition in plain ops.

The backward pass computes the scores again, block by block, from the log-sum-exp of each row. (M. Milakov and N.
Gimelshein, 2018; T. Dao et al., "FlashAttention", NeurIPS 2022.)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from ..backends import Array, backend_of
from ..backends.attention import AttentionInputs, Dropout
from .activations import dropout as drop
from .arithmetic import add, eq, mul, sub, where
from .core import array_of, array_op, one_backend, whole
from .linalg import matmul, transposed
from .reductions import amax
from .reductions import sum as sum_op
from .rows import softmax
from .shape import each_batched, expand, reshape


@array_op(name="attention", public=False, grad_name="ScaledDotProductAttentionBackward0")
def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    causal: bool,
    scale: float,
    dropout: Dropout | None,
) -> tuple[Array, Array]:
    """`softmax(query @ key.T * scale) @ value` for query (heads, n, e), key (heads, m, e) and value (heads, m, v).

    See `AttentionInputs` for mask, causal, dropout, and fewer heads of key and value. Returns (heads, n, v) and the
    rows' log-sum-exp.
    """
    backend = one_backend("scaled_dot_product_attention", (query, key, value, mask), ("query", "key", "value", "mask"))
    return backend.attention(AttentionInputs(whole(query), whole(key), whole(value), mask, causal, scale, dropout))


@attention.batching
def _batch(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, attrs: Any) -> Any:
    # The members' heads are heads of one.
    count = 3 if inputs[3] is None else 4
    each = each_batched(inputs[:count], shapes[:count], batched[:count], size)
    heads = [reshape(x, shape=(size * x.shape[1], *x.shape[2:])) for x in each]
    out = attention(*heads, *(None,) * (4 - count), **attrs)
    return reshape(out, shape=(size, out.shape[0] // size, *out.shape[1:]))


@attention.joint_derivative
def _rule(
    g: Array,
    inputs: tuple[Array, Array, Array, Array | None],
    result: Array,
    result1: Array,
    causal: bool,
    scale: float,
    dropout: Dropout | None,
    needs: tuple[bool, ...],
) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    query, key, value, mask = inputs
    given = AttentionInputs(whole(query), whole(key), whole(value), mask, causal, scale, dropout)
    slopes = None
    if needs[3]:  # an array of all scores in any case
        weights = probabilities(query, key, mask, causal, scale)
        inner = sum_op(mul(g, result), dim=-1, keepdim=True)
        towards = _dropped(matmul(g, transposed(each_head(value, query))), dropout)
        slopes = mul(weights, sub(towards, inner))
    return *backend_of(g).attention_backward(whole(g), given, result, result1), slopes


def each_head(x: Any, query: Any) -> Any:
    """Keys or values as often as there are heads of queries for them (Ainslie et al., EMNLP 2023)."""
    heads, (shared, *rest) = query.shape[0], x.shape
    if heads == shared:
        return x
    return reshape(
        expand(reshape(x, shape=(shared, 1, *rest)), size=(shared, heads // shared, *rest)), shape=(heads, *rest)
    )


def _dropped(weights: Any, dropout: Dropout | None) -> Any:
    return weights if dropout is None else drop(weights, p=dropout.p, seed=dropout.seed, offset=dropout.offset)


def probabilities(query: Any, key: Any, mask: Any, causal: bool, scale: float) -> Any:
    """The softmax of the scores, in plain ops; 0 in rows without any key."""
    scores = matmul(mul(query, scale), transposed(each_head(key, query)))
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
def _composite(query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float, dropout: Dropout | None) -> Any:
    weights = _dropped(probabilities(query, key, mask, causal, scale), dropout)
    return matmul(weights, each_head(value, query))
