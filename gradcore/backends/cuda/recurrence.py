"""Recurrent cells, generated from their programs: a thread for each unit of each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import Array
from ..cpp import cells
from ..cpp.types import computed
from ..recurrence import Step
from .compiler import Compiler
from .emission import prologue

_BLOCK = 128


class Cells:
    """Runs cells on arrays of one device."""

    def __init__(self, compiler: Compiler):
        self._compiler = compiler
        self._kernels: dict[Any, Any] = {}

    def __call__(self, step: Step, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        """See `Backend.cell`."""
        arrays = (*inputs, *outs)
        rows, dtype = arrays[0].shape[0], arrays[0].dtype
        if not rows:
            return
        kernel = self._kernels.get((step, dtype))
        if kernel is None:
            (kernel,) = self._compiler.kernels(source(step, dtype), ("cell",), f"a recurrent cell of {dtype.name}")
            self._kernels[step, dtype] = kernel
        kernel((rows, -(-size // _BLOCK)), (_BLOCK,), (*arrays, np.int64(size)))


def source(step: Step, dtype: np.dtype) -> str:
    """The CUDA C++ of a cell.

    Layout: arrays (rows, count * size) are contiguous, `count` values of each unit side by side; neighbouring threads
    take neighbouring units. Bytes moved: all arrays once, of which the gates were just written by the product before.
    What is written may also be read, each element by the thread that writes it.
    """
    return (
        prologue({"T": dtype}, dtype) + '#include "types.cuh"\n#include "math.cuh"\n'
        f'extern "C" __global__ void __launch_bounds__({_BLOCK}, 1) cell({cells.parameters(step)}, '
        "const long long size) {\n"
        "  const long long row = blockIdx.x, j = blockIdx.y * (long long)blockDim.x + threadIdx.x;\n"
        "  if (j < size) {\n" + cells.statements(step, computed(dtype), 2) + "  }\n}\n"
    )
