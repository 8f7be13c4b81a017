"""Unfolding and folding for convolutions: kernels/unfold.cu."""

from __future__ import annotations

import functools
from math import prod
from typing import Any

import numpy as np

from ..base import Array
from ..cpp import sources
from ..sliding import Sliding, in_space
from .compiler import Compiler
from .emission import prologue
from .layout import struct

_BLOCK = 256


@functools.lru_cache(maxsize=256)
def _axes(sliding: Sliding, size: tuple[int, ...], out: tuple[int, ...]) -> np.ndarray:
    """The kernel's struct Axes."""
    s = sliding.in_space()
    axes = zip(in_space(size), in_space(out), s.kernel, s.stride, s.padding, s.dilation, strict=True)
    return struct(np.array(list(axes), np.int32).reshape(-1))


class Unfold:
    """Makes the columns of convolutions on one device, and sums them up again."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._empty = xp.empty
        self._compiler = compiler
        self._kernels: dict[np.dtype, tuple[Any, ...]] = {}

    def unfold(self, x: Array, sliding: Sliding, out: tuple[int, ...]) -> Array:
        """See `Backend.unfold`."""
        images, channels = x.shape[:2]
        columns = self._empty((channels * prod(sliding.kernel), images * prod(out)), x.dtype)
        sizes = _axes(sliding, x.shape[2:], out), np.int32(images), np.int32(channels)
        self._launch(0, x.dtype, channels * columns.shape[1], (x, columns, *sizes))
        return columns

    def fold(self, columns: Array, sliding: Sliding, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
        """See `Backend.fold`."""
        x = self._empty(shape, columns.dtype)
        sizes = _axes(sliding, shape[2:], out), np.int32(shape[0]), np.int32(shape[1])
        self._launch(1, x.dtype, x.size, (columns, x, *sizes))
        return x

    def _launch(self, which: int, dtype: np.dtype, threads: int, args: tuple[Any, ...]) -> None:
        kernels = self._kernels.get(dtype)
        if kernels is None:
            text = prologue({"T": dtype}, dtype) + sources.read("unfold.cu")
            kernels = self._compiler.kernels(text, ("unfold", "fold"), f"unfold and fold of {dtype.name}")
            self._kernels[dtype] = kernels
        if threads:
            kernels[which]((-(-threads // _BLOCK),), (_BLOCK,), args)
