"""Pooling by native kernels: kernels/host/pooling.cpp."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...base import Array
from ...sliding import WHOLE, Windows
from ..backend import CpuBackend
from .calls import Kernel, kernels, over_items

_INT64 = np.dtype(np.int64)


@functools.cache
def _kernels(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("pooling.cpp", ("mean_pool", "mean_pool_backward", "max_pool", "max_pool_backward"), dtype)


@functools.lru_cache(maxsize=256)
def _tables(windows: tuple[Windows, ...]) -> tuple[Array, Array]:
    """For each of three dimensions sizes and step, and the starts, stops and counts of all windows."""
    space = (WHOLE,) * (3 - len(windows)) + windows
    lines = [line for w in space for line in (w.starts, w.stops, w.counts)]
    return np.array([(w.size, len(w.starts), w.step) for w in space], _INT64), np.concatenate(lines, dtype=_INT64)


def _over_planes(kernel: Kernel, arrays: tuple[Any, ...], windows: tuple[Windows, ...]) -> None:
    planes = arrays[0].shape[0]
    elements = max(a[0].size for a in arrays)
    over_items(kernel, (*arrays, *_tables(windows)), planes, elements)


class NativePooling(CpuBackend):
    """Pooling by native kernels, at every size."""

    def mean_pool(self, x: Array, windows: tuple[Windows, ...]) -> Array:
        native = _kernels(x.dtype)
        if native is None:
            return super().mean_pool(x, windows)
        y = np.empty((x.shape[0], *(len(w.starts) for w in windows)), x.dtype)
        _over_planes(native.mean_pool, (x, y), windows)
        return y

    def mean_pool_backward(self, grad: Array, windows: tuple[Windows, ...]) -> Array:
        native = _kernels(grad.dtype)
        if native is None:
            return super().mean_pool_backward(grad, windows)
        dx = np.empty((grad.shape[0], *(w.size for w in windows)), grad.dtype)
        _over_planes(native.mean_pool_backward, (grad, dx), windows)
        return dx

    def max_pool(self, x: Array, windows: tuple[Windows, ...]) -> tuple[Array, Array]:
        native = _kernels(x.dtype)
        if native is None:
            return super().max_pool(x, windows)
        shape = (x.shape[0], *(len(w.starts) for w in windows))
        y, places = np.empty(shape, x.dtype), np.empty(shape, _INT64)
        _over_planes(native.max_pool, (x, y, places), windows)
        return y, places

    def max_pool_backward(self, grad: Array, places: Array, windows: tuple[Windows, ...]) -> Array:
        native = _kernels(grad.dtype)
        if native is None:
            return super().max_pool_backward(grad, places, windows)
        dx = np.empty((grad.shape[0], *(w.size for w in windows)), grad.dtype)
        _over_planes(native.max_pool_backward, (grad, places, dx), windows)
        return dx
