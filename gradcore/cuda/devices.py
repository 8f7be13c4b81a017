"""Which CUDA devices there are, which is current, what they are like, and waiting for them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..backends import backend_for
from ..devices import device as Device

__all__ = [
    "current_device",
    "device",
    "device_count",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "set_device",
    "synchronize",
]


def library() -> Any:
    """CuPy, or the emulated device; RuntimeError if there is no device."""
    from ..backends.cuda import driver

    driver.device_count()
    return driver.library()


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


def backend(of: Any) -> Any:
    """The backend of a CUDA device, given as by users: None is the current one."""
    found = Device("cuda" if of is None else of.idx if isinstance(of, device) else of)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return backend_for(found)


def index_of(of: Any) -> int:
    """The number of a CUDA device."""
    index: int = backend(of).device.index
    return index


def current_device() -> int:
    """The index of the device that `"cuda"` means."""
    return index_of(None)


def set_device(device: Any) -> None:
    """Let `"cuda"` mean this device, in this thread; a negative number changes nothing."""
    if not (isinstance(device, int) and device < 0):
        library().cuda.runtime.setDevice(index_of(device))


class device:
    """`with device(1):` lets `"cuda"` mean this device in the block; a negative number or None changes nothing."""

    def __init__(self, device: Any):
        self.idx = -1 if device is None or device == -1 else index_of(device)
        self._before: list[int] = []

    def __enter__(self) -> None:
        if self.idx >= 0:
            self._before.append(current_device())
            set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        if self._before:
            set_device(self._before.pop())


def get_device_name(device: Any = None) -> str:
    """The name of a device."""
    return get_device_properties(device).name


@dataclass(frozen=True)
class DeviceProperties:
    """What a device is like; sizes in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    max_threads_per_multi_processor: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What a device is like."""
    found = library().cuda.runtime.getDeviceProperties(index_of(device))
    name = found["name"]
    return DeviceProperties(
        name=name.decode() if isinstance(name, bytes) else str(name),
        major=found["major"],
        minor=found["minor"],
        total_memory=found["totalGlobalMem"],
        multi_processor_count=found["multiProcessorCount"],
        warp_size=found["warpSize"],
        max_threads_per_multi_processor=found["maxThreadsPerMultiProcessor"],
        regs_per_multiprocessor=found["regsPerMultiprocessor"],
        shared_memory_per_block=found["sharedMemPerBlock"],
        shared_memory_per_block_optin=found["sharedMemPerBlockOptin"],
        shared_memory_per_multiprocessor=found["sharedMemPerMultiprocessor"],
        L2_cache_size=found["l2CacheSize"],
    )


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a device: (8, 0), say."""
    found = get_device_properties(device)
    return found.major, found.minor


def is_bf16_supported() -> bool:
    """Whether there is a device: all compute with bfloat16, those below 8.0 by way of float32."""
    return is_available()


def synchronize(device: Any = None) -> None:
    """Wait until all work given to a device, in all its streams, is done.

    Raises IndexError for an index that was found out of range on the device since the last wait.
    """
    backend(device).synchronize()


def init() -> None:
    """Start CUDA now instead of with the first tensor. RuntimeError if there is no device."""
    index_of(None)


def is_initialized() -> bool:
    """Whether CUDA has been started."""
    from ..backends import cuda

    return bool(cuda.started())
