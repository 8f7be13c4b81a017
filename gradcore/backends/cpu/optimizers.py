"""The optimizers' updates, in NumPy: large arrays in stretches, on several threads; small ones gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..base import Array, Backend
from ..cpp.types import HALVES, wide
from .threads import GRAIN, parallel


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
        def update(p: Array, *rest: Array) -> None:
            *buffers, g = rest
            if maximize:
                g = -g
            if weight_decay:
                g = g + weight_decay * p
            for buffer in buffers:
                if first:
                    buffer[...] = g
                else:
                    buffer *= momentum
                    buffer += (1 - dampening) * g if dampening else g
                g = g + momentum * buffer if nesterov else buffer
            p -= lr * g

        update_all([params, grads] if momenta is None else [params, momenta, grads], update, gather=False)

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

        def update(p: Array, m: Array, v: Array, *rest: Array) -> None:
            *largest, g = rest
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
            for running in largest:
                v = np.maximum(running, v, out=running)
            # lr / (1 - beta1^step) * m / (sqrt(v) / root + eps), with one operation fewer
            np.sqrt(v, out=t)
            t += eps * root
            np.divide(m, t, out=t)
            t *= step_size
            p -= t

        columns = [params, exp_avgs, exp_avg_sqs, *([] if max_exp_avg_sqs is None else [max_exp_avg_sqs]), grads]
        update_all(columns, update, gather=True)


# Elements updated at a time: what an update touches stays in the cache from one ufunc to the next.
STRETCH = 1 << 16
# Arrays of up to so many elements may be gathered: copying a few of them costs less than a dozen ufuncs for each.
SMALL = 1 << 10
FEW = 4

Columns = Sequence[Sequence[Array]]


def update_all(columns: Columns, update: Callable[..., None], gather: bool) -> None:
    """Call `update` with arrays that belong together, one of each column, until all are done.

    If `gather`, small arrays are updated together, in copies: for updates of many ufuncs.

    All but the last are updated in place. Half precision comes as float32, and is rounded once when written back.
    """
    params = columns[0]
    sizes = [p.size for p in params]
    if len({id(p) for p in params}) < len(params):  # one that is there twice is updated twice, one after the other
        for arrays in zip(*columns):
            _update([arrays], update)
        return
    pieces = list(_pieces(columns, sizes, SMALL if gather else 0))

    def task(start: int, stop: int) -> None:
        for piece in pieces[start:stop]:
            _update(piece, update)

    if sum(sizes) >= 2 * GRAIN:
        parallel(task, len(pieces))
    else:
        task(0, len(pieces))


def _pieces(columns: Columns, sizes: Sequence[int], small: int) -> Iterator[Columns]:
    """What is updated together: a stretch of the arrays of one parameter, or all those of several small ones."""
    gathered: list[Sequence[Array]] = []
    room = STRETCH
    if sum(size <= small for size in sizes) < FEW:
        small = 0
    for size, arrays in zip(sizes, zip(*columns)):
        if size <= small:
            if size > room:
                yield gathered
                gathered, room = [], STRETCH
            gathered.append(arrays)
            room -= size
        elif size <= STRETCH or not all(a.flags.c_contiguous for a in arrays):
            yield [arrays]
        else:
            flat = [a.reshape(-1) for a in arrays]
            for i in range(0, size, STRETCH):
                yield [[a[i : i + STRETCH] for a in flat]]
    if gathered:
        yield gathered


def _update(piece: Columns, update: Callable[..., None]) -> None:
    dtype = piece[0][0].dtype
    if len(piece) == 1 and dtype not in HALVES:
        update(*piece[0])
        return
    work = [np.concatenate([a.reshape(-1) for a in column], dtype=wide(dtype)) for column in zip(*piece)]
    update(*work)
    start = 0
    for arrays in piece:
        stop = start + arrays[0].size
        for array, updated in zip(arrays[:-1], work):
            array[...] = updated[start:stop].reshape(array.shape)
        start = stop
