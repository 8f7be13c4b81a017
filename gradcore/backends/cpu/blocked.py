"""Expressions over large arrays, block by block: what one ufunc leaves for the next is still in the cache.

An expression of ten operators on arrays beyond the cache moves twenty arrays through memory when each ufunc runs over
the whole of them, and allocates ten. In blocks it reads its inputs and writes its outputs once, and works in a few
registers of a block's size; blocks are shared out among threads. How arrays are cut depends on their shapes and strides
alone, so results do not depend on timing or on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...expr import Program
from ...expr.numpy_blocks import NUMBER, OTHER, TRUTHS, VALUES, compile_blocks
from ..base import Array, Number
from ..cpp.strides import Ints, broadcast_strides, collapse, padded
from ..cpp.types import FLOAT32, wide
from .threads import GRAIN, parallel

# Elements of a block. Its registers lie in the second-level cache or, beyond three or four, at the near end of the
# third; in smaller blocks the calls of the ufuncs cost more than that: docs/design/cpu.md has the measurement.
BLOCK = 1 << 16


def suits(program: Program, compute: np.dtype) -> bool:
    """Whether `evaluate` can compute the program: in floating point, with random numbers in float32 only."""
    work = wide(compute)
    return work.kind == "f" and (not program.random or work == FLOAT32)


def evaluate(
    program: Program,
    inputs: Sequence[Array | Number],
    compute: np.dtype,
    out_dtypes: Sequence[np.dtype],
    shape: Ints,
) -> list[Array]:
    """`Backend.elementwise` in blocks. The results' elements lie in memory in the order of the inputs'."""
    work = wide(compute)
    layout = Layout.of(inputs, shape, ordered=program.random)
    cuts = Cuts(layout.sizes)
    results, outs = zip(*(layout.empty(dtype) for dtype in out_dtypes))
    kernel = _Kernel(program, inputs, layout.views, work, out_dtypes)

    def task(start: int, stop: int) -> None:
        run = kernel.runner(cuts.largest)
        with np.errstate(all="ignore"):
            for number in range(start, stop):
                first, index = cuts[number]
                run(first, index, [out[index] for out in outs])

    parallel(task, cuts.count, GRAIN // cuts.largest)
    return list(results)


def reduce(
    ufunc: Any,
    program: Program,
    inputs: Sequence[Array | Number],
    compute: np.dtype,
    shape: Ints,
    axes: Ints,
    keepdims: bool,
    dtype: np.dtype | None,
) -> Array:
    """`ufunc.reduce` over `axes` of the values of `program`, accumulated in `dtype`, or as they come.

    Every tile is reduced by NumPy, pairwise along memory, and what comes of the tiles is reduced again: the error grows
    with the logarithm of the number of elements where NumPy's does, or more slowly.
    """
    work = wide(compute)
    layout = Layout.of(inputs, shape, axes)
    plain = not program.operations
    tiles = Tiles(layout.sizes, layout.reduced, PLAIN_TILE if plain else BLOCK)
    mapped = layout.views[0].dtype if plain else np.dtype(bool) if program.output_kind(0) == "bool" else work
    kernel = None if plain else _Kernel(program, inputs, layout.views, work, (mapped,))
    result, out = layout.empty(dtype or (np.dtype(bool) if ufunc in _LOGICAL else mapped), keepdims)
    partial = out if out.shape == tiles.partial_shape else np.empty(tiles.partial_shape, out.dtype)

    def task(start: int, stop: int) -> None:
        if kernel is not None:
            run, buffer = kernel.runner(tiles.largest), np.empty(tiles.largest, mapped)
        with np.errstate(all="ignore"):
            for number in range(start, stop):
                index, place = tiles[number]
                if kernel is None:
                    values = layout.views[0][index]
                else:
                    values = _shaped(buffer, tuple(s.stop - s.start for s in index))
                    run(0, index, [values])
                ufunc.reduce(values, layout.reduced, dtype, partial[place], True)

    parallel(task, tiles.count, GRAIN // tiles.largest)
    if partial is not out:
        ufunc.reduce(partial, layout.reduced, dtype, out, True)
    return result


# Without a map nothing is written, and a tile need not fit into the cache.
PLAIN_TILE = 1 << 18
_LOGICAL = (np.logical_and, np.logical_or)


@dataclass
class Layout:
    """Arrays as seen from their common shape, its dimensions in the order of memory, and merged where possible."""

    shape: Ints
    axes: Ints  # those that are reduced
    order: Ints  # which of the shape's dimensions stands where
    steps: Ints  # of the result along the shape's dimensions, in elements; 0 where it is reduced
    sizes: Ints  # of the merged dimensions
    reduced: Ints  # the merged dimensions that are reduced
    views: list[Array]  # the arrays, in the merged dimensions

    @classmethod
    def of(cls, inputs: Iterable[Array | Number], shape: Ints, axes: Ints = (), ordered: bool = False) -> Layout:
        """The layout of the arrays among `inputs`; in the shape's own order if `ordered`."""
        arrays = [a for a in inputs if isinstance(a, np.ndarray)]
        strides = [broadcast_strides(a.shape, a.strides, 1, shape) for a in arrays]
        order = tuple(range(len(shape)))
        if not ordered and not all(a.flags.c_contiguous and a.shape == shape for a in arrays):
            # The largest array says how.
            decisive = [own for a, own in sorted(zip(arrays, strides), key=lambda pair: -pair[0].size)]
            order = tuple(sorted(order, key=lambda d: [-abs(own[d]) for own in decisive]))
        steps = [0] * len(shape)
        step = 1
        for d in reversed(order):
            if d not in axes:
                steps[d] = step
                step *= shape[d]
        # The result's steps keep apart what is reduced and what is not.
        permuted = [tuple(own[d] for d in order) for own in (steps, *strides)]
        sizes, merged = padded(*collapse([shape[d] for d in order], permuted))
        views = [np.broadcast_to(a, shape).transpose(order).reshape(sizes) for a in arrays]
        reduced = tuple(d for d, own in enumerate(merged[0]) if own == 0) if axes else ()
        return cls(shape, axes, order, tuple(steps), sizes, reduced, views)

    def empty(self, dtype: np.dtype, keepdims: bool = True) -> tuple[Array, Array]:
        """A new array for the result, and a view of it in the merged dimensions, those reduced with size 1."""
        full = [1 if d in self.axes else size for d, size in enumerate(self.shape)]
        kept = [d for d in range(len(full)) if keepdims or d not in self.axes]
        strides = [max(self.steps[d], 1) * dtype.itemsize for d in kept]
        result = np.ndarray([full[d] for d in kept], dtype, strides=strides)
        merged = [1 if d in self.reduced else size for d, size in enumerate(self.sizes)]
        return result, result.reshape(full).transpose(self.order).reshape(merged)


