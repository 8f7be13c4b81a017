"""Devices: which backend owns an array, and which one a device name means."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeGuard

from .._lazy import lazily
from ..devices import device as Device
from .base import Array, Backend, Number, Reduction
from .cpu import CpuBackend
from .cpu.native.backend import NativeBackend
from .sliding import Sliding, Windows

__all__ = ["Array", "Backend", "Number", "Reduction", "Sliding", "Windows", "backend_for", "backend_of", "cpu"]


__getattr__ = lazily(__name__, {"cuda": "cuda", "cudnn": "cudnn"})


def _cpu_backend() -> CpuBackend:
    """The CPU as `GRADCORE_CPU` wants it: `native` (the default), or `numpy` without compiled kernels."""
    wanted = os.environ.get("GRADCORE_CPU") or "native"
    kinds: dict[str, type[CpuBackend]] = {"native": NativeBackend, "numpy": CpuBackend}
    if wanted not in kinds:
        raise ValueError(f"GRADCORE_CPU={wanted!r} is not known: use 'native' (or leave it unset) or 'numpy'")
    return kinds[wanted]()


cpu = _cpu_backend()
# Array type -> a function from the array to its backend.
_of_type: dict[type, Callable[[Array], Backend]] = {cpu.array_type: lambda array: cpu}
_warned_cpu = False


def backend_of(array: Array) -> Backend:
    """The backend that owns `array`."""
    try:
        return _of_type[array.__class__](array)
    except KeyError:
        name = type(array).__name__
        raise TypeError(f"expected an array of a known device (numpy.ndarray, cupy.ndarray), got {name}") from None


def stand_in(cls: type) -> None:
    """Let objects of `cls` pass for arrays; each tells its `backend`."""
    _of_type[cls] = attrgetter("backend")


def is_array(value: Any) -> TypeGuard[Array]:
    """Whether `value` is an array that a backend owns, or stands for one."""
    return value.__class__ in _of_type


def backend_for(device: Device) -> Backend:
    """The backend of a device; importing CuPy, or starting the emulated device, on the first use of `"cuda"`.

    `GRADCORE_CUDA=cpu` sends `"cuda"` to the CPU, with one warning; `GRADCORE_CUDA=emulate` to the emulated device.
    """
    if device.type == "cpu":
        return cpu
    if os.environ.get("GRADCORE_CUDA") == "cpu":
        global _warned_cpu
        if not _warned_cpu:
            _warned_cpu = True
            warnings.warn("GRADCORE_CUDA=cpu: 'cuda' tensors are made on the CPU", stacklevel=3)
        return cpu
    from . import cuda

    _of_type[cuda.array_type()] = cuda.backend_of
    return cuda.backend_for(device)
