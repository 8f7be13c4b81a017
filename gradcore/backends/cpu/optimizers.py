"""The optimizers' updates, in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..base import Array, Backend
from .dtypes import F32, HALVES


class Optimizers(Backend):
    """The optimizers' updates."""

    def sgd_step(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        momenta: Sequence[Array] | None,
        *,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        maximize: bool,
        first: bool,
    ) -> None:
        columns = [params, grads] if momenta is None else [params, momenta, grads]
        for p, *rest in stretches(columns):
            g = rest.pop()
            if maximize:
                g = -g
            if weight_decay:
                g = g + weight_decay * p
            if rest:
                (buffer,) = rest
                if first:
                    buffer[...] = g
                else:
                    buffer *= momentum
                    buffer += (1 - dampening) * g if dampening else g
                g = g + momentum * buffer if nesterov else buffer
            p -= lr * g

    def adam_step(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        exp_avgs: Sequence[Array],
        exp_avg_sqs: Sequence[Array],
        max_exp_avg_sqs: Sequence[Array] | None,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
        step: int,
    ) -> None:
        root = (1 - beta2**step) ** 0.5
        step_size = lr / (1 - beta1**step) * root
        columns = [params, exp_avgs, exp_avg_sqs, grads]
        if max_exp_avg_sqs is not None:
            columns.insert(3, max_exp_avg_sqs)
        for p, m, v, *rest in stretches(columns):
            g = rest.pop()
            if maximize:
                g = -g
            if weight_decay:
                if decoupled:
                    p *= 1 - lr * weight_decay
                else:
                    g = g + weight_decay * p
            t = np.asarray(g - m)
            t *= 1 - beta1
            m += t
            np.multiply(g, g, out=t)
            t *= 1 - beta2
            v *= beta2
            v += t
            if rest:
                (largest,) = rest
                np.maximum(largest, v, out=largest)
                v = largest
            # lr / (1 - beta1^step) * m / (sqrt(v) / root + eps), with one operation fewer
            np.sqrt(v, out=t)
            t += eps * root
            np.divide(m, t, out=t)
            t *= step_size
            p -= t


# Elements: what an update touches stays in the cache from one ufunc to the next.
STRETCH = 1 << 16


def stretches(columns: Sequence[Sequence[Array]]) -> Iterator[Sequence[Array]]:
    """The arrays that belong together, one of each column, in stretches that fit into the cache.

    All but the last may be written to. Half precision comes as float32, and is rounded once when written back.
    """
    for arrays in zip(*columns):
        size = arrays[0].size
        if size <= STRETCH or not all(a.flags.c_contiguous for a in arrays):
            pieces: Iterable[Sequence[Array]] = (arrays,)
        else:
            flat = [a.reshape(-1) for a in arrays]
            pieces = ([a[i : i + STRETCH] for a in flat] for i in range(0, size, STRETCH))
        if arrays[0].dtype not in HALVES:
            yield from pieces
            continue
        for piece in pieces:
            wide = [a.astype(F32) for a in piece]
            yield wide
            for narrow, updated in zip(piece[:-1], wide):
                narrow[...] = updated
