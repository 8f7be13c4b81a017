"""What can go wrong on the emulated device."""

from __future__ import annotations


class KernelError(RuntimeError):
    """A kernel, or its launch, did something that is wrong on a GPU.

    The message names the kernel, the block and thread where one is to blame, and the line of the kernel's source.
    """


class CompileError(RuntimeError):
    """A kernel's source could not be compiled; the message holds the compiler's own messages."""


class UnsupportedError(CompileError):
    """A kernel's source uses a part of CUDA C++ that the emulator does not know."""


class CUDARuntimeError(RuntimeError):
    """Stands in for `cupy.cuda.runtime.CUDARuntimeError`."""


class OutOfMemoryError(MemoryError):
    """Stands in for `cupy.cuda.memory.OutOfMemoryError`."""

    def __init__(self, size: int, total: int, limit: int = 0):
        at_most = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{at_most}).")
