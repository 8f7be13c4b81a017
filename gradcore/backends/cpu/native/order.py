"""The first elements of rows in order, by native kernels: kernels/host/topk.cpp."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from ...base import Array
from ..backend import CpuBackend
from .calls import kernels, over_items

_INT64 = np.dtype(np.int64)
# How many elements are put in order one by one, at most.
_FEW = 64


@functools.cache
def _kernels(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("topk.cpp", ("topk",), dtype)


class NativeOrder(CpuBackend):
    """A few of the elements along the last dimension by native kernels."""

    def topk(self, x: Array, k: int, axis: int, largest: bool) -> tuple[Array, Array]:
        native = _kernels(x.dtype) if 0 < k <= _FEW and axis == x.ndim - 1 else None
        if native is None:
            return super().topk(x, k, axis, largest)
        n, shape = x.shape[axis], (*x.shape[:-1], k)
        values, places = np.empty(shape, x.dtype), np.empty(shape, _INT64)
        over_items(native.topk, (np.ascontiguousarray(x), values, places), x.size // n, n, n, k, largest)
        return values, places
