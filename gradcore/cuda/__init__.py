"""CUDA devices: what there is, and waiting for it.

`gradcore.cuda.emulator` runs CUDA kernels, your own too, on a machine without a GPU; `gradcore.cuda.kernel_op` makes
differentiable ops of them.
"""

from __future__ import annotations

import os
from typing import Any

from ..backends import backend_for
from ..devices import device as Device
from .custom import Launch, kernel_op
from .random import (
    get_rng_state,
    get_rng_state_all,
    manual_seed,
    manual_seed_all,
    set_rng_state,
    set_rng_state_all,
)

__all__ = [
    "Launch",
    "current_device",
    "device_count",
    "get_device_name",
    "get_rng_state",
    "get_rng_state_all",
    "is_available",
    "kernel_op",
    "manual_seed",
    "manual_seed_all",
    "set_rng_state",
    "set_rng_state_all",
    "synchronize",
]


def device_count() -> int:
    """The number of devices that `"cuda"` tensors can be made on; 0 where there are none, or CuPy is missing."""
    if os.environ.get("GRADCORE_CUDA") == "cpu":
        return 0
    from ..backends import cuda

    try:
        return cuda.device_count()
    except RuntimeError:
        return 0


def is_available() -> bool:
    """Whether `.to("cuda")` works here, on a GPU or on the emulated device."""
    return device_count() > 0


def _backend(device: Any) -> Any:
    found = Device("cuda" if device is None else device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return backend_for(found)


def current_device() -> int:
    """The index of the device that `"cuda"` means."""
    index: int = _backend(None).device.index
    return index


def get_device_name(device: Any = None) -> str:
    """The name of a device."""
    from ..backends.cuda import driver

    name = driver.library().cuda.runtime.getDeviceProperties(_backend(device).device.index)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def synchronize(device: Any = None) -> None:
    """Wait until all work given to a device is done.

    Raises IndexError for an index that was found out of range on the device since the last wait.
    """
    _backend(device).synchronize()
