"""Attention a block at a time: of one head some queries, or of short ones several heads, with all keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..attention import AttentionInputs
from ..base import Array, Backend
from ..cpp.types import wide

# Elements of the scores that are worked on at a time.
_BLOCK = 1 << 17


class Attention(Backend):
    """Blocks of scores by matrix products, forgotten as soon as they have been used."""

    def attention(self, inputs: AttentionInputs) -> tuple[Array, Array]:
        query, key, value = _each_head(inputs)
        work = wide(query.dtype)
        out = np.empty((*query.shape[:2], value.shape[2]), query.dtype)
        lse = np.empty(query.shape[:2], work)
        for heads, rows, keys in _blocks(query.shape, key.shape[1], inputs.causal):
            scores = _scores(query[heads, rows], key[heads, keys], inputs, (heads, rows, keys), work)
            top = scores.max(-1, keepdims=True, initial=-np.inf)
            np.copyto(top, 0, where=top == -np.inf)
            scores -= top
            np.exp(scores, out=scores)
            total = scores.sum(-1, keepdims=True)
            dead = total == 0
            np.copyto(total, 1, where=dead)
            out[heads, rows] = np.matmul(scores, value[heads, keys].astype(work, copy=False)) / total
            lse[heads, rows] = np.where(dead, np.inf, top + np.log(total))[..., 0]
        return out, lse

    def attention_backward(
        self, grad: Array, inputs: AttentionInputs, out: Array, lse: Array
    ) -> tuple[Array, Array, Array]:
        query, key, value = _each_head(inputs)
        # With p the probabilities and s the scores: dv = p^T g, ds = p (g v^T - sum(g out)), dq = ds k, dk = ds^T q.
        work = wide(query.dtype)
        dq, dk, dv = np.empty(query.shape, work), np.zeros(key.shape, work), np.zeros(value.shape, work)
        for heads, rows, keys in _blocks(query.shape, key.shape[1], inputs.causal):
            q, k, v, g, o = (
                x.astype(work, copy=False)
                for x in (query[heads, rows], key[heads, keys], value[heads, keys], grad[heads, rows], out[heads, rows])
            )
            p = _scores(q, k, inputs, (heads, rows, keys), work)
            p -= lse[heads, rows, None]
            np.exp(p, out=p)
            dv[heads, keys] += np.matmul(p.swapaxes(1, 2), g)
            ds = np.matmul(g, v.swapaxes(1, 2))
            ds -= (g * o).sum(-1, keepdims=True)
            ds *= p
            ds *= inputs.scale
            dq[heads, rows] = np.matmul(ds, k)
            dk[heads, keys] += np.matmul(ds.swapaxes(1, 2), q)
        if (shared := len(inputs.key)) < len(key):
            dk, dv = (d.reshape(shared, -1, *d.shape[1:]).sum(1) for d in (dk, dv))
        return tuple(d.astype(query.dtype, copy=False) for d in (dq, dk, dv))  # type: ignore[return-value]


def _each_head(inputs: AttentionInputs) -> tuple[Array, Array, Array]:
    """Queries, and keys and values as often as there are heads of queries for them."""
    query, key, value, _, _, _, dropout = inputs
    assert dropout is None  # see `attention_drops`
    if len(key) == len(query):
        return query, key, value
    group = len(query) // len(key)
    return query, np.repeat(key, group, 0), np.repeat(value, group, 0)


def _blocks(shape: tuple[int, ...], keys: int, causal: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Heads, their queries, and the keys that these may see."""
    heads, queries = shape[:2]
    together = max(1, _BLOCK // max(queries * keys, 1))
    step = queries if together > 1 else max(1, min(queries, _BLOCK // max(keys, 1)))
    for head in range(0, heads, together):
        for first in range(0, queries, step):
            last = min(first + step, queries)
            yield slice(head, head + together), slice(first, last), slice(0, min(last, keys) if causal else keys)


def _scores(query: Array, key: Array, inputs: AttentionInputs, at: tuple[slice, slice, slice], work: np.dtype) -> Array:
    scores: Array = np.matmul(query.astype(work, copy=False), key.astype(work, copy=False).swapaxes(1, 2))
    scores *= inputs.scale
    mask = inputs.mask
    if mask is not None:
        if mask.dtype.kind == "b":
            np.copyto(scores, -np.inf, where=~mask[at])
        else:
            scores += mask[at]
    if inputs.causal:
        rows, keys = np.arange(at[1].start, at[1].stop), np.arange(at[2].stop)
        np.copyto(scores, -np.inf, where=keys > rows[:, None])
    return scores
