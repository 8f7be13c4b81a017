"""Pooling in NumPy: one pass over all windows for each place within a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..base import Array, Backend
from ..cpp.types import wide
from ..sliding import Windows
from .threads import GRAIN, parallel

_INT64 = np.dtype(np.int64)


class Pooling(Backend):
    """Means and maxima of windows."""

    def mean_pool(self, x: Array, windows: tuple[Windows, ...]) -> Array:
        out = np.zeros((x.shape[0], *_out(windows)), wide(x.dtype))
        for key, inside in _places(windows):
            found = x[(slice(None), *key)]
            out += found if inside is None else np.where(inside, found, 0)
        return _divided(out, windows).astype(x.dtype, copy=False)

    def mean_pool_backward(self, grad: Array, windows: tuple[Windows, ...]) -> Array:
        g = _divided(grad.astype(wide(grad.dtype)), windows)
        x = np.zeros((grad.shape[0], *(w.size for w in windows)), g.dtype)
        for key, inside in _places(windows):
            if inside is None:
                x[(slice(None), *key)] += g
            else:
                np.add.at(x, (slice(None), *key), np.where(inside, g, 0))
        return x.astype(grad.dtype, copy=False)

    def max_pool(self, x: Array, windows: tuple[Windows, ...]) -> tuple[Array, Array]:
        planes, size = x.shape[0], prod(w.size for w in windows)
        values = np.empty((planes, *_out(windows)), x.dtype)
        places = np.empty(values.shape, _INT64)
        steps = list(_places(windows))
        first, offsets = _flat(windows)

        def task(begin: int, end: int) -> None:
            which = _largest(x[begin:end], values[begin:end], steps)
            np.add(offsets[which], first, out=places[begin:end])

        parallel(task, planes, max(1, GRAIN // max(size, 1)))
        return values, places

    def max_pool_backward(self, grad: Array, places: Array, windows: tuple[Windows, ...]) -> Array:
        planes, size = grad.shape[0], tuple(w.size for w in windows)
        x = np.zeros(planes * prod(size), wide(grad.dtype))
        index = places.reshape(planes, -1) + np.arange(0, x.size, prod(size))[:, None]
        np.add.at(x, index.reshape(-1), grad.reshape(-1))
        return x.reshape(planes, *size).astype(grad.dtype, copy=False)


def _largest(x: Array, values: Array, steps: Sequence[tuple[Any, Array | None]]) -> Array:
    """Write the largest of each window; returns which of its places has it: the first, but of NaN the last.

    Nothing is selected by a mask, which takes several times as long: the numbers of the places grow, so the last that
    was larger than all before it is the largest number of those that were.
    """
    which = np.zeros(values.shape, np.uint8 if len(steps) <= 256 else _INT64)
    number = np.empty_like(which)

    def run(nan: bool) -> None:
        for k, (key, inside) in enumerate(steps):
            found = x[(slice(None), *key)]
            if k == 0:  # the first place of a window is always there
                values[...] = found
                continue
            larger = found > values
            if nan:
                larger |= found != found
            if inside is not None:
                larger &= inside
            np.maximum(values, found, out=values, where=True if inside is None else inside)
            np.multiply(larger.view(np.uint8), which.dtype.type(k), out=number)
            np.maximum(which, number, out=which)

    run(False)
    if x.dtype.kind != "i" and bool((values != values).any()):
        which[...] = 0
        run(True)
    return which


def _out(windows: tuple[Windows, ...]) -> tuple[int, ...]:
    return tuple(len(w.starts) for w in windows)


def _open(lines: list[Array]) -> tuple[Array, ...]:
    """Each along a dimension of its own."""
    return tuple(line.reshape(-1, *(1,) * (len(lines) - 1 - i)) for i, line in enumerate(lines))


def _longest(windows: tuple[Windows, ...]) -> list[int]:
    """How many places the largest windows have along each dimension."""
    return [max(-(-(b - a) // w.step) for a, b in zip(w.starts, w.stops)) for w in windows]


def _evenly(where: Array) -> slice | None:
    """A slice of these places, if they are all of one."""
    step = int(where[1] - where[0]) if len(where) > 1 else 1
    even = step > 0 and bool((np.diff(where) == step).all())
    return slice(int(where[0]), int(where[-1]) + 1, step) if even else None


def _places(windows: tuple[Windows, ...]) -> Iterator[tuple[tuple[Any, ...], Array | None]]:
    """For each place within a window: where in the input it is for all windows, and which windows have it.

    If all have it, and lie at even distances, slices say where, and None which.
    """
    starts, stops = ([np.array(getattr(w, name), _INT64) for w in windows] for name in ("starts", "stops"))
    for at in product(*map(range, _longest(windows))):
        where = [first + k * w.step for first, k, w in zip(starts, at, windows)]
        inside = [i < last for i, last in zip(where, stops)]
        slices = [_evenly(i) if there.all() else None for i, there in zip(where, inside)]
        if None not in slices:
            yield tuple(slices), None
            continue
        safe = [np.where(there, i, first) for there, i, first in zip(inside, where, starts)]
        yield _open(safe), reduce(np.logical_and, _open(inside))


def _flat(windows: tuple[Windows, ...]) -> tuple[Array, Array]:
    """Where in a plane each window's first place is; how far from it its other places are, in their order."""
    strides = [prod(w.size for w in windows[d + 1 :]) for d in range(len(windows))]
    first = [np.array(w.starts, _INT64) * stride for w, stride in zip(windows, strides)]
    offsets = [np.arange(n) * w.step * stride for n, w, stride in zip(_longest(windows), windows, strides)]
    return reduce(np.add, _open(first)), reduce(np.add, _open(offsets)).reshape(-1)


def _divided(x: Array, windows: tuple[Windows, ...]) -> Array:
    counts: Array = reduce(np.multiply, _open([np.array(w.counts, _INT64) for w in windows]))
    if x.dtype.kind == "f":
        x /= counts.astype(x.dtype)
        return x
    return np.sign(x) * np.sign(counts) * (np.abs(x) // np.abs(counts))
