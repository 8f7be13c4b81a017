"""Unfolding and folding for convolutions, in NumPy: one strided copy or sum for each place of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..base import Array, Backend
from ..cpp.types import FLOAT32, HALVES
from ..sliding import Sliding
from .threads import GRAIN, parallel

Range = tuple[Any, ...]


class Convolution(Backend):
    """Convolutions as matrix products; 16-bit floats are widened first."""

    # Of columns in one product: enough for several threads, and no more than the last cache has room for.
    columns = 1 << 20

    def unfold(self, x: Array, sliding: Sliding, out: tuple[int, ...]) -> Array:
        images, channels = x.shape[:2]
        # As far as the kernel reaches, zeros around the input. Columns are copies of it at the kernel's offsets.
        reach = [
            (m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(out, sliding.stride, sliding.kernel, sliding.dilation)
        ]
        inside = [slice(p, max(p, min(p + n, r))) for p, n, r in zip(sliding.padding, x.shape[2:], reach)]
        plane: Array = np.zeros((channels, images, *reach), x.dtype)
        plane[(..., *inside)] = x.swapaxes(0, 1)[(..., *(slice(i.stop - i.start) for i in inside))]
        steps = plane.strides[2:]
        met = as_strided(
            plane,
            (channels, *sliding.kernel, images, *out),
            (
                plane.strides[0],
                *(step * d for step, d in zip(steps, sliding.dilation)),
                plane.strides[1],
                *(step * s for step, s in zip(steps, sliding.stride)),
            ),
        )
        columns: Array = np.empty(met.shape, x.dtype)
        _by_channel(lambda at: np.copyto(columns[at], met[at]), channels, columns.size)
        return columns.reshape(channels * prod(sliding.kernel), -1)

    def fold(self, columns: Array, sliding: Sliding, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
        x = np.zeros(shape, columns.dtype)
        apart = columns.reshape(shape[1], *sliding.kernel, shape[0], *out)
        by_channel: Array = x.swapaxes(0, 1)

        def add(channels: slice) -> None:
            for at, inside, places in _meetings(sliding, shape[2:], out):
                by_channel[(channels, slice(None), *inside)] += apart[(channels, *at, slice(None), *places)]

        _by_channel(add, shape[1], columns.size)
        return x

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, sliding: Sliding, out: tuple[int, ...], groups: int
    ) -> Array:
        if x.dtype not in HALVES:
            return super().convolution(x, weight, bias, sliding, out, groups)
        return self.convolution(_wide(x), _wide(weight), _wide(bias), sliding, out, groups).astype(x.dtype)

    def convolution_input(
        self, grad: Array, weight: Array, bias: Array | None, sliding: Sliding, size: tuple[int, ...], groups: int
    ) -> Array:
        if grad.dtype not in HALVES:
            return super().convolution_input(grad, weight, bias, sliding, size, groups)
        wide = _wide(grad), _wide(weight), _wide(bias)
        return self.convolution_input(*wide, sliding, size, groups).astype(grad.dtype)

    def convolution_weight(self, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array:
        if x.dtype not in HALVES:
            return super().convolution_weight(grad, x, sliding, groups)
        return self.convolution_weight(_wide(grad), _wide(x), sliding, groups).astype(x.dtype)


def _by_channel(task: Callable[[slice], Any], channels: int, elements: int) -> None:
    parallel(lambda begin, end: task(slice(begin, end)), channels, max(1, GRAIN * channels // max(elements, 1)))


def _wide(x: Array | None) -> Array | None:
    return None if x is None else x.astype(FLOAT32)


def _meetings(
    sliding: Sliding, size: tuple[int, ...], out: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Range, Range]]:
    """For each place of the kernel the places inside the input that it meets, and those of the output where it does."""
    for at in product(*map(range, sliding.kernel)):
        inside, places = [], []
        for k, stride, padding, dilation, n, m in zip(at, sliding.stride, sliding.padding, sliding.dilation, size, out):
            offset = k * dilation - padding
            first = max(0, -(offset // stride))
            last = min(m, (n - 1 - offset) // stride + 1)
            if first >= last:
                break
            places.append(slice(first, last))
            inside.append(slice(first * stride + offset, (last - 1) * stride + offset + 1, stride))
        else:
            yield at, tuple(inside), tuple(places)
