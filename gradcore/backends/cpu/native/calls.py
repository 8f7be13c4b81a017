"""Native kernels as built-in functions of Python: see kernels/host/python.h."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...cpp.types import FLOAT32, FLOAT64, HALVES, computed, stored
from ..threads import parallel

# Elements that a thread takes at least: some ten microseconds' work, more than it takes to have it join.
GRAIN = 1 << 15

Function = Callable[..., Any]


class Kernel:
    """A kernel, called with arrays, numbers and None in the order of its C++ parameters.

    Arrays are taken as they are: that dtypes and strides are what the kernel expects is for the caller to see to.
    """

    __slots__ = ("long", "short")

    def __init__(self, short: Function, long: Function):
        # For work of some microseconds, which keeps the interpreter's lock; and for more, which other threads may join.
        self.short, self.long = short, long


def kernels(file: str, names: Sequence[str], dtype: np.dtype, fused: bool = False) -> SimpleNamespace | None:
    """The kernels of a file of kernels/host for arrays of one dtype, by name; None if they cannot be had."""
    return functions(f'#include "host/{file}"\n', names, dtype, fused)


def functions(source: str, names: Sequence[str], dtype: np.dtype, fused: bool = False) -> SimpleNamespace | None:
    """The kernels of a source; it is given T, the type stored, and A, the type computed in.

    If `fused`, a product and a sum may be one instruction that rounds once, as in a matrix product of BLAS.
    """
    from ...hostcc import HostCompilerError
    from .library import load

    if dtype not in (FLOAT32, FLOAT64, *HALVES):
        return None
    text = (
        f"#define PYTHON_HEAD {object.__basicsize__}\n"
        + ('#include "host/half.h"\n' if dtype in HALVES else "")
        + f"typedef {stored(dtype)} T;\ntypedef {computed(dtype)} A;\n"
        + source
    )
    try:
        library = load(text, fused)
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


def over_items(
    kernel: Kernel, arguments: tuple[Any, ...], items: int, elements: int, *rest: Any, piece: int = 0
) -> None:
    """`kernel(*arguments, begin, end, *rest)` for all items, of so many elements each.

    No piece of work has fewer than `piece` items; by default as many as have `GRAIN` elements.
    """
    if items * elements < GRAIN:
        kernel.short(*arguments, 0, items, *rest)
    else:
        run = kernel.long
        grain = piece or max(1, GRAIN // max(elements, 1))
        parallel(lambda begin, end: run(*arguments, begin, end, *rest), items, grain)
