"""Pooling in NumPy: one pass over all windows for each place within a window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..base import Array, Backend
from ..cpp.types import wide
from ..sliding import Windows

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
        size = tuple(w.size for w in windows)
        flat: Array = np.arange(prod(size)).reshape(size)
        values: Array = None
        places: Array = None
        for key, inside in _places(windows):
            found, place = x[(slice(None), *key)], flat[key]
            if values is None:  # the first place of a window is always there
                values, places = found.copy(), np.broadcast_to(place, found.shape).copy()
                continue
            larger = (found > values) | (found != found)
            if inside is not None:
                larger &= inside
            np.copyto(values, found, where=larger)
            np.copyto(places, place, where=larger)
        return values, places

    def max_pool_backward(self, grad: Array, places: Array, windows: tuple[Windows, ...]) -> Array:
        planes, size = grad.shape[0], tuple(w.size for w in windows)
        x = np.zeros(planes * prod(size), wide(grad.dtype))
        index = places.reshape(planes, -1) + np.arange(0, x.size, prod(size))[:, None]
        np.add.at(x, index.reshape(-1), grad.reshape(-1))
        return x.reshape(planes, *size).astype(grad.dtype, copy=False)


def _out(windows: tuple[Windows, ...]) -> tuple[int, ...]:
    return tuple(len(w.starts) for w in windows)


def _open(lines: list[Array]) -> tuple[Array, ...]:
    """Each along a dimension of its own."""
    return tuple(line.reshape(-1, *(1,) * (len(lines) - 1 - i)) for i, line in enumerate(lines))


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
    longest = [max(-(-(b - a) // w.step) for a, b in zip(w.starts, w.stops)) for w in windows]
    for at in product(*map(range, longest)):
        where = [first + k * w.step for first, k, w in zip(starts, at, windows)]
        inside = [i < last for i, last in zip(where, stops)]
        slices = [_evenly(i) if there.all() else None for i, there in zip(where, inside)]
        if None not in slices:
            yield tuple(slices), None
            continue
        safe = [np.where(there, i, first) for there, i, first in zip(inside, where, starts)]
        yield _open(safe), reduce(np.logical_and, _open(inside))


def _divided(x: Array, windows: tuple[Windows, ...]) -> Array:
    counts: Array = reduce(np.multiply, _open([np.array(w.counts, _INT64) for w in windows]))
    if x.dtype.kind == "f":
        x /= counts.astype(x.dtype)
        return x
    return np.sign(x) * np.sign(counts) * (np.abs(x) // np.abs(counts))
