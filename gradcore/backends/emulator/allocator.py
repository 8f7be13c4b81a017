"""Stands in for CuPy's allocators: the memory pool, and the function that every array's memory comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import memory
from .errors import OutOfMemoryError

__all__ = ["MemoryPointer", "MemoryPool", "alloc", "default_pool", "get_allocator", "set_allocator"]


class MemoryPointer:
    """Stands in for `cupy.cuda.MemoryPointer`: an address, and the memory around it, which is kept alive."""

    __slots__ = ("mem", "ptr")
    device_id = 0

    def __init__(self, mem: memory.DeviceMemory | None, ptr: int):
        self.mem: Any = mem
        self.ptr = ptr

    def __int__(self) -> int:
        return self.ptr


class MemoryPool:
    """Stands in for `cupy.cuda.MemoryPool`: freed memory is given back at once, and nothing is kept."""

    def __init__(self) -> None:
        self._limit = 0

    def malloc(self, size: int) -> MemoryPointer:
        used, block = memory.used_bytes(), memory.rounded(size)
        if self._limit and used + block > self._limit:
            raise OutOfMemoryError(block, used, self._limit)
        made = memory.DeviceMemory(size)
        return MemoryPointer(made, made.address)

    def used_bytes(self) -> int:
        return memory.used_bytes()

    def total_bytes(self) -> int:
        return memory.used_bytes()

    def free_bytes(self) -> int:
        return 0

    def n_free_blocks(self) -> int:
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        """There are none."""

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """No more than `size` bytes, or a `fraction` of the device's memory, may be in use; 0 ends the limit."""
        if fraction is not None:
            from .cuda import runtime

            size = int(fraction * runtime.memGetInfo()[1])
        self._limit = size or 0

    def get_limit(self) -> int:
        return self._limit


default_pool = MemoryPool()
_current: Callable[[int], MemoryPointer] = default_pool.malloc


def get_allocator() -> Callable[[int], MemoryPointer]:
    return _current


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    """Let all arrays' memory come from `allocator`, a function of the size; None: from no pool."""
    global _current
    _current = MemoryPool().malloc if allocator is None else allocator


def alloc(size: int) -> MemoryPointer:
    """Memory from the current allocator."""
    return _current(size)
