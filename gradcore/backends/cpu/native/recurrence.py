"""Recurrent layers as native kernels: all steps in one call, with cells generated from their programs."""

from __future__ import annotations

import functools
from math import ceil
from types import SimpleNamespace

import numpy as np

from ...base import Array
from ...cpp import cells
from ...cpp.types import computed
from ...recurrence import Cell, Direction, Layer, Slopes, Step
from ..backend import CpuBackend
from ..threads import get_num_threads
from .calls import Kernel, functions, over_items

# Rows that a kernel multiplies together: with fewer it reads the weights as often.
_ROWS = 8


def _function(name: str, step: Step, dtype: np.dtype) -> str:
    reads = "".join(f"  const T *const x{i} = x[{i}];\n" for i in range(len(step.reads)))
    writes = "".join(f"  T *const y{i} = y[{i}];\n" for i in range(len(step.writes)))
    return (
        f"void {name}(const T *const *x, T *const *y, long long rows, long long size) {{\n{reads}{writes}"
        "  for (long long row = 0; row < rows; row++) {\n"
        "    GC_INDEPENDENT\n    for (long long j = 0; j < size; j++) {\n"
        + cells.statements(step, computed(dtype), 3)
        + "    }\n  }\n}\n"
    )


@functools.cache
def _kernels(cell: Cell, dtype: np.dtype) -> SimpleNamespace | None:
    text = (
        '#include "host/python.h"\n#include "types.cuh"\n#include "host/functions.h"\n#include "math.cuh"\n'
        f"namespace {{\nconstexpr long long GATES = {cell.gates}, KEPT = {cell.kept};\n"
        f"constexpr bool CELL = {str(cell.with_cell).lower()}, APART = {str(cell.apart).lower()};\n"
        + _function("forward", cell.forward, dtype)
        + _function("backward", cell.backward, dtype)
        + '}  // namespace\n#include "host/recurrence.h"\n'
    )
    return functions(text, ("unroll", "unroll_backward"), dtype, fused=True)


def _over_rows(kernel: Kernel, arrays: tuple[Array | None, ...], made: Layer, gates: int, reverse: bool) -> None:
    (steps, rows, width), size = made.out.shape, made.hidden.shape[2]
    # Each piece packs the weights for itself, so no thread takes more than one.
    piece = max(_ROWS, ceil(rows / get_num_threads()))
    over_items(kernel, arrays, rows, steps * gates * size, steps, rows, size, width, reverse, piece=piece)


class NativeRecurrence(CpuBackend):
    """All steps of some rows in one call."""

    def unroll(self, direction: Direction, gates: Array, made: Layer) -> None:
        cell, h, c, weights, reverse = direction
        native = _kernels(cell, gates.dtype)
        if native is None:
            return super().unroll(direction, gates, made)
        arrays = (gates, h, c, weights.hidden, weights.hidden_bias, weights.projection, *made)
        return _over_rows(native.unroll, arrays, made, cell.gates, reverse)

    def unroll_backward(self, direction: Direction, grad: Array, made: Layer, slopes: Slopes) -> None:
        cell, _, _, weights, reverse = direction
        native = _kernels(cell, grad.dtype)
        if native is None:
            return super().unroll_backward(direction, grad, made, slopes)
        arrays = (grad, direction.state, weights.hidden, weights.projection, made.states, made.kept, *slopes)
        return _over_rows(native.unroll_backward, arrays, made, cell.gates, reverse)