class Cuts:
    """A shape cut into blocks of consecutive elements, of at most `BLOCK` elements each."""

    def __init__(self, sizes: Ints):
        self.sizes = sizes
        self.split = next(d for d in range(len(sizes)) if math.prod(sizes[d + 1 :]) <= BLOCK)
        self.inner = math.prod(sizes[self.split + 1 :])
        self.extent = sizes[self.split]
        self.step = min(BLOCK // self.inner, self.extent)
        self.along = -(-self.extent // self.step)
        self.count = math.prod(sizes[: self.split]) * self.along
        self.largest = self.step * self.inner

    def __getitem__(self, number: int) -> tuple[int, Any]:
        """The number of the first element of a block, and the block's index into an array of the shape."""
        outer, piece = divmod(number, self.along)
        start = piece * self.step
        first = (outer * self.extent + start) * self.inner
        index: list[Any] = [slice(start, min(start + self.step, self.extent))]
        for size in reversed(self.sizes[: self.split]):
            outer, at = divmod(outer, size)
            index.insert(0, at)
        return first, tuple(index)


class Tiles:
    """A shape cut along all its dimensions, so that tiles reach far in the dimensions that are reduced."""

    def __init__(self, sizes: Ints, reduced: Ints, most: int):
        self.sizes, self.reduced = sizes, reduced
        self.tile = tile = [1] * len(sizes)

        def grow(d: int, most: int) -> None:
            tile[d] = max(tile[d], min(sizes[d], most // (math.prod(tile) // tile[d])))

        # Memory is read in runs of some length; then come the reduced dimensions, from the innermost.
        innermost_first = range(len(sizes) - 1, -1, -1)
        grow(len(sizes) - 1, min(RUN, most))
        for d in [*(d for d in innermost_first if d in reduced), *(d for d in innermost_first if d not in reduced)]:
            grow(d, most)
        self.counts = [-(-size // tile) for size, tile in zip(sizes, self.tile)]
        self.count = math.prod(self.counts)
        self.largest = math.prod(self.tile)
        self.partial_shape = tuple(self.counts[d] if d in reduced else sizes[d] for d in range(len(sizes)))

    def __getitem__(self, number: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """A tile's index into an array of the shape, and the index of its result among the partial ones."""
        index, place = [], []
        for d in range(len(self.sizes) - 1, -1, -1):
            number, at = divmod(number, self.counts[d])
            index.append(slice(at * self.tile[d], min((at + 1) * self.tile[d], self.sizes[d])))
            place.append(slice(at, at + 1) if d in self.reduced else index[-1])
        return tuple(reversed(index)), tuple(reversed(place))


# Elements that lie next to each other in a tile, at least, where there are so many.
RUN = 512


class _Kernel:
    """A program with its inputs, for blocks of them."""

    def __init__(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        views: Iterable[Array],
        work: np.dtype,
        out_dtypes: Sequence[np.dtype],
    ):
        self.work = work
        # What stands for each input: a number, an array to take blocks of, or one whose blocks are to be converted.
        self.values: list[tuple[Any, bool, bool]] = []
        kinds = ""
        arrays = iter(views)
        for name, value in zip(program.inputs, inputs):
            if not isinstance(value, np.ndarray):
                self.values.append((value, False, False))
                kinds += NUMBER
                continue
            stays = value.dtype.kind == "b" and not program.promotes(name)
            self.values.append((next(arrays), True, value.dtype != work and not stays))
            kinds += TRUTHS if stays else VALUES
        wanted = "".join(VALUES if d == work else TRUTHS if d == np.bool_ else OTHER for d in out_dtypes)
        self.compiled = compile_blocks(program, kinds, wanted)

    def runner(self, largest: int) -> Any:
        """A function of (number of the first element, index, outputs) that computes one block.

        It owns registers for up to `largest` elements, so each thread needs one.
        """
        converted = sum(c for _, _, c in self.values)
        dtypes = [self.work] * (converted + self.compiled.values) + [np.dtype(bool)] * self.compiled.truths
        flat = [np.empty(largest, dtype) for dtype in dtypes]
        registers: list[Array] = flat
        shape: Ints = (largest,)
        function, values = self.compiled.function, self.values

        def run(first: int, index: Any, outs: list[Array]) -> None:
            nonlocal shape, registers
            if outs[0].shape != shape:
                shape = outs[0].shape
                registers = [_shaped(r, shape) for r in flat]
            operands = []
            used = 0
            for value, array, convert in values:
                if array:
                    value = value[index]
                    if convert:
                        np.copyto(registers[used], value, casting="unsafe")
                        value = registers[used]
                        used += 1
                operands.append(value)
            function(first, *operands, *outs, *registers[used:])

        return run


def _shaped(buffer: Array, shape: Ints) -> Array:
    return buffer[: math.prod(shape)].reshape(shape)
