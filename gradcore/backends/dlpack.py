"""DLPack capsules of arrays in host memory.

NumPy makes and reads them, but knows no bfloat16. A capsule points to a description of an array, which is corrected in
place: bfloat16 leaves NumPy as uint16 and is given its own name, and comes the other way round.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

CPU, CUDA = 1, 2  # DLPack's numbers of the devices
_UINT, _BFLOAT = 1, 4  # and of these kinds of numbers
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# NumPy 2.0 makes capsules of the first kind only.
_TAKES_VERSION = np.lib.NumpyVersion(np.__version__) >= "2.1.0"

_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Description(ctypes.Structure):
    """What a capsule says of its array: DLPack's `DLTensor`, as far as it is used here."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    ]


# The kinds of capsules: name, and where the description begins. Before it stand, in a versioned one, the version, the
# owner, how to release it, and flags.
_KINDS = ((b"dltensor_versioned", 32), (b"dltensor", 0))


def describe(capsule: Any) -> _Description:
    """What a capsule says, to be read and corrected.

    Raises:
        RuntimeError: it is no capsule of DLPack, or has been used.
    """
    for name, begin in _KINDS:
        if _is_valid(capsule, name):
            return _Description.from_address(_pointer(capsule, name) + begin)
    raise RuntimeError(
        "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so you might "
        "have already constructed a tensor from it once."
    )


def lend(array: np.ndarray, max_version: tuple[int, int] | None) -> Any:
    """A capsule that lends an array's memory.

    Raises:
        BufferError: the array is read-only, and a consumer below version 1 cannot be told.
    """
    short = array.dtype == _BFLOAT16
    shown = array.view(np.uint16) if short else array
    capsule = shown.__dlpack__(max_version=max_version) if _TAKES_VERSION else shown.__dlpack__()
    if short:
        describe(capsule).code = _BFLOAT
    return capsule


class _Lent:
    """A capsule in the form that NumPy takes it in."""

    def __init__(self, capsule: Any):
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


class _Writable:
    """An array's memory, as writable."""

    def __init__(self, array: np.ndarray):
        self._array = array
        described = array.__array_interface__
        self.__array_interface__ = {**described, "data": (described["data"][0], False)}


def borrow(capsule: Any) -> np.ndarray:
    """An array in the host memory that a capsule lends; read-only if the capsule says so."""
    description = describe(capsule)
    old = _is_valid(capsule, b"dltensor")
    short = (description.code, description.bits) == (_BFLOAT, 16)
    if short:
        description.code = _UINT
    array = np.from_dlpack(_Lent(capsule))
    if old and not array.flags.writeable:
        # These cannot say whether they may be written to, and NumPy takes it that they may not.
        array = np.asarray(_Writable(array))
    return array.view(_BFLOAT16) if short else array
