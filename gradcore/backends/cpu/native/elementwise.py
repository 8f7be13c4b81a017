"""Programs as native loops: one pass over the inputs for all outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....expr import Program
from ...base import Array, Number
from ...cpp.emission import InputType, indented
from ...cpp.types import computed, stored
from . import pool
from .emission import Operands, address, arguments, function, headers, input_types, packer, supported
from .layout import described, in_order, plan_elementwise
from .library import Kernels, load

_SOURCE = """\
// {key}
GC_EXPORT void run(const long long *a, long long begin, long long end) {{
{kernel}  const long long *const layout = a + {count};
  gc::Runs<{operands}> runs(layout, gc::first_of_run(layout, begin), gc::first_of_run(layout, end));
  const auto at = [&](int operand) {{ return runs.offset[operand]; }};
  const auto stride = [&](int operand) {{ return runs.stride(operand); }};
  for (; runs.more(); runs.next()) {{
{run}    GC_INDEPENDENT
    for (long long i = 0; i < runs.length; i++) {{
{element}    }}
  }}
}}
"""


class _Kernel:
    """A loaded kernel, and how its arguments are packed."""

    __slots__ = ("pack", "run", "slots")

    def __init__(self, run: Any, slots: Sequence[str | None], outputs: int):
        self.run, self.slots = run, slots
        self.pack = packer([*slots, *[None] * outputs]).pack


class Elementwise:
    """Runs programs; see `Backend.elementwise`."""

    def __init__(self) -> None:
        self._kernels = Kernels()

    def __call__(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array] | None:
        """The outputs; None if there is no native kernel for this."""
        arrays = [x for x in inputs if x.__class__ is np.ndarray]
        plan = plan_elementwise(shape, described(arrays))
        if plan is None:
            return None
        types = input_types(inputs)
        key = (program, compute, *types, *out_dtypes, plan.patterns)
        kernel = self._kernels.get(key, lambda: _build(program, types, compute, out_dtypes, plan.patterns))
        values = kernel and arguments(inputs, kernel.slots)
        if values is None:
            return None
        if plan.order is None:
            outs = [np.empty(shape, d) for d in out_dtypes]
        else:
            outs = [in_order(shape, plan.order, d) for d in out_dtypes]
        packed = kernel.pack(*values, *map(address, outs)) + plan.layout
        pool.run(kernel.run, packed, plan.runs, plan.per_run)
        return outs


def _build(
    program: Program,
    types: Sequence[InputType],
    compute: np.dtype,
    out_dtypes: Sequence[np.dtype],
    patterns: str,
) -> _Kernel | None:
    if not supported(program, types, compute, out_dtypes):
        return None
    operands = Operands(program, types, patterns, computed(compute))
    library = load(source(operands, program, types, out_dtypes))
    return _Kernel(function(library, "run"), operands.slots, len(out_dtypes))


def source(operands: Operands, program: Program, types: Sequence[InputType], out_dtypes: Sequence[np.dtype]) -> str:
    """The C++ of an elementwise kernel."""
    dtypes = [t for t in types if isinstance(t, np.dtype)]
    kernel, run, element = list(operands.kernel), list(operands.run), list(operands.element)
    for k, (dtype, value) in enumerate(zip(out_dtypes, operands.values)):
        ctype = stored(dtype)
        kernel.append(f"{ctype} *const r{k} = gc::Argument<{ctype} *>::from(a[{len(types) + k}]);")
        run.append(f"{ctype} *const q{k} = r{k} + at({len(dtypes)});")
        element.append(f"q{k}[i] = gc::to<{ctype}>({value.text});")
    return headers("host/runs.h", (*dtypes, *out_dtypes)) + _SOURCE.format(
        key=program.key,
        kernel=indented(kernel, 1),
        count=len(types) + len(out_dtypes),
        operands=len(dtypes) + 1,  # all outputs move alike
        run=indented(run, 2),
        element=indented(element, 3),
    )
