"""Reductions as native loops, with the expression that is reduced, and the one at the end, compiled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....expr.cpp_emit import Value, emit
from ...base import Array, Number, Reduction
from ...cpp.emission import InputType, indented
from ...cpp.types import computed, stored, wide
from . import pool
from .emission import Operands, address, arguments, function, headers, input_types, packer, slot, supported
from .layout import ReducePlan, described, in_order, plan_reduce
from .library import Kernels, load

_COMBINE = {"sum": "Sum", "prod": "Prod", "max": "Max", "min": "Min", "any": "Any", "all": "All"}
_SOURCE = """\
// {combine} of {key}
struct Kernel {{
  typedef {acc} Acc;
  typedef gc::{combine} Combine;
  enum {{ OPERANDS = {operands} }};
  const long long *a;
  Acc *partials;

  // Calls use(value), where value(i) is the mapped element i of the run that begins at these offsets.
  template <class Strides, class Use>
  __forceinline__ void map(const long long *kept, const long long *reduced, const Strides &strides, Use use) const {{
    const auto at = [&](int operand) {{ return kept[operand] + reduced[operand]; }};
    const auto stride = [&](int operand) {{ return strides.stride(operand); }};
{kernel}{run}    use([&](long long i) __attribute__((always_inline)) {{
{element}      return gc::to<Acc>({value});
    }});
  }}

  void finish(long long output, const Acc *values, long long n) const {{
{finish_kernel}    GC_INDEPENDENT
    for (long long i = 0; i < n; i++) {{
      const Acc total = values[i];
{finish}      out[output + i] = gc::to<{out}>({finish_value});
    }}
  }}
}};

GC_EXPORT void run(const long long *a, long long begin, long long end) {{
  const gc::Reduction shape(a + {shape}, Kernel::OPERANDS);
  const Kernel kernel = {{a, gc::Argument<{acc} *>::from(a[{shape} - 1])}};
  gc::reduce_{form}(kernel, shape, begin, end);
}}

GC_EXPORT void finish(const long long *a, long long, long long) {{
  const gc::Reduction shape(a + {shape}, Kernel::OPERANDS);
  const Kernel kernel = {{a, gc::Argument<{acc} *>::from(a[{shape} - 1])}};
  gc::halve<Kernel::Combine>(kernel.partials, shape.parts, shape.outputs);
  kernel.finish(0, kernel.partials, shape.outputs);
}}
"""


class _Kernel:
    """The two functions of a loaded kernel, and how its arguments are packed."""

    __slots__ = ("acc", "ends", "finish", "pack", "run", "slots")

    def __init__(self, library: Any, slots: Sequence[str | None], ends: Sequence[str], acc: np.dtype):
        self.run, self.finish = function(library, "run"), function(library, "finish")
        self.slots, self.ends, self.acc = slots, ends, acc
        self.pack = packer([*slots, None, *ends, None, None, None, None]).pack


class Reduce:
    """Runs reductions; see `Backend.reduce`."""

    def __init__(self) -> None:
        self._kernels = Kernels()

    def __call__(
        self,
        reduction: Reduction,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        keepdims: bool,
        parameters: dict[str, Number] | None = None,
    ) -> Array | None:
        """The result; None if there is no native kernel for this."""
        arrays = [x for x in inputs if x.__class__ is np.ndarray]
        plan = plan_reduce(shape, axes, described(arrays))
        if plan is None:
            return None
        types = input_types(inputs)
        finish = reduction.finish
        key = (reduction.map, reduction.combine, finish, compute, out_dtype, *types, plan.patterns, plan.columns)
        kernel = self._kernels.get(key, lambda: _build(reduction, types, compute, out_dtype, plan))
        values = kernel and arguments(inputs, kernel.slots)
        if values is None:
            return None
        kept = [d for d in range(len(shape)) if d not in axes]
        order = range(len(kept)) if plan.order is None else [kept.index(d) for d in plan.order]
        out = in_order(tuple([shape[d] for d in kept]), order, out_dtype)
        ends: list[Number] = []
        if finish is not None:
            given = {"count": plan.length, **(parameters or {})}
            ends = [slot(given[n], t) for n, t in zip((n for n in finish.inputs if n != "acc"), kernel.ends)]
        partials = np.empty(plan.parts * plan.outputs if plan.parts > 1 else 0, kernel.acc)
        sizes = (plan.outputs, plan.length, plan.parts)
        packed = kernel.pack(*values, address(out), *ends, address(partials), *sizes) + plan.layouts
        pool.run(kernel.run, packed, plan.items, plan.per_item)
        if plan.parts > 1:
            kernel.finish(packed, 0, 0)
        if keepdims:
            return out.reshape([1 if d in axes else size for d, size in enumerate(shape)])
        return out


def _build(
    reduction: Reduction, types: Sequence[InputType], compute: np.dtype, out_dtype: np.dtype, plan: ReducePlan
) -> _Kernel | None:
    if not supported(reduction.map, types, compute, [out_dtype]):
        return None
    # Truth values as numbers: what mixes bools in memory with comparisons is not vectorised.
    acc = np.dtype(np.uint8) if reduction.combine in ("any", "all") else wide(compute)
    operands = Operands(reduction.map, types, plan.patterns, computed(compute))
    ends = [computed(compute)] * (len(reduction.finish.inputs) - 1 if reduction.finish else 0)
    library = load(source(reduction, operands, types, computed(compute), acc, out_dtype, plan.columns))
    return _Kernel(library, operands.slots, ends, acc)


def source(
    reduction: Reduction,
    operands: Operands,
    types: Sequence[InputType],
    ctype: str,
    acc: np.dtype,
    out_dtype: np.dtype,
    columns: bool,
) -> str:
    """The C++ of a reduction."""
    dtypes = [t for t in types if isinstance(t, np.dtype)]
    out, end = stored(out_dtype), len(types)
    finish_kernel = [f"{out} *const out = gc::Argument<{out} *>::from(a[{end}]);"]
    finish_lines: list[str] = []
    finish_value = "total"
    end += 1
    if reduction.finish is not None:
        values = {"acc": Value("total", stored(acc))}
        for name in reduction.finish.inputs:
            if name != "acc":
                finish_kernel.append(f"const {ctype} f{end} = gc::Argument<{ctype}>::from(a[{end}]);")
                values[name] = Value(f"f{end}", ctype)
                end += 1
        finish_lines, (result,) = emit(reduction.finish, values, ctype)
        finish_value = result.text
    return headers("host/reduce.h", (*dtypes, out_dtype)) + _SOURCE.format(
        key=reduction.map.key,
        combine=_COMBINE[reduction.combine],
        acc=stored(acc),
        operands=len(dtypes),
        kernel=indented(operands.kernel, 2),
        run=indented(operands.run, 2),
        element=indented(operands.element, 3),
        value=operands.values[0].text,
        finish_kernel=indented(finish_kernel, 2),
        finish=indented(finish_lines, 3),
        finish_value=finish_value,
        out=out,
        shape=end + 1,
        form="columns" if columns else "rows",
    )
