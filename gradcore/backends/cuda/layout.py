"""Shapes and strides as kernels want them: merged dimensions, vector widths, and division by multiplication."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ..cpp.strides import Ints, broadcast_strides, collapse, padded, reach

# Below 2**31 by what a loop's step may add to an index.
INDEX_LIMIT = 2**31 - 2**14
VECTOR_BYTES = 16
# Elements of a vector: more than eight bytes of a one-byte type would cost too many registers.
LONGEST_VECTOR = 8


def magic(divisor: int) -> tuple[int, int]:
    """(multiplier, shift) for division by `divisor` of numbers below 2**31: see kernels/layout.cuh."""
    if not divisor:
        return 0, 0  # the size of an empty dimension, where nothing is divided
    shift = (divisor - 1).bit_length()
    return (1 << 32) * ((1 << shift) - divisor) // divisor + 1, shift


def struct(words: np.ndarray) -> np.ndarray:
    """What lies in an array as an array of size 1, which is how a struct is passed to a kernel."""
    return words.view(np.dtype((np.void, words.nbytes)))


def pack(sizes: Sequence[int], strides: Sequence[Sequence[int]], wide: bool) -> np.ndarray:
    """The struct gc::Layout."""
    flat = [s for own in strides for s in own]
    if wide:
        words = np.array([*sizes, *flat], np.int64)
    else:
        magics = [magic(size) for size in sizes]
        unsigned = [*sizes, *(m for m, _ in magics), *(s for _, s in magics)]
        words = np.concatenate([np.array(unsigned, np.uint32), np.array(flat, np.int32).view(np.uint32)])
    return struct(words)


def vector_width(widest: int) -> int:
    """How many elements a vector has, given the largest itemsize that moves with it."""
    return min(LONGEST_VECTOR, VECTOR_BYTES // widest)


@dataclass(frozen=True)
class Access:
    """How a kernel reads its operands along the axis that neighbouring threads and vectors run along.

    `patterns`, one letter for each operand: `v` a vector of `width` neighbours, `b` one element for the whole vector,
    `u` one element for the whole array (it has no strides in the layout), `s` one element at any stride.
    """

    patterns: str
    width: int


def access(inner: Sequence[int], outer: Sequence[Sequence[int]], size: int, widest: int, aligned: bool) -> Access:
    """The widest access possible.

    `inner` are the operands' strides along the axis, `outer` their other strides, `size` the axis's length, `widest`
    the largest itemsize, `aligned` whether every pointer is a multiple of 16 bytes.
    """
    width = vector_width(widest)
    uniform = [i == 0 and not any(o) for i, o in zip(inner, outer)]
    vector = (
        aligned
        and width > 1
        and size % width == 0
        and all(i == 0 or (i == 1 and all(s % width == 0 for s in o)) for i, o in zip(inner, outer))
    )
    if not vector:
        return Access("".join("u" if u else "s" for u in uniform), 1)
    return Access("".join("u" if u else "bv"[i] for u, i in zip(uniform, inner)), width)


@dataclass(frozen=True)
class ElementwisePlan:
    """How an elementwise kernel walks its operands; `flat`: they are contiguous, or single elements."""

    access: Access
    flat: bool
    rank: int
    wide: bool
    count: int
    layout: np.ndarray | None

    @cached_property
    def variant(self) -> str:
        """What the plan means for the kernel's text: arrays with equal variants share a kernel."""
        return f"{self.access.patterns}{self.access.width} {self.flat} {self.rank} {self.wide}"


