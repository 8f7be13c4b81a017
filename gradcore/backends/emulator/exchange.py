"""Lending arrays of the emulated device, and borrowing them: what CuPy does by DLPack and the CUDA array interface."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dlpack
from .array import borrow, ndarray

__all__ = ["from_dlpack", "from_interface"]


def from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> ndarray:
    """A device array in the memory that another one, or a capsule, lends."""
    capsule = array.__dlpack__(max_version=(1, 0)) if hasattr(array, "__dlpack__") else array
    description = dlpack.describe(capsule)
    if description.device_type != dlpack.CUDA:
        raise RuntimeError(
            "CuPy is built against CUDA, different from the backend that backs the incoming DLPack tensor"
        )
    description.device_type = dlpack.CPU  # as NumPy knows it
    return borrow(dlpack.borrow(capsule))


class _Seen:
    """The memory of an object with the CUDA array interface as NumPy sees it; keeps the object."""

    def __init__(self, lender: Any):
        self.lender = lender
        described = lender.__cuda_array_interface__
        self.__array_interface__ = {name: described.get(name) for name in ("shape", "typestr", "data", "strides")}
        self.__array_interface__["version"] = 3


def from_interface(lender: Any) -> ndarray:
    """A device array in the memory of an object with `__cuda_array_interface__`."""
    return borrow(np.asarray(_Seen(lender)))
