"""Stands in for `cupy.cuda.cublas`: matrix products by NumPy, of the memory that pointers and distances describe."""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from .memory import strided

CUBLAS_OP_N = 0
CUBLAS_OP_T = 1
CUBLAS_GEMM_DEFAULT = -1
CUBLAS_COMPUTE_32F = 68
CUBLAS_COMPUTE_64F = 70
CUBLAS_COMPUTE_32F_FAST_TF32 = 77

_DATA_TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
_COMPUTE_TYPES: dict[int, Any] = {
    CUBLAS_COMPUTE_32F: np.float32,
    CUBLAS_COMPUTE_64F: np.float64,
    CUBLAS_COMPUTE_32F_FAST_TF32: np.float32,
}


class CUBLASError(RuntimeError):
    """Stands in for `cupy.cuda.cublas.CUBLASError`."""


def get_cublas_handle() -> int:
    return 1


def matrices(
    pointer: int, kind: int, rows: int, columns: int, leading: int, stride: int, batch: int, writable: bool = False
) -> np.ndarray:
    """`batch` matrices by columns in the device's memory: (batch, rows, columns).

    Raises:
        CUBLASError: if the leading dimension is too small, or the type is none.
        KernelError: if they do not lie in an array of the device.
    """
    if kind not in _DATA_TYPES:
        raise CUBLASError(f"CUBLAS_STATUS_NOT_SUPPORTED: cudaDataType_t {kind}")
    if leading < max(1, rows):
        raise CUBLASError(f"CUBLAS_STATUS_INVALID_VALUE: leading dimension {leading} of {rows} rows")
    size = np.dtype(_DATA_TYPES[kind]).itemsize
    strides = (stride * size, size, leading * size)
    return strided(pointer, (batch, rows, columns), strides, _DATA_TYPES[kind], writable)


def _number(address: int, compute: Any) -> Any:
    kind = ctypes.c_float if compute is np.float32 else ctypes.c_double
    return compute(kind.from_address(address).value)


def multiply(a: np.ndarray, b: np.ndarray, d: np.ndarray, alpha: int, beta: int, compute_type: int) -> Any:
    """`alpha a b + beta d` in the type that is computed in, from the addresses of alpha and beta."""
    if compute_type not in _COMPUTE_TYPES:
        raise CUBLASError(f"CUBLAS_STATUS_NOT_SUPPORTED: cublasComputeType_t {compute_type}")
    compute = _COMPUTE_TYPES[compute_type]
    with np.errstate(all="ignore"):
        found = _number(alpha, compute) * np.matmul(a.astype(compute, copy=False), b.astype(compute, copy=False))
        factor = _number(beta, compute)
        return found + factor * d.astype(compute) if factor else found


# The functions' parameters, in order.
PARAMETERS = {
    "gemmEx": "handle transa transb m n k alpha A Atype lda B Btype ldb beta C Ctype ldc computeType algo".split(),
    "gemmStridedBatchedEx": (
        "handle transa transb m n k alpha A Atype lda strideA B Btype ldb strideB beta C Ctype ldc strideC batchCount "
        "computeType algo"
    ).split(),
}


def gemmEx(*arguments: int) -> None:  # noqa: N802
    _gemm({"strideA": 0, "strideB": 0, "strideC": 0, "batchCount": 1}, "gemmEx", arguments)


def gemmStridedBatchedEx(*arguments: int) -> None:  # noqa: N802
    _gemm({}, "gemmStridedBatchedEx", arguments)


def _gemm(implied: dict[str, int], function: str, arguments: tuple[int, ...]) -> None:
    g = {**implied, **dict(zip(PARAMETERS[function], arguments, strict=True))}
    m, n, k, transa, transb = (g[name] for name in ("m", "n", "k", "transa", "transb"))

    def operand(name: str, leading: str, rows: int, columns: int, writable: bool = False) -> np.ndarray:
        distances = (g[leading], g[f"stride{name}"], g["batchCount"])
        return matrices(g[name], g[f"{name}type"], rows, columns, *distances, writable)

    x, y = operand("A", "lda", *((k, m) if transa else (m, k))), operand("B", "ldb", *((n, k) if transb else (k, n)))
    d = operand("C", "ldc", m, n, writable=True)
    x, y = (x.swapaxes(1, 2) if transa else x), (y.swapaxes(1, 2) if transb else y)
    d[...] = multiply(x, y, d, g["alpha"], g["beta"], g["computeType"])
