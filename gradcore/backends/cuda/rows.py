"""Kernels over the rows of a matrix: softmax (kernels/softmax.cu) and cross-entropy (kernels/cross_entropy.cu)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import Array
from ..cpp import sources
from ..cpp.types import INT64, computed, scalar, wide
from .compiler import Compiler
from .emission import prologue
from .errors import ErrorWord
from .layout import VECTOR_BYTES, vector_width

BLOCK = 256
LARGEST_BLOCK = 1024
# Rows that are not held in registers: more threads leave each too few registers.
STREAMING_BLOCK = 512


def row_width(columns: int, arrays: Sequence[Array]) -> int:
    """How many neighbours of a row may be read at once from all the arrays: 1 where rows or pointers are unaligned."""
    width = vector_width(max(a.dtype.itemsize for a in arrays))
    aligned = all(a.data.ptr % VECTOR_BYTES == 0 for a in arrays)
    return width if aligned and columns % width == 0 else 1


def power_of_two(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()


def geometry(rows: int, threads: int) -> tuple[tuple[int], tuple[int, int]]:
    """(grid, block) for `threads` on each row."""
    per_block = max(1, BLOCK // threads)
    return (-(-rows // per_block),), (threads, per_block)


class Rows:
    """Runs row kernels over contiguous (rows, columns) arrays of one device."""

    def __init__(self, xp: Any, compiler: Compiler, errors: ErrorWord):
        self._empty = xp.empty
        self._contiguous = xp.ascontiguousarray
        self._compiler = compiler
        self._errors = errors
        self._kernels: dict[Any, tuple[Any, ...]] = {}

    def softmax(self, x: Array, log: bool, out_dtype: np.dtype, longest: int | None = None) -> Array:
        """See `Backend.softmax`; rows of more than `longest` elements take the two-pass kernel."""
        y = self._empty(x.shape, out_dtype)
        if y.size:
            types = {"X": x.dtype, "Y": out_dtype}
            self._softmax("softmax", types, wide(x.dtype), (x, y), log, 32, longest)
        return y

    def softmax_backward(
        self, grad: Array, result: Array, log: bool, out_dtype: np.dtype, longest: int | None = None
    ) -> Array:
        """See `Backend.softmax_backward`."""
        dx = self._empty(result.shape, out_dtype)
        if dx.size:
            types = {"DY": grad.dtype, "Y": result.dtype, "DX": out_dtype}
            arrays = (grad, result, dx)
            # Two arrays to hold: half as many elements of each.
            self._softmax("softmax_backward", types, wide(result.dtype), arrays, log, 16, longest)
        return dx

    def _softmax(
        self,
        name: str,
        types: dict[str, np.dtype],
        compute: np.dtype,
        arrays: tuple[Array, ...],
        log: bool,
        most: int,
        longest: int | None,
    ) -> None:
        rows, columns = arrays[0].shape
        width = row_width(columns, arrays)
        threads, per_thread = held(columns, width, most // 2 if compute.itemsize == 8 else most)
        fits = columns <= (threads * per_thread if longest is None else longest)
        if not fits:
            threads = STREAMING_BLOCK
        block = max(BLOCK, threads)
        key = (name, *types.values(), width, per_thread, block, log)
        kernels = self._kernels.get(key)
        if kernels is None:
            settings = prologue(types, compute, VEC=width, PER_THREAD=per_thread, BLOCK=block, LOG=log)
            subject = f"{'log_' if log else ''}{name} of {', '.join(d.name for d in types.values())}"
            text = settings + sources.read(f"{name}.cu")
            kernels = self._kernels[key] = self._compiler.kernels(text, (name, f"{name}_long"), subject)
        grid, shape = geometry(rows, threads)
        kernels[0 if fits else 1](grid, shape, (*arrays, np.int64(rows), np.int32(columns)))

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array]:
        """See `Backend.cross_entropy`."""
        rows, columns = logits.shape
        compute = wide(logits.dtype)
        loss = self._empty((rows,), logits.dtype)
        lse, row_weight = self._empty((rows,), compute), self._empty((rows,), compute)
        if rows:
            width = row_width(columns, (logits,))
            kernel = self._cross_entropy(logits, weight, label_smoothing, width)[0]
            number = scalar(computed(compute))
            grid, block = geometry(rows, row_threads(columns, width))
            args = (
                *(logits, self._indices(target), weight, loss, lse, row_weight),
                *(np.int64(rows), np.int32(columns), np.int64(ignore_index), number(label_smoothing)),
                *self._errors.arguments("cross_entropy"),
            )
            kernel(grid, block, args)
        return loss, lse, row_weight

    def cross_entropy_backward(
        self,
        grad: Array,
        logits: Array,
        target: Array,
        weight: Array | None,
        lse: Array,
        ignore_index: int,
        label_smoothing: float,
    ) -> Array:
        """See `Backend.cross_entropy_backward`."""
        rows, columns = logits.shape
        dx = self._empty(logits.shape, logits.dtype)
        if dx.size:
            width = row_width(columns, (logits, dx))
            kernel = self._cross_entropy(logits, weight, label_smoothing, width)[1]
            number = scalar(computed(logits.dtype))
            grid, block = geometry(rows, row_threads(columns, width))
            args = (
                *(self._contiguous(grad, logits.dtype), logits, self._indices(target), weight, lse, dx),
                *(np.int64(rows), np.int32(columns), np.int64(ignore_index), number(label_smoothing)),
            )
            kernel(grid, block, args)
        return dx

    def _indices(self, target: Array) -> Array:
        return self._contiguous(target, INT64)

    def _cross_entropy(
        self, logits: Array, weight: Array | None, label_smoothing: float, width: int
    ) -> tuple[Any, ...]:
        weights = logits.dtype if weight is None else weight.dtype
        key = ("cross_entropy", logits.dtype, weights, weight is None, label_smoothing != 0, width)
        kernels = self._kernels.get(key)
        if kernels is None:
            types = {"T": logits.dtype, "W": weights}
            flags = {"WEIGHTED": weight is not None, "SMOOTHED": label_smoothing != 0}
            names = ("cross_entropy", "cross_entropy_backward")
            text = prologue(types, logits.dtype, VEC=width, **flags) + sources.read("cross_entropy.cu")
            kernels = self._kernels[key] = self._compiler.kernels(text, names, f"cross_entropy of {logits.dtype.name}")
        return kernels


def row_threads(columns: int, width: int) -> int:
    """Threads on a row that is read once: about four vectors for each."""
    return min(max(8, power_of_two(-(-columns // (4 * width)))), STREAMING_BLOCK)


def held(columns: int, width: int, most: int) -> tuple[int, int]:
    """(threads, elements for each) that hold a row in registers, `most` in a thread; the largest if none can."""
    if width == 1:
        most = most // 4 * 3  # single elements need more registers: a predicate and an address each
    # Short rows: a warp at most, with few elements in a thread.
    per_thread = 8 if columns <= 256 else most
    threads = max(8, power_of_two(-(-columns // per_thread)))
    if threads <= STREAMING_BLOCK:
        return threads, per_thread
    # The largest block has 64 registers for a thread: some must be left for addresses, more without vectors.
    return (LARGEST_BLOCK, most // 4 * 3) if width > 1 else (STREAMING_BLOCK, most)
