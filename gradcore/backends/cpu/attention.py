"""Attention a block at a time: of one head some queries, or of short ones several heads, with all keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..base import Array, Backend, Dropout
from ..cpp.types import wide

# Elements of the scores that are worked on at a time.
_BLOCK = 1 << 17


class Attention(Backend):
    """Blocks of scores by matrix products, forgotten as soon as they have been used."""

    def attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None,
        causal: bool,
        scale: float,
        dropout: Dropout | None = None,
    ) -> tuple[Array, Array]:
        assert dropout is None  # see `attention_drops`
        key, value = (_each_head(x, query) for x in (key, value))
        work = wide(query.dtype)
        out = np.empty((*query.shape[:2], value.shape[2]), query.dtype)
        lse = np.empty(query.shape[:2], work)
        for heads, rows, keys in _blocks(query.shape, key.shape[1], causal):
            scores = _scores(query[heads, rows], key[heads, keys], mask, (heads, rows, keys), causal, scale, work)
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
        self,
        grad: Array,
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None,
        out: Array,
        lse: Array,
        causal: bool,
        scale: float,
        dropout: Dropout | None = None,
    ) -> tuple[Array, Array, Array]:
        assert dropout is None
        shared = key.shape[0]
        key, value = (_each_head(x, query) for x in (key, value))
        # With p the probabilities and s the scores: dv = p^T g, ds = p (g v^T - sum(g out)), dq = ds k, dk = ds^T q.
        work = wide(query.dtype)
        dq, dk, dv = np.empty(query.shape, work), np.zeros(key.shape, work), np.zeros(value.shape, work)
        for heads, rows, keys in _blocks(query.shape, key.shape[1], causal):
            q, k, v, g, o = (
                x.astype(work, copy=False)
                for x in (query[heads, rows], key[heads, keys], value[heads, keys], grad[heads, rows], out[heads, rows])
            )
            p = _scores(q, k, mask, (heads, rows, keys), causal, scale, work)
            p -= lse[heads, rows, None]
            np.exp(p, out=p)
            dv[heads, keys] += np.matmul(p.swapaxes(1, 2), g)
            ds = np.matmul(g, v.swapaxes(1, 2))
            ds -= (g * o).sum(-1, keepdims=True)
            ds *= p
            ds *= scale
            dq[heads, rows] = np.matmul(ds, k)
            dk[heads, keys] += np.matmul(ds.swapaxes(1, 2), q)
        if shared < len(key):
            dk, dv = (d.reshape(shared, -1, *d.shape[1:]).sum(1) for d in (dk, dv))
        return tuple(d.astype(query.dtype, copy=False) for d in (dq, dk, dv))  # type: ignore[return-value]


def _each_head(x: Array, query: Array) -> Array:
    """Keys or values as often as there are heads of queries for them."""
    return x if len(x) == len(query) else np.repeat(x, len(query) // len(x), 0)


def _blocks(shape: tuple[int, ...], keys: int, causal: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Heads, their queries, and the keys that these may see."""
    heads, queries = shape[:2]
    together = max(1, _BLOCK // max(queries * keys, 1))
    step = queries if together > 1 else max(1, min(queries, _BLOCK // max(keys, 1)))
    for head in range(0, heads, together):
        for first in range(0, queries, step):
            last = min(first + step, queries)
            yield slice(head, head + together), slice(first, last), slice(0, min(last, keys) if causal else keys)


def _scores(
    query: Array,
    key: Array,
    mask: Array | None,
    at: tuple[slice, slice, slice],
    causal: bool,
    scale: float,
    work: np.dtype,
) -> Array:
    scores: Array = np.matmul(query.astype(work, copy=False), key.astype(work, copy=False).swapaxes(1, 2))
    scores *= scale
    if mask is not None:
        if mask.dtype.kind == "b":
            np.copyto(scores, -np.inf, where=~mask[at])
        else:
            scores += mask[at]
    if causal:
        rows, keys = np.arange(at[1].start, at[1].stop), np.arange(at[2].stop)
        np.copyto(scores, -np.inf, where=keys > rows[:, None])
    return scores
