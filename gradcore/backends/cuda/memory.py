"""Device memory: what is in use and was at most, and an error that tells when there is no more.

CuPy's memory pool knows what is in use now, by adding up all its blocks, but no peak. An allocator in front of it keeps
an upper bound instead: what was in use when that was last counted, and all that was allocated since. The true use can
have passed the peak only where the bound has, and only then the blocks are counted again. So the peak is exact, frees
need not be seen, and most allocations cost one addition.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..base import Array
from ..out_of_memory import OutOfMemoryError, text_of
from . import driver


class _Use:
    """The memory of one device, which must be the current one."""

    __slots__ = ("_pool", "bound", "peak", "reserved")

    def __init__(self, pool: Any):
        self._pool = pool
        self.bound = self.peak = pool.used_bytes()
        self.reserved = pool.total_bytes()

    def count(self) -> None:
        """Make the bound what is in use, and the peaks at least what is in use and reserved."""
        self.bound = self._pool.used_bytes()
        self.peak = max(self.peak, self.bound)
        self.reserved = max(self.reserved, self._pool.total_bytes())


class Memory:
    """The memory of all devices. Its methods are about the current one."""

    def __init__(self, xp: Any):
        self._xp = xp
        self.pool = pool = xp.get_default_memory_pool()
        self._uses: dict[int, _Use] = {}
        self._take = pool.malloc
        # Code that was written for CuPy catches CuPy's.
        self._error = type(
            "OutOfMemoryError",
            (OutOfMemoryError, xp.cuda.memory.OutOfMemoryError),
            {"__init__": RuntimeError.__init__, "__module__": "gradcore.cuda", "__doc__": OutOfMemoryError.__doc__},
        )
        if xp.cuda.get_allocator() == self._take:  # another one was put there by somebody who knows why
            xp.cuda.set_allocator(self.malloc)

    def malloc(self, size: int) -> Any:
        """CuPy's allocator: a pointer to `size` bytes of the pool."""
        try:
            pointer = self._take(size)
        except MemoryError as error:
            raise self._error(self._refusal(size)) from error
        use = self._uses.get(pointer.device_id) or self.use()
        use.bound += pointer.mem.size
        if use.bound > use.peak:
            use.count()
        return pointer

    def use(self) -> _Use:
        """The use of the current device."""
        index = driver.current_device()
        found = self._uses.get(index)
        if found is None:
            found = self._uses[index] = _Use(self.pool)
        return found

    def reset_peaks(self) -> None:
        """Begin anew with what is in use now."""
        self._uses.pop(driver.current_device(), None)
        self.use()

    def empty_cache(self) -> None:
        """Give back what the pool keeps for later."""
        self.use().count()
        self.pool.free_all_blocks()

    def _refusal(self, size: int) -> str:
        free, total = self._xp.cuda.runtime.memGetInfo()
        used, limit = self.pool.used_bytes(), self.pool.get_limit()
        gpu, kept = driver.current_device(), self.pool.total_bytes() - used
        return (
            f"CUDA out of memory. Tried to allocate {text_of(size)}. GPU {gpu} has a total capacity of "
            f"{text_of(total)} of which {text_of(free)} is free. Arrays of this process hold {text_of(used)}, and "
            f"{text_of(kept)} is reserved by it but unallocated{', in pieces' if kept >= size else ''}."
            + (f" It is limited to {text_of(limit)}." if limit else "")
        )


def constant(xp: Any, host: np.ndarray) -> Array:
    """A copy on the device to be kept, which any stream may use at once."""
    copied = xp.asarray(host)
    xp.cuda.get_current_stream().synchronize()
    return copied


@cache
def device_memory() -> Memory:
    """The memory of the devices, looked after from the first call on."""
    return Memory(driver.library())
