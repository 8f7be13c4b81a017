"""Native kernels as built-in functions of Python: see kernels/host/python.h."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

from ..threads import parallel

# Elements: a kernel over fewer is done before another thread has begun.
GRAIN = 1 << 15

_STORED = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_HALVES = {np.dtype(np.float16): "__half", np.dtype(ml_dtypes.bfloat16): "__nv_bfloat16"}

Function = Callable[..., Any]


class Kernel:
    """A kernel, called with arrays, numbers and None in the order of its C++ parameters.

    Arrays are taken as they are: that dtypes and strides are what the kernel expects is for the caller to see to.
    """

    __slots__ = ("long", "short")

    def __init__(self, short: Function, long: Function):
        # For work of some microseconds, which keeps the interpreter's lock; and for more, which other threads may join.
        self.short, self.long = short, long


def kernels(file: str, names: Sequence[str], dtype: np.dtype) -> SimpleNamespace | None:
    """The kernels of a file of kernels/host for arrays of one dtype, by name; None if they cannot be had.

    The file is given T, the type stored, and A, the type computed in.
    """
    from ...hostcc import HostCompilerError
    from .library import load

    half = _HALVES.get(dtype)
    stored = half or _STORED.get(dtype)
    if stored is None:
        return None
    text = (
        f"#define PYTHON_HEAD {object.__basicsize__}\n"
        + ('#include "host/half.h"\n' if half else "")
        + f"typedef {stored} T;\ntypedef {'float' if half else stored} A;\n"
        + f'#include "host/{file}"\n'
    )
    try:
        library = load(text)
    except (HostCompilerError, OSError):
        return None
    array_type: Any = ctypes.py_object.in_dll(library, "array_type")
    array_type.value = np.ndarray
    return SimpleNamespace(
        **{name: Kernel(_function(library, name), _function(library, f"{name}_unlocked")) for name in names}
    )


_new_function = ctypes.pythonapi.PyCFunction_NewEx
_new_function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_new_function.restype = ctypes.py_object


def _function(library: ctypes.CDLL, name: str) -> Function:
    method = ctypes.c_char.in_dll(library, f"{name}_method")
    return _new_function(ctypes.addressof(method), None, None)


def over_rows(kernel: Kernel, arguments: tuple[Any, ...], rows: int, columns: int, *rest: Any) -> Any:
    """`kernel(*arguments, begin, end, columns, *rest)` for all rows, on several threads if there are many elements.

    Returns what the kernel does: a row, the first of those that several pieces find, or -1.
    """
    if rows * columns < GRAIN:
        return kernel.short(*arguments, 0, rows, columns, *rest)
    run = kernel.long
    found: list[Any] = []
    parallel(
        lambda begin, end: found.append(run(*arguments, begin, end, columns, *rest)),
        rows,
        max(1, GRAIN // columns),
    )
    return min((row for row in found if row is not None and row >= 0), default=-1)
