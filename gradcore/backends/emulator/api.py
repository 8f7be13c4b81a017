"""Stands in for the `cupy` module on the emulated device.

Any function of NumPy that CuPy has is there: it takes and returns device arrays. Host arrays are taken only by the
functions that make device arrays (`array`, `asarray`, ...); elsewhere they raise TypeError, as with CuPy.

>>> from gradcore.backends.emulator import api as xp
>>> x = xp.asarray([1.0, 2.0, 3.0])
>>> xp.asnumpy(xp.exp(x * 0) + x).tolist()
[2.0, 3.0, 4.0]
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from . import cuda, cupyx
from .allocator import default_pool
from .array import accumulated, allocate, call, from_host, matmul, ndarray, unwrap
from .exchange import from_dlpack, from_interface
from .module import RawKernel, RawModule

__all__ = ["RawKernel", "RawModule", "asarray", "asnumpy", "cuda", "from_dlpack", "matmul", "ndarray"]


def get_default_memory_pool() -> cuda.MemoryPool:
    return default_pool


def is_available() -> bool:
    return True


def get_array_module(*args: Any) -> Any:
    """This module if one of the arguments is a device array, else NumPy."""
    return sys.modules[__name__] if any(isinstance(arg, ndarray) for arg in args) else np


# ---------------------------------------------------------------- making arrays


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True) -> Any:
    """A copy in host memory; what is not a device array goes through `np.asarray`."""
    return a.get(order=order, out=out) if isinstance(a, ndarray) else np.asarray(a)


def _shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, tuple):
        return shape
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """An array of poison: NaN in floating point, large numbers in integers."""
    return allocate(_shape(shape), np.dtype(dtype), order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    fill_value = unwrap(fill_value)
    array = allocate(
        _shape(shape), np.dtype(dtype) if dtype is not None else np.asarray(fill_value).dtype, order, False
    )
    array._host[...] = fill_value
    return array


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, np.dtype(dtype), order)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, np.dtype(dtype), order)


def empty_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    fortran = a.flags.fnc if order in "KA" else order == "F"
    return empty(a.shape if shape is None else shape, a.dtype if dtype is None else dtype, "F" if fortran else "C")


def full_like(
    a: ndarray, fill_value: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    array = empty_like(a, dtype, order, subok, shape)
    array._host[...] = unwrap(fill_value)
    return array


def zeros_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return full_like(a, 0, dtype, order, subok, shape)


def ones_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return full_like(a, 1, dtype, order, subok, shape)


def array(
    obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", subok: bool = False, ndmin: int = 0
) -> ndarray:
    """A device array from a device array (copied), a host array or numbers."""
    if isinstance(obj, (list, tuple)):
        obj = _from_list(obj, dtype)
    elif hasattr(obj, "__cuda_array_interface__") and not isinstance(obj, ndarray):
        obj = from_interface(obj)
    elif hasattr(obj, "__cupy_get_ndarray__"):
        obj = obj.__cupy_get_ndarray__()
    if isinstance(obj, ndarray):
        same = dtype is None or obj.dtype == dtype
        result = obj if same and not copy else from_host(obj._host, order, dtype)
    else:
        result = from_host(np.asarray(obj, dtype), order)
    if ndmin > result.ndim:
        result = result.reshape((1,) * (ndmin - result.ndim) + result.shape)
    return result


def _from_list(items: Any, dtype: Any) -> Any:
    """A list with device arrays in it, at any depth, as one host array."""
    host = [_from_list(item, None) if isinstance(item, (list, tuple)) else item for item in items]
    return np.asarray([item._host if isinstance(item, ndarray) else item for item in host], dtype)


def asarray(a: Any, dtype: Any = None, order: str = "K", blocking: bool = False) -> ndarray:
    """A device array: `a` itself where nothing is to be changed, else a copy."""
    return array(a, dtype, copy=False, order=order)


def asanyarray(a: Any, dtype: Any = None, order: str = "K", blocking: bool = False) -> ndarray:
    return asarray(a, dtype, order)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    result = asarray(a, dtype)
    return result if result.flags.c_contiguous else result.copy()


def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    result = asarray(a, dtype)
    return result if result.flags.f_contiguous else result.copy("F")


# ---------------------------------------------------------------- everything else is NumPy's

sum = accumulated(np.sum)
prod = accumulated(np.prod)
mean = accumulated(np.mean)
var = accumulated(np.var)
std = accumulated(np.std)
cumsum = accumulated(np.cumsum)
cumprod = accumulated(np.cumprod)

# Functions of dtypes, shapes and numbers rather than of arrays: they work as they are.
_HOST_FUNCTIONS = frozenset(
    "broadcast_shapes can_cast dtype finfo iinfo isscalar issubdtype min_scalar_type ndim promote_types "
    "result_type shape size".split()
)

# Functions of NumPy that CuPy 14.2 has not.
_ABSENT = frozenset(
    "asmatrix block bmat einsum_path errstate frompyfunc geomspace histogram_bin_edges insert isnat matvec "
    "nanpercentile nanquantile ndenumerate nditer nested_iters polydiv polyder polyint spacing unstack vecdot vecmat "
    "linalg.diagonal linalg.matrix_norm linalg.multi_dot linalg.outer linalg.svdvals linalg.tensordot linalg.trace "
    "linalg.vecdot linalg.vector_norm".split()
)


class _Function:
    """A NumPy function or ufunc on device arrays; a ufunc's methods, such as `add.at`, likewise."""

    def __init__(self, function: Callable):
        self._function = function
        self.__name__ = getattr(function, "__name__", "function")
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call(self._function, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._function, name)
        return _Function(found) if callable(found) else found

    def __repr__(self) -> str:
        return f"<emulated device's {self.__name__}>"