@lru_cache(maxsize=4096)
def plan_elementwise(
    shape: Ints, operands: tuple[tuple[Ints, Ints, int], ...], widest: int, aligned: bool, wide: bool = False
) -> ElementwisePlan:
    """The plan for operands given as (shape, strides in bytes, itemsize); `wide` forces 64-bit indices."""
    n = math.prod(shape)
    strides = [broadcast_strides(s, t, i, shape) for s, t, i in operands]
    sizes, strides_ = padded(*collapse(shape, strides))
    inner = [s[-1] for s in strides_]
    if len(sizes) == 1 and all(i in (0, 1) for i in inner):
        width = vector_width(widest) if aligned else 1
        # A single element is read at its own place, whatever its stride.
        patterns = "".join("u" if i == 0 else "v" for i in inner)
        return ElementwisePlan(Access(patterns, width), True, 1, False, n, None)
    found = access(inner, [s[:-1] for s in strides_], sizes[-1], widest, aligned)
    wide = wide or reach(sizes, strides_) > INDEX_LIMIT
    vectors = (*sizes[:-1], sizes[-1] // found.width)
    steps = [(*s[:-1], s[-1] * found.width) for s, p in zip(strides_, found.patterns) if p != "u"]
    layout = pack(vectors, steps, wide)
    return ElementwisePlan(found, False, len(sizes), wide, n // found.width, layout)


@dataclass(frozen=True)
class ReducePlan:
    """How a reduction walks its operands: see kernels/reduce.cuh.

    `columns`: neighbouring threads run along the kept dimensions. `outputs` counts what the kernel counts (vectors of
    outputs for columns), `length` the reduced elements, `chunk` what one block takes of them.
    """

    columns: bool
    access: Access
    kept_rank: int
    reduced_rank: int
    wide: bool
    kept_layout: np.ndarray
    reduced_layout: np.ndarray
    outputs: int
    length: int
    chunk: int
    splits: int
    grid: tuple[int, int]
    block: tuple[int, int]

    @cached_property
    def variant(self) -> str:
        """What the plan means for the kernel's text: arrays with equal variants share a kernel."""
        ranks = f"{self.kept_rank} {self.reduced_rank}"
        return f"{self.columns} {self.access.patterns}{self.access.width} {ranks} {self.wide}"


REDUCE_BLOCK = 256
# A grid of this many blocks fills any device. A constant, not the device's size: cuts decide the order of summation.
FULL_GRID = 1024


def _splits(blocks: int, steps: int, least: int) -> int:
    """In how many chunks to cut `steps`, of at least `least` each, so that the grid is full."""
    return max(1, min(-(-steps // least), FULL_GRID // blocks)) if blocks <= FULL_GRID // 4 else 1


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


@lru_cache(maxsize=4096)
def plan_reduce(
    shape: Ints,
    axes: Ints,
    operands: tuple[tuple[Ints, Ints, int], ...],
    widest: int,
    aligned: bool,
    vectorise: bool = True,
    wide: bool = False,
    splits: int | None = None,
) -> ReducePlan:
    """The plan for reducing the dimensions `axes` of operands given as (shape, strides in bytes, itemsize).

    `vectorise=False` asks for rows of single elements, in order of their index; `wide` forces 64-bit indices, and
    `splits` the number of chunks.
    """
    strides = [broadcast_strides(s, t, i, shape) for s, t, i in operands] or [(0,) * len(shape)]
    kept = [d for d in range(len(shape)) if d not in axes]
    # The order of reduction is free: innermost what is nearest in memory.
    reduced = sorted(axes, key=lambda d: [-abs(s[d]) for s in strides])
    kept_sizes, kept_strides = padded(*collapse([shape[d] for d in kept], [[s[d] for d in kept] for s in strides]))
    sizes, steps = padded(*collapse([shape[d] for d in reduced], [[s[d] for d in reduced] for s in strides]))
    outputs, length = math.prod(kept_sizes), math.prod(sizes)
    wide = wide or reach(kept_sizes + sizes, [k + s for k, s in zip(kept_strides, steps)]) > INDEX_LIMIT

    columns = length > 0 and outputs > (1 if vectorise else 32) and _nearest(kept_strides) < _nearest(steps)
    if columns and vectorise:
        outer = [k[:-1] + s for k, s in zip(kept_strides, steps)]
        found = access([k[-1] for k in kept_strides], outer, kept_sizes[-1], widest, aligned)
    elif vectorise:
        outer = [k + s[:-1] for k, s in zip(kept_strides, steps)]
        # The end of a single dimension that is no whole number of vectors is handled apart.
        size = 0 if len(sizes) == 1 else sizes[-1]
        found = access([s[-1] for s in steps], outer, size, widest, aligned)
    else:
        found = Access("s" * len(strides), 1)
    width = found.width
    if columns and vectorise:
        outputs //= width
        kept_sizes = (*kept_sizes[:-1], kept_sizes[-1] // width)
        kept_strides = tuple((*k[:-1], k[-1] * width) for k in kept_strides)
        across = min(32, _power_of_two(outputs))
        block = (across, REDUCE_BLOCK // across)
        blocks, turns = -(-outputs // across), length
        splits = splits or _splits(blocks, turns, block[1] * 16)
    else:
        turns = length // width
        sizes = (*sizes[:-1], max(1, sizes[-1] // width))
        steps = tuple((*s[:-1], s[-1] * width) for s in steps)
        # The longer a row, the more threads share it; but none without work.
        across = 1 if columns else min(8, _power_of_two(turns)) if turns <= 16 else 32 if turns <= 512 else REDUCE_BLOCK
        block = (across, REDUCE_BLOCK // across)
        blocks = -(-outputs // block[1])
        splits = splits or _splits(blocks, turns, across * 8)
    chunk = max(1, -(-turns // splits))
    splits = max(1, -(-turns // chunk))
    # A kernel's layout has room for at least one operand.
    used = [i for i, p in enumerate(found.patterns) if p != "u"] or [0]
    return ReducePlan(
        columns and vectorise,
        found,
        len(kept_sizes),
        len(sizes),
        wide,
        pack(kept_sizes, [kept_strides[i] for i in used], wide),
        pack(sizes, [steps[i] for i in used], wide),
        outputs,
        length,
        chunk,
        splits,
        (blocks, splits),
        block,
    )


def _nearest(strides: Sequence[Ints]) -> int:
    """The smallest step in memory between neighbours along the innermost dimension, over the operands that move."""
    return min((abs(s[-1]) for s in strides if s[-1]), default=INDEX_LIMIT)
