"""Recurrent cells as native kernels, generated from their programs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ...base import Array
from ...cpp import cells
from ...cpp.types import computed
from ...recurrence import Step
from ..backend import CpuBackend
from .calls import Kernel, functions, over_rows


@functools.cache
def _kernel(step: Step, dtype: np.dtype) -> Kernel | None:
    text = (
        '#include "host/python.h"\n#include "types.cuh"\n#include "host/functions.h"\n#include "math.cuh"\n'
        "namespace "
        f"{{\nvoid cell({cells.parameters(step)},\n"
        "          long long begin, long long end, long long size) {\n"
        "  for (long long row = begin; row < end; row++) {\n"
        "    GC_INDEPENDENT\n    for (long long j = 0; j < size; j++) {\n"
        + cells.statements(step, computed(dtype), 3)
        + "    }\n  }\n}\n}  // namespace\nGC_PYTHON(cell)\n"
    )
    found = functions(text, ("cell",), dtype)
    return None if found is None else found.cell


class NativeRecurrence(CpuBackend):
    """A step of all units in one call."""

    def cell(self, step: Step, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        kernel = _kernel(step, inputs[0].dtype)
        if kernel is None:
            super().cell(step, inputs, outs, size)
        else:
            over_rows(kernel, (*inputs, *outs), inputs[0].shape[0], size)
