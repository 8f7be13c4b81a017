"""How native kernels walk arrays: the order of the dimensions, merged, and how each operand moves along a run."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...base import Array
from ...cpp.strides import Ints, broadcast_strides, collapse, padded

# As in kernels/host/runs.h and reduce.h.
RUN = 4096
TILE, STRIP, CHUNK = 2048, 1024, 128
# Rows no longer than this are reduced side by side, though neighbours lie apart: each would be too little for a loop.
SHORT = 32

# An array's (shape, strides in bytes, itemsize).
Operand = tuple[Ints, Ints, int]


def memory_order(dims: Sequence[int], strides: Sequence[Ints]) -> list[int]:
    """The dimensions from the one with the largest steps in memory to that with the smallest.

    As NumPy orders them: as they stand, unless every operand that moves along two of them says otherwise.
    """
    order: list[int] = []
    for d in dims:
        place = len(order)
        for k in reversed(range(len(order))):
            steps = [(abs(s[order[k]]), abs(s[d])) for s in strides if s[order[k]] and s[d]]
            if any(outer >= inner for outer, inner in steps):
                break
            if steps:
                place = k
        order.insert(place, d)
    return order


def dense(sizes: Sequence[int]) -> Ints:
    """The strides, in elements, of a C-contiguous array."""
    return tuple(math.prod(sizes[d + 1 :]) for d in range(len(sizes)))


def in_order(shape: Ints, order: Sequence[int], dtype: np.dtype) -> Array:
    """A new array that lies in memory with its dimensions in the given order."""
    if list(order) == sorted(order):
        return np.empty(shape, dtype)
    return np.empty([shape[d] for d in order], dtype).transpose(np.argsort(order))


def words(sizes: Ints, strides: Sequence[Ints]) -> bytes:
    """A layout as kernels/host/runs.h reads it."""
    numbers = [len(sizes), *sizes, *(s for own in strides for s in own)]
    return struct.pack(f"={len(numbers)}q", *numbers)


def pattern(strides: Sequence[int]) -> str:
    """How operands move along a run: `v` from one element to the next, `b` not at all, `s` by a stride."""
    return "".join("bv"[s] if s in (0, 1) else "s" for s in strides)


@dataclass(frozen=True)
class ElementwisePlan:
    """The outputs' order in memory, the layout of inputs and outputs, and how many runs there are."""

    order: tuple[int, ...] | None  # None: C-contiguous
    patterns: str
    layout: bytes
    runs: int
    per_run: int


def described(arrays: Sequence[Array]) -> tuple[Operand, ...]:
    """The operands that arrays are."""
    return tuple([(x.shape, x.strides, x.itemsize) for x in arrays])


def _whole(operands: Sequence[Operand]) -> bool:
    """Whether elements lie whole numbers of elements apart: the fields of a structured array need not."""
    return not any(step % itemsize for _, strides, itemsize in operands for step in strides)


@lru_cache(maxsize=4096)
def plan_elementwise(shape: Ints, operands: tuple[Operand, ...]) -> ElementwisePlan | None:
    """The plan for a program's arrays; None if kernels cannot walk them."""
    if not _whole(operands):
        return None
    strides = [broadcast_strides(s, t, i, shape) for s, t, i in operands]
    order = memory_order(range(len(shape)), strides)
    ordered = [shape[d] for d in order]
    sizes, steps = padded(*collapse(ordered, [*([s[d] for d in order] for s in strides), dense(ordered)]))
    pieces = -(-sizes[-1] // RUN)
    return ElementwisePlan(
        None if order == sorted(order) else tuple(order),
        pattern([s[-1] for s in steps[:-1]]),
        words(sizes, steps),
        math.prod(sizes[:-1]) * pieces,
        min(RUN, sizes[-1]),
    )


@dataclass(frozen=True)
class ReducePlan:
    """How a reduction walks its operands: see kernels/host/reduce.h.

    `order` is that of the kept dimensions in memory (None: as they stand), `items` how many pieces of work there are,
    of about `per_item` elements.
    """

    order: tuple[int, ...] | None
    columns: bool
    patterns: str
    layouts: bytes
    outputs: int
    length: int
    parts: int
    items: int
    per_item: int


@lru_cache(maxsize=4096)
def plan_reduce(shape: Ints, axes: Ints, operands: tuple[Operand, ...]) -> ReducePlan | None:
    """The plan for reducing the dimensions `axes`; None if kernels cannot walk the operands, or there is nothing."""
    if not _whole(operands) or 0 in shape:
        return None
    strides = [broadcast_strides(s, t, i, shape) for s, t, i in operands]
    kept = memory_order([d for d in range(len(shape)) if d not in axes], strides)
    reduced = memory_order(axes, strides)
    kept_sizes, kept_steps = padded(*collapse([shape[d] for d in kept], [[s[d] for d in kept] for s in strides]))
    sizes, steps = padded(*collapse([shape[d] for d in reduced], [[s[d] for d in reduced] for s in strides]))
    outputs, length = math.prod(kept_sizes), math.prod(sizes)
    columns = outputs > 1 and (length <= SHORT or _nearest(kept_steps) < _nearest(steps))
    if columns:
        parts = -(-length // CHUNK)
        items, per_item = parts * -(-outputs // STRIP), min(outputs, STRIP) * min(length, CHUNK)
    else:
        parts = -(-length // TILE)
        items, per_item = parts * outputs, min(length, TILE)
    return ReducePlan(
        None if kept == sorted(kept) else tuple(kept),
        columns,
        pattern([s[-1] for s in (kept_steps if columns else steps)]),
        words(kept_sizes, kept_steps) + words(sizes, steps),
        outputs,
        length,
        parts,
        items,
        per_item,
    )


def _nearest(strides: Sequence[Ints]) -> float:
    """The smallest step between neighbours along the innermost dimension, over the operands that move."""
    return min((abs(s[-1]) for s in strides if s[-1]), default=math.inf)
