"""Unfolding and folding for convolutions, in NumPy: one strided copy or sum for each place of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..base import Array, Backend
from ..cpp.types import FLOAT32, HALVES
from ..sliding import Sliding

Range = tuple[Any, ...]


class Convolution(Backend):
    """Convolutions as matrix products; 16-bit floats are widened first."""

    # The columns and their product stay in a core's second-level cache, or nearly.
    columns = 1 << 18

    def unfold(self, x: Array, sliding: Sliding, out: tuple[int, ...]) -> Array:
        images, channels = x.shape[:2]
        columns: Array = np.zeros((channels, *sliding.kernel, images, *out), x.dtype)
        by_channel: Array = x.swapaxes(0, 1)
        for at, inside, places in _meetings(sliding, x.shape[2:], out):
            columns[(slice(None), *at, slice(None), *places)] = by_channel[(slice(None), slice(None), *inside)]
        return columns.reshape(channels * int(np.prod(sliding.kernel)), -1)

    def fold(self, columns: Array, sliding: Sliding, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
        x = np.zeros(shape, columns.dtype)
        apart = columns.reshape(shape[1], *sliding.kernel, shape[0], *out)
        by_channel: Array = x.swapaxes(0, 1)
        for at, inside, places in _meetings(sliding, shape[2:], out):
            by_channel[(slice(None), slice(None), *inside)] += apart[(slice(None), *at, slice(None), *places)]
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
