"""Updates of many arrays at once, in NumPy: large arrays in stretches, on several threads; small ones gathered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from ...expr import Program
from ...expr.graph import Input
from ...expr.numpy_blocks import NUMBER, VALUES, compile_blocks
from ..base import Array, Backend, Number
from ..cpp.types import HALVES, wide
from .threads import GRAIN, parallel

# Elements updated at a time: what an update touches stays in the cache from one ufunc to the next.
STRETCH = 1 << 16
# Arrays of up to so many elements are gathered where there are a few of them, if the update takes so many operators:
# copying them costs less than calling that many ufuncs for each.
SMALL = 1 << 10
FEW = 4
MANY = 6

Columns = Sequence[Sequence[Array]]
Update = Callable[[Sequence[Array]], None]


class MultiTensor(Backend):
    """Updates of many arrays at once."""

    def multi_tensor(self, name: str, program: Program, columns: Columns, numbers: Sequence[Number | Array]) -> None:
        kernel = _kernel(program, len(columns))
        values = [float(n) for n in numbers]
        update_all(columns, lambda arrays: kernel(arrays, values), gather=program.operations >= MANY)


class _Kernel:
    """An update as NumPy's functions, each of which writes into what is there."""

    def __init__(self, program: Program, columns: int):
        numbers = len(program.inputs) - columns
        self._block = compile_blocks(program, VALUES * columns + NUMBER * numbers, VALUES * len(program.outputs))
        self._apart = [i for i, fits in enumerate(_in_place(program, columns)) if not fits]
        self._registers = len(self._apart) + self._block.values

    def __call__(self, arrays: Sequence[Array], numbers: Sequence[float]) -> None:
        """Update arrays that belong together, the second of which is only read."""
        registers = _room.registers(arrays[0], self._registers, self._block.truths)
        if not self._apart:
            self._block.function(0, *arrays, *numbers, arrays[0], *arrays[2:], *registers)
            return
        outs = [arrays[0], *arrays[2:]]
        changed = [(outs[i], register) for i, register in zip(self._apart, registers)]
        for i, (_, register) in zip(self._apart, changed):
            outs[i] = register
        self._block.function(0, *arrays, *numbers, *outs, *registers[len(changed) :])
        for array, register in changed:
            array[...] = register


class _Room(threading.local):
    """Each thread's registers, which are free again after each call."""

    def __init__(self) -> None:
        self._flat: dict[Any, list[Array]] = {}
        self._shaped: dict[Any, list[Array]] = {}

    def registers(self, like: Array, values: int, truths: int) -> list[Array]:
        """Arrays of the shape of `like`: so many of its dtype, and so many of bool."""
        key = (like.shape, like.dtype, values, truths)
        found = self._shaped.get(key)
        if found is None:
            if like.size > STRETCH:
                return [np.empty(like.shape, like.dtype if i < values else bool) for i in range(values + truths)]
            if len(self._shaped) >= _MOST_SHAPES:
                self._shaped.clear()
            kept = [*self._of(like.dtype, values), *self._of(np.dtype(bool), truths)]
            found = self._shaped[key] = [r[: like.size].reshape(like.shape) for r in kept]
        return found

    def _of(self, dtype: np.dtype, count: int) -> list[Array]:
        kept = self._flat.setdefault(dtype, [])
        while len(kept) < count:
            kept.append(np.empty(STRETCH, dtype))
        return kept[:count]


_MOST_SHAPES = 1024
_room = _Room()
_kernel = cache(_Kernel)


def _in_place(program: Program, columns: int) -> tuple[bool, ...]:
    """For each output whether it may be written over the column that it is the new value of: whether that is read no
    later than by the operation that makes it."""
    place = {node: i for i, node in enumerate(program.nodes)}
    read = {name: -1 for name in program.inputs}
    for i, node in enumerate(program.nodes):
        for arg in node.args:
            if isinstance(arg, Input):
                read[arg.name] = i
    for out in program.outputs:
        if isinstance(out, Input):
            read[out.name] = len(place)
    names = [program.inputs[i] for i in range(columns) if i != 1]
    return tuple(
        out.op is not None and "fn." not in out.op.numpy and read[name] <= place[out]
        for out, name in zip(program.outputs, names)
    )


def update_all(columns: Columns, update: Update, gather: bool) -> None:
    """Update arrays that belong together, one of each column, until all are done.

    If `gather`, small arrays are updated together, in copies.

    All columns but the second are changed. Half precision comes as float32, and is rounded once when written back.
    """
    params = columns[0]
    sizes = [p.size for p in params]
    few = len(params) < FEW or not gather
    if few and sum(sizes) <= STRETCH and all(p.dtype not in HALVES for p in params):
        for arrays in zip(*columns):  # neither together nor apart
            update(arrays)
        return
    if len({id(p) for p in params}) < len(params):  # one that is there twice is updated twice, one after the other
        for arrays in zip(*columns):
            _update([arrays], update)
        return
    pieces = list(_pieces(columns, sizes, SMALL if gather else 0))

    def task(start: int, stop: int) -> None:
        for piece in pieces[start:stop]:
            _update(piece, update)

    if sum(sizes) >= 2 * GRAIN:
        parallel(task, len(pieces))
    else:
        task(0, len(pieces))


def _pieces(columns: Columns, sizes: Sequence[int], small: int) -> Iterator[Columns]:
    """What is updated together: a stretch of the arrays of one parameter, or all those of several small ones."""
    gathered: list[Sequence[Array]] = []
    room = STRETCH
    if sum(size <= small for size in sizes) < FEW:
        small = 0
    for size, arrays in zip(sizes, zip(*columns)):
        if size <= small:
            if size > room:
                yield gathered
                gathered, room = [], STRETCH
            gathered.append(arrays)
            room -= size
        elif size <= STRETCH or not all(a.flags.c_contiguous for a in arrays):
            yield [arrays]
        else:
            flat = [a.reshape(-1) for a in arrays]
            for i in range(0, size, STRETCH):
                yield [[a[i : i + STRETCH] for a in flat]]
    if gathered:
        yield gathered


def _update(piece: Columns, update: Update) -> None:
    dtype = piece[0][0].dtype
    if len(piece) == 1 and dtype not in HALVES:
        update(piece[0])
        return
    work = [np.concatenate([a.reshape(-1) for a in column], dtype=wide(dtype)) for column in zip(*piece)]
    update(work)
    start = 0
    for arrays in piece:
        stop = start + arrays[0].size
        for i, (array, updated) in enumerate(zip(arrays, work)):
            if i != 1:
                array[...] = updated[start:stop].reshape(array.shape)
        start = stop
