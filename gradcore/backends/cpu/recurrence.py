"""Recurrent cells by NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...expr import Program
from ...expr.numpy_emit import compile_numpy
from ..base import Array, Backend
from ..cpp.types import wide


def _parts(arrays: Sequence[Array], size: int) -> Iterator[Array]:
    return (array[:, at : at + size] for array in arrays for at in range(0, array.shape[1], size))


class Recurrence(Backend):
    """Cells as one ufunc after the other."""

    def cell(self, program: Program, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        work = wide(outs[0].dtype)
        values = compile_numpy(program)(*(x.astype(work, copy=False) for x in _parts(inputs, size)))
        for part, value in zip(_parts(outs, size), values if len(program.outputs) > 1 else (values,)):
            part[...] = value
