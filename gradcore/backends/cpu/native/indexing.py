"""Sums at indexed places by native kernels: kernels/host/scatter.cpp."""

from __future__ import annotations

import functools
from math import ceil, prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...base import Array
from ...cpp.types import FLOAT32, FLOAT64
from ..backend import CpuBackend
from ..indexing import Slices
from ..threads import get_num_threads, parallel
from .calls import GRAIN, Kernel, kernels

_INT64 = np.dtype(np.int64)
# Neighbours that a thread takes at least, if the threads share out the innermost dimension.
_NEIGHBOURS = 16
_OUTER, _ROWS, _INNER = range(3)


@functools.cache
def _kernels(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("scatter.cpp", ("add_slices", "add_elements"), dtype) if dtype in (FLOAT32, FLOAT64) else None


class NativeIndexing(CpuBackend):
    """Sums at indexed places by native kernels, at every size."""

    def index_add(self, target: Array, key: Any, values: Array) -> None:
        native = _kernels(target.dtype)
        slices = native and target.flags.c_contiguous and Slices.of(target, key)
        if not native or not slices:
            super().index_add(target, key, values)
            return
        if values.shape != slices.shape:
            values = np.broadcast_to(values, slices.shape)
        sizes = (slices.outer, slices.rows, slices.index.size, slices.inner)
        _add(native.add_slices, target, slices.index, values, sizes, slices.axis)

    def scatter(self, target: Array, index: Array, values: Array, axis: int, combine: str) -> None:
        native = _kernels(target.dtype) if combine == "sum" else None
        # The dimensions beside `axis` have to be the target's own.
        reached = index.shape[:axis] + index.shape[axis + 1 :] == target.shape[:axis] + target.shape[axis + 1 :]
        if native is None or not reached or not target.flags.c_contiguous:
            super().scatter(target, index, values, axis, combine)
            return
        sizes = (prod(target.shape[:axis]), target.shape[axis], index.shape[axis], prod(target.shape[axis + 1 :]))
        _add(native.add_elements, target, index, values, sizes, axis)


def _add(kernel: Kernel, target: Array, index: Array, values: Array, sizes: tuple[int, ...], axis: int) -> None:
    outer, rows, n, inner = sizes
    arguments = (
        target,
        values
        if values.dtype is target.dtype and values.flags.c_contiguous
        else np.ascontiguousarray(values, target.dtype),
        index if index.dtype is _INT64 and index.flags.c_contiguous else np.ascontiguousarray(index, _INT64),
    )
    work, threads, found = outer * n * inner, get_num_threads(), []
    if work < GRAIN or threads == 1:
        found.append((kernel.short if work < GRAIN else kernel.long)(*arguments, _OUTER, 0, outer, *sizes))
    else:
        if outer >= 2 * threads:
            dimension, items, grain = _OUTER, outer, max(1, GRAIN // (n * inner))
        elif inner >= _NEIGHBOURS * threads:
            dimension, items, grain = _INNER, inner, ceil(inner / threads)
        else:
            dimension, items, grain = _ROWS, rows, ceil(rows / threads)
        run = kernel.long
        parallel(lambda begin, end: found.append(run(*arguments, dimension, begin, end, *sizes)), items, grain)
    if (bad := max(found)) >= 0:
        place = index.reshape(-1)[bad]
        raise IndexError(f"index {place} is out of bounds for axis {axis} with size {rows}")
