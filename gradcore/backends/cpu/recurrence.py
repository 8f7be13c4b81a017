"""Recurrent cells by NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...expr.numpy_emit import compile_numpy
from ..base import Array, Backend
from ..cpp.types import wide
from ..recurrence import Step


def _parts(arrays: Sequence[Array], size: int) -> Iterator[Array]:
    return (array[:, at : at + size] for array in arrays for at in range(0, array.shape[1], size))


class Recurrence(Backend):
    """Cells as one ufunc after the other."""

    def cell(self, step: Step, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        work = wide(outs[0].dtype)
        values = compile_numpy(step.program)(*(x.astype(work, copy=False) for x in _parts(inputs, size)))
        for part, value in zip(_parts(outs, size), values if len(step.program.outputs) > 1 else (values,)):
            part[...] = value
