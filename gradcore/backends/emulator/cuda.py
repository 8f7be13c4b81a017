"""Stands in for `cupy.cuda`: one device, and streams and events with nothing to wait for: launches are synchronous."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace
from typing import Any

from . import cublas, memory
from .allocator import MemoryPointer, MemoryPool, alloc, get_allocator, set_allocator
from .errors import CompileError, CUDARuntimeError, OutOfMemoryError

__all__ = [
    "CompileError",
    "Device",
    "Event",
    "ExternalStream",
    "MemoryPointer",
    "MemoryPool",
    "OutOfMemoryError",
    "Stream",
    "alloc",
    "cublas",
    "device",
    "get_allocator",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "memory",
    "runtime",
    "set_allocator",
]

NAME = "gradcore emulated CUDA device"
# Few multiprocessors, so that kernels which size their grid by them loop over their work; and the least shared memory
# of the architectures from 8.0 on.
MULTIPROCESSORS = 4
MAX_SHARED_DEFAULT = 48 << 10
MAX_SHARED_OPTIN = 99 << 10

ATTRIBUTES = {
    "ComputeCapabilityMajor": 8,
    "ComputeCapabilityMinor": 0,
    "MaxBlockDimX": 1024,
    "MaxBlockDimY": 1024,
    "MaxBlockDimZ": 64,
    "MaxGridDimX": 2**31 - 1,
    "MaxGridDimY": 65535,
    "MaxGridDimZ": 65535,
    "MaxRegistersPerBlock": 65536,
    "MaxRegistersPerMultiprocessor": 65536,
    "MaxSharedMemoryPerBlock": MAX_SHARED_DEFAULT,
    "MaxSharedMemoryPerBlockOptin": MAX_SHARED_OPTIN,
    "MaxSharedMemoryPerMultiprocessor": 100 << 10,
    "MaxThreadsPerBlock": 1024,
    "MaxThreadsPerMultiProcessor": 1536,
    "MultiProcessorCount": MULTIPROCESSORS,
    "L2CacheSize": 4 << 20,
    "WarpSize": 32,
}


def _check_index(index: int) -> int:
    if index != 0:
        raise CUDARuntimeError(f"cudaErrorInvalidDevice: invalid device ordinal {index}, there is one emulated device")
    return index


class Device:
    """The emulated device; number 0 is the only one."""

    def __init__(self, device: int | Device | None = None):
        self.id = _check_index(0 if device is None else int(device))

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(("device", self.id))

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id} (emulated)>"

    def use(self) -> None:
        """Makes it the current device, which it is."""

    def synchronize(self) -> None:
        """Raises what was found since the last launch: memory around a freed array that was overwritten."""
        memory.raise_pending()

    @property
    def compute_capability(self) -> str:
        return "80"

    @property
    def attributes(self) -> dict[str, int]:
        return dict(ATTRIBUTES)

    @property
    def mem_info(self) -> tuple[int, int]:
        return runtime.memGetInfo()


class _BaseStream:
    """A stream of work; all work is done at once, in any stream."""

    def __init__(self, ptr: int, device_id: int):
        self.ptr = ptr
        self.device_id = device_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BaseStream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ptr} (device {self.device_id})>"

    def __enter__(self) -> _BaseStream:
        _streams.entered.append(get_current_stream())
        return self.use()

    def __exit__(self, *_: object) -> None:
        _streams.entered.pop().use()

    def use(self) -> _BaseStream:
        _streams.current = self
        return self

    def synchronize(self) -> None:
        memory.raise_pending()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Nothing to wait for."""

    @property
    def done(self) -> bool:
        return True


class Stream(_BaseStream):
    """A stream of this process."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None):
        if ptds:
            raise NotImplementedError("the emulated device has no per-thread default streams")
        super().__init__(0 if null else id(self), -1 if null else 0)
        self.is_non_blocking = non_blocking and not null
        self.priority = min(0, max(-5, priority or 0))


class ExternalStream(_BaseStream):
    """A stream of somebody else, known by its address."""

    def __init__(self, ptr: int, device_id: int = -1):
        super().__init__(ptr, device_id)


Stream.null = Stream(null=True)


class _Streams(threading.local):
    """The current stream is each thread's own."""

    def __init__(self) -> None:
        self.current: _BaseStream = Stream.null
        self.entered: list[_BaseStream] = []


_streams = _Streams()


def get_current_stream(device_id: int = -1) -> _BaseStream:
    return _streams.current


class Event:
    """A point in a stream's work; records the time."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False):
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr = id(self)
        self._timed = not disable_timing
        self._time: float | None = None

    def record(self, stream: _BaseStream | None = None) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        memory.raise_pending()

    @property
    def done(self) -> bool:
        return True


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events."""
    if start._time is None or end._time is None or not (start._timed and end._timed):
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return (end._time - start._time) * 1e3


# The module `cupy.cuda.device`.
device = SimpleNamespace(Device=Device, get_cublas_handle=cublas.get_cublas_handle)


def is_available() -> bool:
    return True


class _Runtime(SimpleNamespace):
    """Stands in for `cupy.cuda.runtime`."""

    CUDARuntimeError = CUDARuntimeError
    is_hip = False

    @staticmethod
    def getDeviceCount() -> int:  # noqa: N802
        return 1

    @staticmethod
    def getDevice() -> int:  # noqa: N802
        return 0

    @staticmethod
    def setDevice(index: int) -> None:  # noqa: N802
        _check_index(index)

    @staticmethod
    def getDeviceProperties(index: int) -> dict[str, Any]:  # noqa: N802
        _check_index(index)
        return {
            "name": NAME.encode(),
            "major": 8,
            "minor": 0,
            "l2CacheSize": ATTRIBUTES["L2CacheSize"],
            "maxThreadsPerMultiProcessor": ATTRIBUTES["MaxThreadsPerMultiProcessor"],
            "multiProcessorCount": MULTIPROCESSORS,
            "regsPerMultiprocessor": ATTRIBUTES["MaxRegistersPerMultiprocessor"],
            "sharedMemPerBlock": MAX_SHARED_DEFAULT,
            "sharedMemPerMultiprocessor": ATTRIBUTES["MaxSharedMemoryPerMultiprocessor"],
            "sharedMemPerBlockOptin": MAX_SHARED_OPTIN,
            "totalGlobalMem": runtime.memGetInfo()[1],
            "warpSize": 32,
        }

    @staticmethod
    def memGetInfo() -> tuple[int, int]:  # noqa: N802
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page

    @staticmethod
    def runtimeGetVersion() -> int:  # noqa: N802
        return 12090

    @staticmethod
    def driverGetVersion() -> int:  # noqa: N802
        return 12090

    @staticmethod
    def deviceSynchronize() -> None:  # noqa: N802
        memory.raise_pending()


runtime = _Runtime()


class PinnedMemoryPointer(bytearray):
    """Page-locked memory of the host: here any memory is as good."""


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Page-locked memory of so many bytes."""
    return PinnedMemoryPointer(size)
