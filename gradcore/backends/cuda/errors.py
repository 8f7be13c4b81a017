"""Bad indices found by kernels: IndexError at the next synchronisation. See kernels/error.cuh."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Array, BadIndex
from ..cpp import sources
from ..cpp.types import INT64
from .compiler import Compiler

_BLOCK = 256
_MOST_BLOCKS = 1024


class ErrorWord:
    """The error word of one device: five 64-bit integers that kernels write to and the host reads when it waits."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._xp = xp
        self._compiler = compiler
        self._word: Any = None
        self._kernel: Any = None
        self._ops: list[str] = []
        # The streams of the launches that may have written to the word since it was read: it is read for them alone.
        self._unread: set[Any] = set()

    def arguments(self, op: str) -> tuple[Any, Any]:
        """What a kernel needs to report an error of `op`: the op's number and the word."""
        if self._word is None:
            self._word = self._xp.zeros(5, INT64)
        if op not in self._ops:
            self._ops.append(op)
        self._unread.add(self._xp.cuda.get_current_stream())
        return np.uint64(self._ops.index(op) + 1), self._word

    def check(self, op: str, index: Array, size: int, dim: int, lowest: int | None = None) -> None:
        """Report any element of an integer array outside lowest (by default -size) <= index < size."""
        n = index.size
        if n == 0:
            return
        if self._kernel is None:
            (self._kernel,) = self._compiler.kernels(sources.read("index_check.cu"), ("index_check",), "index checks")
        index = self._xp.ascontiguousarray(index, INT64)
        grid = min(-(-n // _BLOCK), _MOST_BLOCKS)
        args = (
            index,
            np.int64(n),
            np.int64(-size if lowest is None else lowest),
            np.int64(size),
            np.int64(dim),
            *self.arguments(op),
        )
        self._kernel((grid,), (_BLOCK,), args)

    def raise_pending(self) -> None:
        """Wait for the launches that may have reported an error; raise the first one and clear the word.

        Raises:
            BadIndex: naming the op, the index and the size.
        """
        if not self._unread:
            return
        streams, self._unread = self._unread, set()
        for stream in streams - {self._xp.cuda.get_current_stream()}:
            stream.synchronize()
        op, _, value, size, dim = self._word.get().tolist()
        if op:
            self._word.fill(0)
            raise BadIndex(
                f"{self._ops[op - 1]}(): index {value} is out of bounds for dimension {dim} with size {size}"
            )
