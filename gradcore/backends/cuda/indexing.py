"""Combining values at indexed places: kernels/segments.cu, or, where that is allowed, kernels/atomic_add.cu."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import expr
from .. import determinism
from ..base import Array
from ..cpp import sources
from ..cpp.types import FLOAT32, FLOAT64, INT64, stored, wide
from .compiler import Compiler
from .elementwise import Elementwise
from .emission import prologue

_BLOCK = 256
_SHORTEST = 32
_MOST_COLUMN_BLOCKS = 65535
_INT32 = np.dtype(np.int32)
_FROM_THE_END = expr.trace(lambda i, n: expr.where(i < 0, i + n, i))
# Of what is out of range it is enough to know that it is.
_CLAMPED = expr.trace(lambda i, n: expr.where(i < 0, -1, expr.where(i < n, i, n)))
_PLACE = expr.trace(lambda at, i, stride: at + i * stride)
_COMBINE = {"sum": "gc::Sum", "prod": "gc::Prod", "max": "gc::Max", "min": "gc::Min", "last": "gc::Last"}


def chunk_length(n: int) -> int:
    """How many of `n` sorted values one row of threads combines: a power of 2, about a quarter of the root of `n`.

    For one row that is named n times, that many are combined one after the other, and then four times as many chunks.
    """
    return max(_SHORTEST, 1 << (math.isqrt(max(n - 1, 0)) // 4).bit_length())


def _launch(rows: int, width: int, vector: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(grid, block) for threads along the `width` of rows, each with a vector."""
    across = min(_BLOCK, 1 << (width // vector - 1).bit_length())
    block = (across, _BLOCK // across)
    return (-(-rows // block[1]), min(-(-width // (across * vector)), _MOST_COLUMN_BLOCKS)), block


class Segments:
    """Combines values at indexed places of arrays of one device, in a fixed order."""

    def __init__(self, xp: Any, compiler: Compiler, elementwise: Elementwise):
        self._xp = xp
        self._compiler = compiler
        self._elementwise = elementwise
        self._kernels: dict[Any, tuple[Any, ...]] = {}

    def add(self, target: Array, key: Any, values: Array) -> None:
        """See `Backend.index_add`."""
        xp = self._xp
        index, axis = self._slices(target, key)
        if index is None:
            # Any other key: the place of each element that it names, as rows of one element.
            index = xp.arange(target.size, dtype=INT64).reshape(target.shape)[key]
            values = xp.broadcast_to(values, index.shape)
            self._into(target, index, values, 1, "sum")
            return
        named = index.shape + target.shape[axis + 1 :]
        values = xp.broadcast_to(values, target.shape[:axis] + named)
        if axis:  # the rows are what lies across this dimension
            count = index.ndim
            target = xp.moveaxis(target, axis, 0)
            values = xp.moveaxis(values, tuple(range(axis, axis + count)), tuple(range(count)))
        self._into(target, index, values, math.prod(target.shape[1:]), "sum")

    def along(self, target: Array, index: Array, values: Array, axis: int, combine: str) -> None:
        """See `Backend.scatter`."""
        places: Any = 0
        for d, n in enumerate(index.shape):
            stride = math.prod(target.shape[d + 1 :])
            i = index if d == axis else self._xp.arange(n, dtype=INT64).reshape((n,) + (1,) * (index.ndim - d - 1))
            (places,) = self._elementwise(_PLACE, (places, i, stride), INT64, (INT64,), index.shape)
        self._into(target, places, values, 1, combine)

    def _slices(self, target: Array, key: Any) -> tuple[Any, int]:
        """(numbers from 0, dimension) if the key names slices along one dimension by an array of integers."""
        parts = key if isinstance(key, tuple) else (key,)
        *before, index = parts
        if not isinstance(index, self._xp.ndarray) or index.dtype.kind not in "iu":
            return None, 0
        if any(not isinstance(part, slice) or part != slice(None) for part in before):
            return None, 0
        axis = len(before)
        (index,) = self._elementwise(_FROM_THE_END, (index, target.shape[axis]), INT64, (INT64,), index.shape)
        return index, axis

    def _into(self, target: Array, index: Array, values: Array, width: int, combine: str) -> None:
        """Combine `values` with the rows of `width` elements of `target` that `index` numbers."""
        xp, n = self._xp, index.size
        if n == 0 or width == 0 or target.size == 0:
            return
        whole = xp.ascontiguousarray(target)
        values = xp.ascontiguousarray(values, target.dtype)
        rows = target.size // width
        index = xp.ascontiguousarray(index).reshape(-1)
        sizes = (np.int64(n), np.int64(rows), np.int64(width))
        if combine == "sum" and target.dtype in (FLOAT32, FLOAT64) and determinism.atomics_allowed():
            grid, block = _launch(n, width, 1)
            self._atomic_add(target.dtype)(grid, block, (whole, values, index, *sizes))
        else:
            self._sorted(whole, index, values, sizes, combine)
        if whole is not target:
            target[...] = whole

    def _sorted(
        self, whole: Array, index: Array, values: Array, sizes: tuple[np.int64, np.int64, np.int64], combine: str
    ) -> None:
        xp, (n, rows, width) = self._xp, map(int, sizes)
        keys = index
        if rows <= np.iinfo(_INT32).max:  # half the work for the sort
            (keys,) = self._elementwise(_CLAMPED, (index, rows), INT64, (_INT32,), index.shape)
        order = xp.argsort(keys, kind="stable").astype(INT64, copy=False)
        vector = self._vector(width, whole, values)
        chunk = chunk_length(n)
        chunks = -(-n // chunk)
        partials = xp.empty((2 * chunks, width) if chunks > 1 else (1, 1), wide(whole.dtype))
        grid, block = _launch(chunks, width, vector)
        segments, ends = self._kernel(whole.dtype, vector, combine)
        in_order = keys[order].astype(INT64, copy=False)
        segments(grid, block, (whole, values, in_order, order, partials, *sizes, np.int64(chunk)))
        if chunks > 1:
            ends(grid, block, (whole, partials, in_order, *sizes, np.int64(chunk)))

    @staticmethod
    def _vector(width: int, *arrays: Array) -> int:
        """How many elements a thread may load at once: at most 16 bytes, aligned in every row."""
        most = 16 // arrays[0].dtype.itemsize
        while most > 1 and (width % most or any(a.data.ptr % (most * a.dtype.itemsize) for a in arrays)):
            most //= 2
        return most

    def _atomic_add(self, dtype: np.dtype) -> Any:
        found = self._kernels.get(dtype)
        if found is None:
            text = f"typedef {stored(dtype)} T;\n" + sources.read("atomic_add.cu")
            found = self._kernels[dtype] = self._compiler.kernels(text, ("atomic_add",), f"atomic sums of {dtype.name}")
        return found[0]

    def _kernel(self, dtype: np.dtype, vector: int, combine: str) -> tuple[Any, ...]:
        found = self._kernels.get((dtype, vector, combine))
        if found is None:
            settings = prologue({"T": dtype}, dtype, VEC=vector, LAST=combine == "last")
            settings += f'#include "combine.cuh"\ntypedef {_COMBINE[combine]} Combine;\n'
            text = settings + sources.read("segments.cu")
            names = ("segments", "segment_ends")
            found = self._compiler.kernels(text, names, f"the {combine} of indexed {dtype.name}")
            self._kernels[dtype, vector, combine] = found
        return found
