"""What a compiled kernel says of its parameters, and which arguments they accept."""

from __future__ import annotations

import ctypes

import numpy as np

_NAMES = {"i": "int", "u": "uint", "f": "float"}
_FIXED_NAMES = {"b": "bool", "s": "a struct", "h": "__half", "B": "__nv_bfloat16", "v": "void", "p": "a pointer"}


class NativeParameter(ctypes.Structure):
    """native/include/emu_kernel.h: Parameter."""

    _fields_ = [
        ("kind", ctypes.c_char),
        ("pointee_kind", ctypes.c_char),
        ("pointee_const", ctypes.c_byte),
        ("padding", ctypes.c_byte),
        ("size", ctypes.c_uint),
        ("pointee_size", ctypes.c_uint),
        ("offset", ctypes.c_uint),
    ]


def _type_name(kind: str, size: int) -> str:
    return f"{_NAMES[kind]}{8 * size}" if kind in _NAMES else _FIXED_NAMES[kind]


class Parameter:
    """A parameter of a kernel, as its C++ type tells."""

    def __init__(self, native: NativeParameter):
        self.kind: str = native.kind.decode()
        self.size: int = native.size
        self.offset: int = native.offset
        self.is_pointer = self.kind == "p"
        self.writable = not native.pointee_const
        self.pointee_kind: str = native.pointee_kind.decode()
        self.pointee_size: int = native.pointee_size
        self.granule = native.pointee_size or 1
        self._accepted: dict[np.dtype, bool] = {}

    def __str__(self) -> str:
        if self.is_pointer:
            return f"{'' if self.writable else 'const '}{_type_name(self.pointee_kind, self.pointee_size)}*"
        return _type_name(self.kind, self.size)

    def accepts_elements(self, dtype: np.dtype) -> bool:
        """Whether an array of this dtype may be passed for the pointer."""
        known = self._accepted.get(dtype)
        if known is None:
            known = self._accepted[dtype] = self._matches(self.pointee_kind, self.pointee_size, dtype)
        return known

    def accepts_scalar(self, dtype: np.dtype) -> bool:
        """Whether a scalar of this dtype may be passed by value."""
        if self.kind == "s":
            return dtype.itemsize == self.size
        return self._matches(self.kind, self.size, dtype)

    @staticmethod
    def _matches(kind: str, size: int, dtype: np.dtype) -> bool:
        if kind in "vsp":  # a void*, a struct that stands for anything, a table of pointers
            return kind != "p" or dtype.itemsize == size
        if kind == "h":
            return dtype == np.float16
        if kind == "B":
            return dtype.name == "bfloat16" or dtype == np.uint16
        if kind == "b" or dtype.kind == "b":
            return size == dtype.itemsize == 1
        if kind == "f":
            return dtype.kind == "f" and dtype.itemsize == size
        return dtype.kind in "iu" and dtype.itemsize == size

    def advice(self) -> str:
        """How to pass a scalar for this parameter."""
        if self.kind in _NAMES:
            return f"np.{self}(...)"
        return {
            "b": "np.bool_(...)",
            "h": "np.float16(...)",
            "B": "ml_dtypes.bfloat16(...)",
            "s": "a NumPy array of size 1 and the struct's dtype",
        }.get(self.kind, "a device array")
