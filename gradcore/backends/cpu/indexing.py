"""Values combined with indexed places, in NumPy: ufuncs' `at`; rows one by one, or those of one place together."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..base import Array, Backend, BadIndex
from ..cpp.types import FLOAT32, HALVES

# Elements of a slice from which it is added by a call of its own.
_LONG = 256

_COMBINE: dict[str, np.ufunc] = {"prod": np.multiply, "max": np.maximum, "min": np.minimum}


class Slices(NamedTuple):
    """What a key of index arrays names: slices along one dimension, or along several taken as one."""

    index: Array  # a vector, from the start or from the end
    outer: int
    rows: int
    inner: int
    shape: tuple[int, ...]  # of the values
    axis: int  # the (first) dimension

    @classmethod
    def of(cls, target: Array, key: Any) -> Slices | None:
        """The slices; None for a key with other parts, in another order."""
        parts = key if isinstance(key, tuple) else (key,)
        axis = 0
        while axis < len(parts) and parts[axis].__class__ is slice and parts[axis] == slice(None):
            axis += 1
        arrays = parts[axis:]
        if not arrays or any(a.__class__ is not np.ndarray or a.dtype.kind != "i" for a in arrays):
            return None
        sizes = target.shape[axis : axis + len(arrays)]
        index = arrays[0]
        for size, more in zip(sizes[1:], arrays[1:]):
            index = np.where(index < 0, index + sizes[0], index) if index is arrays[0] else index
            index = index * size + np.where(more < 0, more + size, more)
        after = target.shape[axis + len(arrays) :]
        shape = (*target.shape[:axis], *index.shape, *after)
        return cls(index.reshape(-1), prod(target.shape[:axis]), prod(sizes), prod(after), shape, axis)


class Indexing(Backend):
    """What index arrays name: checked, and combined with values in the order of the index."""

    def check_index(self, op: str, index: Array, size: int, dim: int, negative: bool = True) -> None:
        lowest = -size if negative else 0
        if index.size and (index.min() < lowest or index.max() >= size):
            bad = index[(index < lowest) | (index >= size)].flat[0]
            raise BadIndex(f"{op}(): index {bad} is out of bounds for dimension {dim} with size {size}")

    def index_add(self, target: Array, key: Any, values: Array) -> None:
        if target.dtype in HALVES:  # added up in float32 and rounded once
            total = target.astype(FLOAT32)
            self.index_add(total, key, values.astype(FLOAT32))
            target[...] = total
            return
        slices = Slices.of(target, key) if values.ndim > 1 else None
        if slices is None or slices.outer != 1 or slices.inner < 2 or not target.flags.c_contiguous:
            np.add.at(target, key, values)
            return
        rows, index = target.reshape(slices.rows, slices.inner), slices.index
        parts = np.broadcast_to(values, slices.shape).reshape(-1, slices.inner)
        if slices.inner >= _LONG:
            for row, part in zip(index.tolist(), parts):
                rows[row] += part
        elif index.size:
            _add_segments(rows, index, parts)

    def scatter(self, target: Array, index: Array, values: Array, axis: int, combine: str) -> None:
        key = self._along(target, index, axis)
        if combine in ("last", "unique"):
            target[key] = values
        elif combine == "sum":
            if target.dtype in HALVES:
                self.index_add(target, key, values)
            else:
                np.add.at(target, key, values)
        else:
            _COMBINE[combine].at(target, key, values)


def _add_segments(rows: Array, index: Array, parts: Array) -> None:
    """`np.add.at` for whole rows: those of one place are summed together."""
    places = np.arange(len(rows))[index]  # from the start; an error if there is none
    order = np.argsort(places, kind="stable")
    places = places[order]
    starts = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1])))
    rows[places[starts]] += np.add.reduceat(parts[order], starts, axis=0, dtype=rows.dtype)
