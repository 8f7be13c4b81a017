"""Pooling: kernels/pooling.cu."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..base import Array
from ..cpp import sources
from ..cpp.types import INT64
from ..sliding import WHOLE, Windows
from .compiler import Compiler
from .emission import prologue
from .layout import struct
from .memory import constant

_BLOCK = 256
_NAMES = ("mean_pool", "mean_pool_backward", "max_pool", "max_pool_backward")
# Sets of windows whose tables stay on the device.
_KEPT = 256


class Pool:
    """Pools contiguous planes of one device."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._xp, self._empty = xp, xp.empty
        self._compiler = compiler
        self._kernels: dict[np.dtype, dict[str, Any]] = {}
        self._tables: dict[tuple[Windows, ...], tuple[Array, np.ndarray]] = {}

    def mean_pool(self, x: Array, windows: tuple[Windows, ...]) -> Array:
        """See `Backend.mean_pool`."""
        y = self._empty((x.shape[0], *(len(w.starts) for w in windows)), x.dtype)
        self._launch("mean_pool", y.size, windows, x, y)
        return y

    def mean_pool_backward(self, grad: Array, windows: tuple[Windows, ...]) -> Array:
        """See `Backend.mean_pool_backward`."""
        dx = self._empty((grad.shape[0], *(w.size for w in windows)), grad.dtype)
        self._launch("mean_pool_backward", dx.size, windows, grad, dx)
        return dx

    def max_pool(self, x: Array, windows: tuple[Windows, ...]) -> tuple[Array, Array]:
        """See `Backend.max_pool`."""
        shape = (x.shape[0], *(len(w.starts) for w in windows))
        y, places = self._empty(shape, x.dtype), self._empty(shape, INT64)
        self._launch("max_pool", y.size, windows, x, y, places)
        return y, places

    def max_pool_backward(self, grad: Array, places: Array, windows: tuple[Windows, ...]) -> Array:
        """See `Backend.max_pool_backward`."""
        dx = self._empty((grad.shape[0], *(w.size for w in windows)), grad.dtype)
        self._launch("max_pool_backward", dx.size, windows, grad, places, dx)
        return dx

    def _launch(self, name: str, count: int, windows: tuple[Windows, ...], *arrays: Array) -> None:
        dtype = arrays[0].dtype
        kernels = self._kernels.get(dtype)
        if kernels is None:
            text = prologue({"T": dtype}, dtype) + sources.read("pooling.cu")
            found = self._compiler.kernels(text, _NAMES, f"pooling of {dtype.name}")
            kernels = self._kernels[dtype] = dict(zip(_NAMES, found))
        if max(prod(w.size for w in windows), prod(len(w.starts) for w in windows)) >= 1 << 31:
            raise RuntimeError("pooling of planes with 2**31 elements or more is not covered on CUDA")
        args = (*arrays, *self._on_device(windows), np.int64(count))
        kernels[name]((-(-count // _BLOCK),), (_BLOCK,), args)

    def _on_device(self, windows: tuple[Windows, ...]) -> tuple[Array, np.ndarray]:
        """The kernel's tables, and its struct Axes."""
        found = self._tables.get(windows)
        if found is None:
            tables: list[int] = []
            axes = []
            for w in (WHOLE,) * (3 - len(windows)) + windows:
                axes.append((w.size, len(w.starts), w.step, len(tables)))
                for line in (w.starts, w.stops, w.counts, *w.covering()):
                    tables += line
            while len(self._tables) >= _KEPT:
                del self._tables[next(iter(self._tables))]
            on_device = constant(self._xp, np.array(tables, np.int32))
            found = self._tables[windows] = on_device, struct(np.array(axes, np.int32).reshape(-1))
        return found
