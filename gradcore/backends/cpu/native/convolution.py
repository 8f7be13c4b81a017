"""Unfolding and folding for convolutions by native kernels: kernels/host/unfold.cpp."""

from __future__ import annotations

import functools
from math import prod
from types import SimpleNamespace

import numpy as np

from ...base import Array, Sliding, in_space
from ..backend import CpuBackend
from .calls import kernels, over_items


@functools.cache
def _kernels(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("unfold.cpp", ("unfold", "fold"), dtype)


@functools.lru_cache(maxsize=256)
def _geometry(sliding: Sliding, size: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """For each of three dimensions the sizes of input, output and kernel, stride, padding and dilation."""
    s = sliding.in_space()
    axes = zip(in_space(size), in_space(out), s.kernel, s.stride, s.padding, s.dilation, strict=True)
    return np.array(list(axes), np.int64)


class NativeConvolution(CpuBackend):
    """The columns of convolutions by native kernels, at every size."""

    def unfold(self, x: Array, sliding: Sliding, out: tuple[int, ...]) -> Array:
        native = _kernels(x.dtype)
        if native is None or not x.flags.c_contiguous:
            return super().unfold(x, sliding, out)
        images, channels = x.shape[:2]
        columns = np.empty((channels * prod(sliding.kernel), images * prod(out)), x.dtype)
        arguments = (x, columns, _geometry(sliding, x.shape[2:], out))
        over_items(native.unfold, arguments, *columns.shape, images, channels)
        return columns

    def fold(self, columns: Array, sliding: Sliding, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
        native = _kernels(columns.dtype)
        if native is None or not columns.flags.c_contiguous:
            return super().fold(columns, sliding, shape, out)
        x = np.empty(shape, columns.dtype)
        arguments = (columns, x, _geometry(sliding, shape[2:], out))
        images, channels = shape[:2]
        over_items(native.fold, arguments, images * channels, prod(sliding.kernel) * prod(out), images, channels)
        return x
