"""Updates of many arrays at once as native kernels, generated from their programs: see kernels/host/table.h."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from ....expr import Program
from ....expr.cpp_emit import Value, emit
from ...base import Array, Number
from ...cpp.emission import indented
from ...cpp.types import FLOAT32, FLOAT64, HALVES, computed
from ..backend import CpuBackend
from ..threads import parallel
from .calls import GRAIN, functions


class NativeMultiTensor(CpuBackend):
    """Updates of any number of parameters in one call."""

    def multi_tensor(
        self, name: str, program: Program, columns: Sequence[Sequence[Array]], numbers: Sequence[Number | Array]
    ) -> None:
        if not columns[0]:
            return
        lists = tuple(columns)
        native = _kernels(program, len(columns), columns[0][0].dtype)
        total = -1 if native is None else native.total.short(lists)
        if native is None or total < 0:
            super().multi_tensor(name, program, columns, numbers)
            return
        values = [float(n) for n in numbers]
        if total < GRAIN:
            native.update.short(lists, 0, total, *values)
        else:
            run = native.update.long
            parallel(lambda begin, end: run(lists, begin, end, *values), total, GRAIN)


@functools.cache
def _kernels(program: Program, columns: int, dtype: np.dtype) -> SimpleNamespace | None:
    if dtype not in (FLOAT32, FLOAT64, *HALVES):
        return None
    return functions(_text(program, columns, computed(dtype)), ("total", "update"), dtype)


def _text(program: Program, columns: int, compute: str) -> str:
    """A kernel over the elements from `begin` to `end` of all parameters."""
    numbers = range(columns, len(program.inputs))
    given = "".join(f", double n{i}" for i in numbers)
    values = {name: Value(f"x{i}", compute) for i, name in enumerate(program.inputs)}
    lines, outputs = emit(program, values, compute)
    changed = [0, *range(2, columns)]
    pointers = [f"{'const ' * (i == 1)}T *p{i} = table.at<{'const ' * (i == 1)}T>(row, {i});" for i in range(columns)]
    loads = [f"const A x{i} = gc::to<A>(p{i}[i]);" for i in range(columns)]
    stores = [f"p{i}[i] = gc::to<T>({out.text});" for i, out in zip(changed, outputs)]
    return (
        '#include "host/table.h"\n#include "types.cuh"\n#include "host/functions.h"\n#include "math.cuh"\n'
        f"namespace {{\nvoid update(const gc::Table &table, long long begin, long long end{given}) {{\n"
        + indented([f"const A x{i} = static_cast<A>(n{i});" for i in numbers], 1)
        + "  table.each(begin, end, [=, &table](Py_ssize_t row, long long first, long long last) {\n"
        + indented(pointers, 2)
        + "    GC_INDEPENDENT\n    for (long long i = first; i < last; i++) {\n"
        + indented(loads + lines + stores, 3)
        + "    }\n  });\n}\n}  // namespace\nGC_PYTHON(update)\n"
    )
