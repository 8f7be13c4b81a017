"""Recurrent cells as native kernels, generated from their programs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from ....expr import Program
from ...base import Array
from ...cpp import cells
from ...cpp.types import computed
from ..backend import CpuBackend
from .calls import functions, over_rows


@functools.cache
def _kernel(program: Program, reads: cells.Counts, writes: cells.Counts, dtype: np.dtype) -> SimpleNamespace | None:
    text = (
        '#include "host/python.h"\n#include "types.cuh"\n#include "host/functions.h"\n#include "math.cuh"\n'
        f"namespace {{\nvoid cell({cells.parameters(reads, writes)},\n"
        "          long long begin, long long end, long long size) {\n"
        "  for (long long row = begin; row < end; row++) {\n"
        "    GC_INDEPENDENT\n    for (long long j = 0; j < size; j++) {\n"
        + cells.statements(program, reads, writes, computed(dtype), 3)
        + "    }\n  }\n}\n}  // namespace\nGC_PYTHON(cell)\n"
    )
    return functions(text, ("cell",), dtype)


class NativeRecurrence(CpuBackend):
    """A step of all units in one call."""

    def cell(self, program: Program, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        arrays = (*inputs, *outs)
        found = _kernel(program, cells.counts(inputs, size), cells.counts(outs, size), arrays[0].dtype)
        if found is None:
            super().cell(program, inputs, outs, size)
        else:
            over_rows(found.cell, arrays, arrays[0].shape[0], size)
