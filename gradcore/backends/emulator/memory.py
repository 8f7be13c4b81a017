"""The emulated device's memory: allocations between guard zones, and the list of those that are alive."""

from __future__ import annotations

import ctypes
import itertools
import mmap
from typing import Any

import numpy as np

from .errors import KernelError, OutOfMemoryError

GUARD_BYTES = 256  # before and after every allocation; mirrored in native/launch.h
ALIGNMENT = 256  # of every allocation, as cudaMalloc's
BLOCK = 512  # of CuPy's memory pool: its books are kept in whole ones
# NaN as float64, float32, float16 and bfloat16; an index far out as an integer.
POISON = 0x7FFF

# Blocks beyond this size take up memory only where they are touched, and are zero instead of poisoned.
_SPARSE = 1 << 30
_MAP_NORESERVE = 0x4000  # of Linux; Python's module has no name for it

# Neighbouring allocations' guard zones differ, so that a copy from one zone to another is noticed.
_GUARD_FILLS = [0xA0 + i for i in range(61)]
_GUARDS = {fill: bytes([fill]) * GUARD_BYTES for fill in _GUARD_FILLS}
_next_fill = itertools.cycle(_GUARD_FILLS).__next__
_address_of = ctypes.addressof
_first_byte: Any = ctypes.c_char.from_buffer

# Address of each live allocation -> its size in bytes.
_live: dict[int, int] = {}
# Their sizes in the pool's blocks together, in a list of one.
_used = [0]
# What was found when memory was freed, where nothing can be raised: reported by the next launch or synchronisation.
_pending_errors: list[str] = []


def _reserved(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)


class DeviceMemory:
    """A block of "device" memory.

    Attributes:
        raw: the host memory it lies in, guard zones included, as uint8.
        offset: of the first byte in `raw`.
        address: of the first byte, a multiple of 256.
        nbytes: its size.
        size: that of the pool's block.
        fill: the byte that fills the guard zones.
    """

    __slots__ = ("address", "fill", "nbytes", "offset", "raw", "size")

    def __init__(self, nbytes: int):
        try:
            size = ALIGNMENT + 2 * GUARD_BYTES + nbytes
            raw = np.empty(size, np.uint8) if size <= _SPARSE else np.frombuffer(_reserved(size), np.uint8)
        except (MemoryError, OSError):
            raise OutOfMemoryError(nbytes, used_bytes()) from None
        start = _address_of(_first_byte(raw)) + GUARD_BYTES
        self.address = start + -start % ALIGNMENT
        self.offset = offset = self.address - start + GUARD_BYTES
        self.raw = raw
        self.nbytes = nbytes
        self.size = rounded(nbytes)
        self.fill = fill = _next_fill()
        raw[offset - GUARD_BYTES : offset].fill(fill)
        raw[offset + nbytes : offset + nbytes + GUARD_BYTES].fill(fill)
        _live[self.address] = nbytes
        _used[0] += self.size

    def poison(self) -> None:
        """Fill it with what looks like nothing useful; not where it is there only when it is touched."""
        if len(self.raw) > _SPARSE:
            return
        begin, end = self.offset, self.offset + self.nbytes
        self.raw[begin : end - self.nbytes % 2].view(np.uint16).fill(POISON)
        if self.nbytes % 2:
            self.raw[end - 1] = POISON & 0xFF

    # The globals it needs are bound as defaults, as they may be gone when the interpreter shuts down.
    def __del__(
        self,
        live: dict[int, int] = _live,
        used: list[int] = _used,
        guards: dict[int, bytes] = _GUARDS,
        margin: int = GUARD_BYTES,
    ) -> None:
        if live.pop(getattr(self, "address", -1), None) is None:
            return
        used[0] -= self.size
        raw, offset, end = self.raw, self.offset, self.offset + self.nbytes
        guard = guards[self.fill]
        before = raw[offset - margin : offset].tobytes() == guard
        after = raw[end : end + margin].tobytes() == guard
        if not (before and after):
            where = "after" if before else "before"
            _pending_errors.append(f"the memory {where} an array of {self.nbytes} bytes was overwritten while it lived")


def raise_pending() -> None:
    """Reports what was found when memory was freed."""
    if _pending_errors:
        errors = "; ".join(_pending_errors)
        _pending_errors.clear()
        raise KernelError(errors)


def rounded(nbytes: int) -> int:
    """The size of the block that CuPy's memory pool makes for an allocation."""
    return -(-nbytes // BLOCK) * BLOCK


def used_bytes() -> int:
    """The size of all live allocations together, in whole blocks."""
    return _used[0]


def allocation_containing(address: int) -> tuple[int, int] | None:
    """The live allocation, as (begin, end), in which an address lies."""
    for begin, nbytes in _live.copy().items():
        if begin <= address < begin + nbytes:
            return begin, begin + nbytes
    return None


def strided(
    address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, writable: bool = False
) -> np.ndarray:
    """The elements at an address, `strides` bytes apart, as a library finds them that is given a pointer.

    Raises:
        KernelError: if they are not all in one live allocation.
    """
    whole = np.dtype(dtype).itemsize + sum((size - 1) * step for size, step in zip(shape, strides))
    found = allocation_containing(address)
    if found is None or address + whole > found[1]:
        raise KernelError(
            f"{shape} elements {strides} bytes apart from address {address:#x} on, {whole} bytes in all, do not lie in "
            + ("an array of the device" if found is None else f"the {found[1] - address} that are left of an array")
        )
    elements = np.ndarray(shape, dtype, (ctypes.c_char * whole).from_address(address), 0, strides)
    elements.flags.writeable = writable
    return elements


def allocations_in_table(table: np.ndarray) -> set[tuple[int, int]]:
    """The live allocations, as (begin, end), to which 8-byte words of an array point."""
    live = _live.copy()
    begins = np.array(sorted(live), np.uint64)
    data = np.ascontiguousarray(table).reshape(-1).view(np.uint8)
    words = data[: data.size // 8 * 8].view(np.uint64)
    words = np.unique(words[(words >= begins[:1]) & (words < np.uint64(2**63))]) if begins.size else words[:0]
    found = set()
    for word, position in zip(words.tolist(), np.searchsorted(begins, words, "right").tolist(), strict=True):
        begin = int(begins[position - 1])
        if word < begin + live[begin]:
            found.add((begin, begin + live[begin]))
    return found