class _LinearAlgebra(_Function):
    """A function of `linalg`: what has no result is NaN, unless `cupyx.errstate` says that it is an error."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except np.linalg.LinAlgError:
            matrix = isinstance(args[0], ndarray) and args[0].ndim >= 2
            if cupyx.linalg_raises() or not matrix:
                raise
        # What it gives for identities has the right shapes.
        found = super().__call__(*map(_identities, args), **kwargs)
        for result in found if isinstance(found, tuple) else (found,):
            result.fill(np.nan)
        return found


def _identities(x: Any) -> Any:
    if not isinstance(x, ndarray) or x.ndim < 2:
        return x
    return from_host(np.broadcast_to(np.eye(*x.shape[-2:], dtype=x.dtype), x.shape))


class _Namespace:
    """A submodule, such as `linalg`."""

    def __init__(self, module: types.ModuleType):
        self._module = module
        self._name = module.__name__.removeprefix("numpy.")

    def __getattr__(self, name: str) -> Any:
        if f"{self._name}.{name}" in _ABSENT:
            raise _absent(f"{self._name}.{name}")
        found = getattr(self._module, name)
        if self._name == "linalg" and callable(found) and not isinstance(found, type):
            return _LinearAlgebra(found)
        return _adapt(found)


def _absent(name: str) -> AttributeError:
    return AttributeError(f"module {__name__!r} has no attribute {name!r}: CuPy has no such function")


def _adapt(found: Any) -> Any:
    if isinstance(found, types.ModuleType):
        return _Namespace(found)
    if isinstance(found, type) or not callable(found):
        return found
    return _Function(found)


def result_type(*args: Any) -> np.dtype:
    return np.result_type(*unwrap(args))


def sort(a: ndarray, axis: int | None = -1, kind: str | None = None) -> ndarray:
    result = a.flatten() if axis is None else a.copy()
    result.sort(-1 if axis is None else axis, kind)
    return result


def argsort(a: ndarray, axis: int | None = -1, kind: str | None = None) -> ndarray:
    return a.argsort(axis, kind)


def take(a: ndarray, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
    return a.take(indices, axis, out)


# Kept here and not in the module's globals, where `any`, `abs`, ... would hide Python's own.
@functools.cache
def _numpy(name: str) -> Any:
    found = getattr(np, name)
    return found if name in _HOST_FUNCTIONS else _adapt(found)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name in ("random", "testing"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ABSENT:
        raise _absent(name)
    return _numpy(name)
