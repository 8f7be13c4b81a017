"""Scatter-add without atomics: kernels/index_add.cu."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import expr
from ..base import Array
from ..cpp import sources
from ..cpp.types import INT64, computed, half_header, stored
from .compiler import Compiler
from .elementwise import Elementwise

_BLOCK = 256
_FROM_THE_END = expr.trace(lambda i, n: expr.where(i < 0, i + n, i))


class IndexAdd:
    """Adds at indexed places of arrays of one device, in a fixed order."""

    def __init__(self, xp: Any, compiler: Compiler, elementwise: Elementwise):
        self._xp = xp
        self._compiler = compiler
        self._elementwise = elementwise
        self._kernels: dict[np.dtype, Any] = {}

    def __call__(self, target: Array, key: Any, values: Array) -> None:
        """See `Backend.index_add`."""
        xp = self._xp
        index, shape = self._rows(target, key)
        width = math.prod(target.shape[1:]) if shape is not None else 1
        if shape is None:
            # Any other key: the place of each element that it names, as rows of one element.
            index = xp.arange(target.size, dtype=INT64).reshape(target.shape)[key]
            shape = index.shape
        if index.size == 0 or width == 0:
            return
        values = xp.ascontiguousarray(xp.broadcast_to(values, shape), target.dtype)
        index = xp.ascontiguousarray(index).reshape(-1)
        order = xp.argsort(index, kind="stable").astype(INT64, copy=False)
        whole = xp.ascontiguousarray(target)
        across = min(_BLOCK, 1 << (width - 1).bit_length())
        block = (across, _BLOCK // across)
        rows = target.size // width
        args = (whole, values, index[order], order, np.int64(index.size), np.int64(rows), np.int64(width))
        self._kernel(target.dtype)((-(-index.size // block[1]),), block, args)
        if whole is not target:
            target[...] = whole

    def _rows(self, target: Array, key: Any) -> tuple[Any, tuple[int, ...] | None]:
        """(row numbers, shape of the rows they name) if the key is one array of integers for the first dimension."""
        index = key[0] if isinstance(key, tuple) and len(key) == 1 else key
        if not isinstance(index, self._xp.ndarray) or index.dtype.kind not in "iu":
            return None, None
        (index,) = self._elementwise(_FROM_THE_END, (index, target.shape[0]), INT64, (INT64,), index.shape)
        return index, index.shape + target.shape[1:]

    def _kernel(self, dtype: np.dtype) -> Any:
        kernel = self._kernels.get(dtype)
        if kernel is None:
            settings = f"{half_header([dtype])}typedef {stored(dtype)} T;\ntypedef {computed(dtype)} A;\n"
            text = settings + sources.read("index_add.cu")
            (kernel,) = self._compiler.kernels(text, ("index_add",), f"index_add of {dtype.name}")
            self._kernels[dtype] = kernel
        return kernel
