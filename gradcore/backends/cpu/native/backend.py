"""The CPU with native kernels: rows, optimizers and what is large run in them, the rest on NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ....expr import Program
from ...base import Array, Backend, Number, Reduction
from ...cpp.types import HALVES
from ..backend import LARGE
from .convolution import NativeConvolution
from .indexing import NativeIndexing
from .multi_tensor import NativeMultiTensor
from .norms import NativeNorms
from .order import NativeOrder
from .pooling import NativePooling
from .recurrence import NativeRecurrence
from .rows import NativeRows
from .sequences import NativeSequences

if TYPE_CHECKING:
    from .elementwise import Elementwise
    from .reduce import Reduce

# Operators that cost no more than to read and write their operands. One alone NumPy runs as fast, until there is enough
# for several threads; and so with plain sums.
_CHEAP = frozenset(("add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", "minimum"))
_ENOUGH, _ENOUGH_TO_SUM, _LONG_ROW = 1 << 20, 1 << 18, 64


class NativeBackend(
    NativeRows,
    NativeNorms,
    NativeConvolution,
    NativePooling,
    NativeRecurrence,
    NativeIndexing,
    NativeOrder,
    NativeSequences,
    NativeMultiTensor,
):
    """NumPy on the host, and C++ for what is large.

    No compiler is looked for before the first large operation; without one, everything runs on NumPy.
    """

    @cached_property
    def _native(self) -> tuple[Elementwise, Reduce] | None:
        from . import library

        if library.problem():
            return None
        from .elementwise import Elementwise
        from .reduce import Reduce

        return Elementwise(), Reduce()

    def large_elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        native = None if _numpy_suffices(program, compute, shape) else self._native
        outs = native and native[0](program, inputs, compute, out_dtypes, shape)
        return outs or super().large_elementwise(program, inputs, compute, out_dtypes, shape)

    def large_reduce(
        self,
        reduction: Reduction,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        keepdims: bool,
        parameters: dict[str, Number] | None = None,
    ) -> Array:
        native = None if _numpy_reduces(reduction, compute, shape, axes) else self._native
        out = native and native[1](reduction, inputs, compute, out_dtype, shape, axes, keepdims, parameters)
        if out is None:
            return super().large_reduce(reduction, inputs, compute, out_dtype, shape, axes, keepdims, parameters)
        return out

    def column_sum(self, x: Array) -> Array:
        return Backend.column_sum(self, x) if x.size >= LARGE else super().column_sum(x)


def _numpy_suffices(program: Program, compute: np.dtype, shape: tuple[int, ...]) -> bool:
    if program.operations != 1 or math.prod(shape) >= _ENOUGH or compute in HALVES:
        return False
    operator = program.nodes[-1].op
    return operator is not None and operator.name in _CHEAP


def _numpy_reduces(reduction: Reduction, compute: np.dtype, shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether whole rows of an array as it is are reduced: there NumPy's loops are as good, and better at extremes."""
    if reduction.map.operations or compute in HALVES or len(shape) - 1 not in axes or shape[-1] < _LONG_ROW:
        return False
    return reduction.combine in ("max", "min") or (reduction.combine == "sum" and math.prod(shape) < _ENOUGH_TO_SUM)
