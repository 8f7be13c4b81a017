"""The library that drives the device: CuPy, or the emulated device, which answers the same calls.

This module alone knows which of them it is.
"""

from __future__ import annotations

import importlib
import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

_ALTERNATIVES = (
    "set GRADCORE_CUDA=emulate to run CUDA code on an emulated device, or GRADCORE_CUDA=cpu to run it on the CPU"
)


def emulated() -> bool:
    """Whether `"cuda"` is the emulated device."""
    return os.environ.get("GRADCORE_CUDA") == "emulate"


@cache
def library() -> Any:
    """The module `cupy`, or its stand-in.

    Raises:
        RuntimeError: if CuPy is not installed or does not load.
    """
    if emulated():
        return importlib.import_module("gradcore.backends.emulator.api")
    import ml_dtypes  # noqa: F401  CuPy knows bfloat16 only if this is imported first

    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"CUDA devices need CuPy ({error}): pip install 'gradcore[cuda12]' (or 'gradcore[cuda13]' for CUDA 13). "
            f"Without a GPU, {_ALTERNATIVES}"
        ) from error
    except ImportError as error:
        raise RuntimeError(
            f"CuPy is installed but does not load: {error}. Install the build for your CUDA version: "
            f"pip install 'gradcore[cuda12]' or 'gradcore[cuda13]'; or {_ALTERNATIVES}"
        ) from error


def raising_linalg() -> AbstractContextManager[None]:
    """Has the library's linear algebra raise LinAlgError, for which CuPy waits only if it is told to."""
    return importlib.import_module("gradcore.backends.emulator.cupyx" if emulated() else "cupyx").errstate(
        linalg="raise"
    )


@cache
def device_count() -> int:
    """How many devices there are.

    Raises:
        RuntimeError: if there is none, or no driver.
    """
    runtime = library().cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
        reason = "no CUDA-capable device is detected"
    except runtime.CUDARuntimeError as error:
        count, reason = 0, str(error)
    if count == 0:
        what = "No CUDA GPUs are available"
        if "InsufficientDriver" in reason:
            version = runtime.driverGetVersion()
            what = (
                f"The NVIDIA driver on your system is too old (found version {version})"
                if version
                else "Found no NVIDIA driver on your system"
            )
        raise RuntimeError(
            f"{what}: {reason}. Check that nvidia-smi lists a GPU, that the driver is recent enough for the installed "
            f"CUDA version, and CUDA_VISIBLE_DEVICES; or {_ALTERNATIVES}"
        )
    return count


def current_device() -> int:
    """The number of the current device."""
    return int(library().cuda.runtime.getDevice())
