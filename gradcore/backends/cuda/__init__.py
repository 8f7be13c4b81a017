"""CUDA devices: CuPy's arrays and the fused kernels of `kernels/`, or the emulated device with the same code.

`GRADCORE_CUDA=emulate` chooses the emulated device. CuPy is imported on the first use of this package's functions.
"""

from __future__ import annotations

import numpy as np

from ...devices import device as Device
from ..base import Array
from ..precision import matmul
from . import driver
from .backend import CudaBackend, OneOfSeveral
from .libraries import preferred_blas_library
from .memory import device_memory

__all__ = [
    "CudaBackend",
    "array_type",
    "backend_for",
    "backend_of",
    "device_count",
    "is_pinned",
    "matmul",
    "pinned",
    "preferred_blas_library",
    "started",
]

_backends: dict[int, CudaBackend] = {}
# The backend of the only device of a machine: what an array belongs to needs no asking then.
_only: CudaBackend | None = None


def array_type() -> type:
    """The type of this device's arrays.

    Raises:
        RuntimeError: if CuPy is not installed, or does not load.
    """
    kind: type = driver.library().ndarray
    return kind


def device_count() -> int:
    """How many CUDA devices there are; RuntimeError if none can be used."""
    return driver.device_count()


def started() -> bool:
    """Whether a device has been used."""
    return bool(_backends)


def pinned(array: np.ndarray) -> np.ndarray:
    """A copy of an array of the host in page-locked memory; itself if it is there."""
    if is_pinned(array):
        return array
    memory = driver.library().cuda.alloc_pinned_memory(max(array.nbytes, 1))
    out = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    out[...] = array
    return out


def is_pinned(array: np.ndarray) -> bool:
    """Whether an array of the host was made by `pinned`, or is a view of one that was."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return isinstance(base, driver.library().cuda.PinnedMemoryPointer)


def backend_for(device: Device) -> CudaBackend:
    """The backend of a `"cuda"` device: the current one if it has no index.

    Raises:
        RuntimeError: if there is no such device, or none at all.
    """
    global _only
    count = driver.device_count()
    index = driver.current_device() if device.index is None else device.index
    if index >= count:
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: {device} was asked for, and there "
            + (f"are {count} devices, cuda:0 to cuda:{count - 1}" if count > 1 else "is 1 device, cuda:0")
        )
    backend = _backends.get(index)
    if backend is None:
        device_memory()  # looks after what is allocated from here on
        backend = _backends[index] = CudaBackend(index) if count == 1 else OneOfSeveral(index)
        _only = backend if count == 1 else None
    return backend


def backend_of(array: Array) -> CudaBackend:
    """The backend of the device that an array lies on."""
    return _only or backend_for(Device("cuda", array.device.id))
