"""NumPy dtypes as C++ types: what elements are stored as and what they are computed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16 = np.dtype(np.float16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT64 = np.dtype(np.int64)
HALVES = frozenset((FLOAT16, BFLOAT16))

# CUDA's names: kernels have no <cstdint>.
_STORED = {
    np.dtype(np.bool_): "bool",
    np.dtype(np.int8): "signed char",
    np.dtype(np.uint8): "unsigned char",
    np.dtype(np.int16): "short",
    np.dtype(np.uint16): "unsigned short",
    np.dtype(np.int32): "int",
    np.dtype(np.uint32): "unsigned int",
    INT64: "long long",
    np.dtype(np.uint64): "unsigned long long",
    FLOAT16: "__half",
    BFLOAT16: "__nv_bfloat16",
    FLOAT32: "float",
    FLOAT64: "double",
}
_SCALARS: dict[str, Any] = {ctype: dtype.type for dtype, ctype in _STORED.items()}


def stored(dtype: np.dtype) -> str:
    """The C++ type of an array's elements."""
    try:
        return _STORED[dtype]
    except KeyError:
        names = ", ".join(d.name for d in _STORED)
        raise TypeError(f"CUDA kernels know no dtype {dtype}; convert the array to one of {names}") from None


def is_stored(dtype: np.dtype) -> bool:
    """Whether kernels know this dtype."""
    return dtype in _STORED


def computed(dtype: np.dtype) -> str:
    """The C++ type in which elements are computed: float for the 16-bit floating-point types."""
    return "float" if dtype in HALVES else stored(dtype)


def wide(dtype: np.dtype) -> np.dtype:
    """The dtype in which elements are computed and accumulated."""
    return FLOAT32 if dtype in HALVES else dtype


def scalar(ctype: str) -> Any:
    """The NumPy scalar type to pass for a kernel's parameter of this C++ type: a plain number would be misread."""
    return _SCALARS[ctype]


def half_header(dtypes: Iterable[np.dtype]) -> str:
    """The #include that a kernel over arrays of these dtypes needs for 16-bit floats: slow to compile, so only then."""
    return '#include "half.cuh"\n' if any(d in HALVES for d in dtypes) else ""
