"""Reductions generated from expressions around kernels/reduce.cuh, and arg_reduce around kernels/arg_reduce.cu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...expr import Program, trace
from ...expr.cpp_emit import Value, emit
from ..base import Array, Number, Reduction
from ..cpp import sources
from ..cpp.emission import InputType, described, indented, kernel_name, number_types, typed
from ..cpp.types import INT64, computed, stored, wide
from .compiler import Compiler
from .elementwise import Elementwise
from .emission import Operands, headers, prologue
from .layout import ReducePlan, plan_reduce

_COMBINE = {"sum": "Sum", "prod": "Prod", "max": "Max", "min": "Min", "any": "Any", "all": "All"}
# What stands for a total, or for totals, in a reduction's end; "moments" are made by this module alone.
_MOMENTS = ("mean", "squares", "n")

_SOURCE = """\
// {key}
struct Map {{
{members}
  template <int N>
  struct Registers {{
{registers}  }};
  template <int N, class At>
  __device__ __forceinline__ void load(Registers<N> &r, const At &at) const {{
{loads}  }}
  template <int N>
  __device__ __forceinline__ {mapped} operator()(const Registers<N> &r, int k, long long) const {{
{statements}    return {value};
  }}
}};

struct Finish {{
  typedef {acc} Acc;
  typedef {combine} Combine;
{finish_members}
  __device__ __forceinline__ void operator()(Acc total, long long output) const {{
{finish_statements}  }}
}};

extern "C" __global__ void __launch_bounds__(256, 1) {name}({parameters}{finish_parameters},
    const gc::Layout<{kept_rank}, {slots}, {index}> kept, const gc::Layout<{reduced_rank}, {slots}, {index}> reduced,
    const {index} outputs, const {index} length, const {index} chunk, {acc} *partials) {{
  const Map map = {{{arguments}}};
  const Finish finish = {{{finish_arguments}}};
  gc::reduce_{form}<{width}, 4>(map, finish, kept, reduced, outputs, length, chunk, partials);
}}

extern "C" __global__ void __launch_bounds__(256, 1) {name}_partials({finish_parameters}, const {acc} *partials,
    const long long outputs, const int splits) {{
  const Finish finish = {{{finish_arguments}}};
  gc::reduce_partials(finish, partials, outputs, splits);
}}
"""
_PARTIALS_BLOCK = (32, 8)


class _Kernel:
    """The two compiled kernels of a reduction and the types of its number arguments."""

    __slots__ = ("finish_numbers", "function", "numbers", "partials")

    def __init__(self, function: Any, partials: Any, numbers: list[str | None], finish_numbers: list[tuple[str, str]]):
        self.function, self.partials, self.numbers, self.finish_numbers = function, partials, numbers, finish_numbers


class Reduce:
    """Runs reductions over arrays of one device."""

    def __init__(self, xp: Any, compiler: Compiler, elementwise: Elementwise):
        self._empty = xp.empty
        self._array_type = xp.ndarray
        self._compiler = compiler
        self._elementwise = elementwise
        self._kernels: dict[Any, Any] = {}

    def __call__(
        self,
        reduction: Reduction,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        keepdims: bool = False,
        parameters: dict[str, Number] | None = None,
        wide_index: bool = False,
        splits: int | None = None,
    ) -> list[Array]:
        """`Backend.reduce`, for one result or several: of a map of several outputs, of which each is combined, or a
        finish of several. All are made in one pass.

        `combine` may be `"moments"`, too: the finish is then one of the `mean`, the sum of the `squares` of what is off
        it, and their number `n`. `wide_index` forces 64-bit indices, `splits` the number of chunks.
        """
        if reduction.map.random:
            # Numbers go by an element's index in the whole shape, which a reduction does not follow.
            mapped = self._elementwise(reduction.map, inputs, compute, [wide(compute)], shape)
            one = trace(lambda *x: x, [f"x{i}" for i in range(len(mapped))])
            reduction, inputs = Reduction(one, reduction.combine, reduction.finish), mapped
        reduced = frozenset(axes)
        if keepdims:
            out_shape = tuple(1 if d in reduced else size for d, size in enumerate(shape))
        else:
            out_shape = tuple(size for d, size in enumerate(shape) if d not in reduced)
        size = math.prod(out_shape)
        outs = [self._empty(out_shape, out_dtype) for _ in (reduction.finish or reduction.map).outputs]
        if size == 0:
            return outs
        types: list[InputType] = []
        arrays = []
        addresses = 0
        for x in inputs:
            if isinstance(x, self._array_type):
                types.append(x.dtype)
                arrays.append(x)
                addresses |= x.data.ptr
            else:
                types.append(bool if isinstance(x, bool) else float)
        widest = max((a.dtype.itemsize for a in arrays), default=8)
        operands = tuple((a.shape, a.strides, a.dtype.itemsize) for a in arrays)
        plan = plan_reduce(shape, axes, operands, widest, addresses & 15 == 0, True, wide_index, splits)
        finish = reduction.finish and reduction.finish.key
        key = (reduction.map.key, reduction.combine, finish, compute, out_dtype, *types, plan.variant)
        kernel = self._kernels.get(key)
        if kernel is None:
            kernel = self._kernels[key] = self._build(reduction, types, compute, out_dtype, plan)
        args: list[Any] = [x if t is None else typed(x, t) for x, t in zip(inputs, kernel.numbers)]
        values = {"count": math.prod(shape[d] for d in axes), **(parameters or {})}
        ends = outs + [typed(values[name], ctype) for name, ctype in kernel.finish_numbers]
        index = np.int64 if plan.wide else np.int32
        partials = None
        if plan.splits > 1:
            partials = self._empty((size * plan.splits * _parts(reduction),), self._acc_dtype(reduction, compute))
        args += ends
        args += (plan.kept_layout, plan.reduced_layout)
        args += (index(plan.outputs), index(plan.length), index(plan.chunk), partials)
        kernel.function(plan.grid, plan.block, tuple(args))
        if plan.splits > 1:
            grid = -(-size // _PARTIALS_BLOCK[1])
            sizes = (np.int64(size), np.int32(plan.splits))
            kernel.partials((grid,), _PARTIALS_BLOCK, (*ends, partials, *sizes))
        return outs

    @staticmethod
    def _acc_dtype(reduction: Reduction, compute: np.dtype) -> np.dtype:
        return np.dtype(np.bool_) if reduction.combine in ("any", "all") else wide(compute)

    def _build(
        self,
        reduction: Reduction,
        types: Sequence[InputType],
        compute: np.dtype,
        out_dtype: np.dtype,
        plan: ReducePlan,
    ) -> _Kernel:
        name = kernel_name(f"reduce_{reduction.combine}", reduction.map)
        ctype = computed(compute)
        acc = stored(self._acc_dtype(reduction, compute))
        text, finish_numbers = source(name, reduction, types, ctype, acc, out_dtype, plan)
        subject = f"{reduction.combine} of {described(reduction.map, types, compute)}"
        function, partials = self._compiler.kernels(text, (name, f"{name}_partials"), subject)
        numbers = number_types(reduction.map, types, ctype)
        return _Kernel(function, partials, [numbers.get(n) for n in reduction.map.inputs], finish_numbers)

    def arg_reduce(
        self, x: Array, axis: int, which: str, wide_index: bool = False, splits: int | None = None
    ) -> tuple[Array, Array]:
        """See `Backend.arg_reduce`."""
        shape = x.shape
        out_shape = shape[:axis] + shape[axis + 1 :]
        values, positions = self._empty(out_shape, x.dtype), self._empty(out_shape, INT64)
        if values.size == 0:
            return values, positions
        if not x.size:
            raise IndexError(f"arg{which}(): Expected reduction dim {axis} to have non-zero size.")
        operand = ((shape, x.strides, x.dtype.itemsize),)
        axes = (axis,) if shape else ()
        plan = plan_reduce(shape, axes, operand, 1, False, False, wide_index, splits)
        key = (which, x.dtype, plan.kept_rank, plan.wide)
        kernels = self._kernels.get(key)
        if kernels is None:
            kernels = self._kernels[key] = self._build_arg_reduce(which, x.dtype, plan)
        index = np.int64 if plan.wide else np.int32
        partials = None
        if plan.splits > 1:
            # Pairs of a value and a position: 16 bytes each.
            partials = self._empty((values.size * plan.splits * 2,), INT64)
        sizes = (index(plan.outputs), index(plan.length), index(plan.chunk))
        layouts = (plan.kept_layout, plan.reduced_layout)
        kernels[0](plan.grid, plan.block, (x, values, positions, *layouts, *sizes, partials))
        if plan.splits > 1:
            grid = -(-values.size // _PARTIALS_BLOCK[1])
            args = (partials, values, positions, np.int64(values.size), np.int32(plan.splits))
            kernels[1]((grid,), _PARTIALS_BLOCK, args)
        return values, positions

    def _build_arg_reduce(self, which: str, dtype: np.dtype, plan: ReducePlan) -> tuple[Any, ...]:
        types = {"T": dtype, "Index": np.dtype(np.int64 if plan.wide else np.int32)}
        text = prologue(types, dtype, KEPT=plan.kept_rank, LARGEST=which == "max") + sources.read("arg_reduce.cu")
        return self._compiler.kernels(text, ("arg_reduce", "arg_reduce_partials"), f"arg{which} of {dtype.name}")


def _parts(reduction: Reduction) -> int:
    """How many numbers a total has."""
    return len(_MOMENTS) if reduction.combine == "moments" else len(reduction.map.outputs)


def source(
    name: str,
    reduction: Reduction,
    types: Sequence[InputType],
    ctype: str,
    acc: str,
    out_dtype: np.dtype,
    plan: ReducePlan,
) -> tuple[str, list[tuple[str, str]]]:
    """The CUDA C++ of a reduction, and the names and C++ types of the numbers that its finish takes."""
    operands = Operands(reduction.map, types, plan.access.patterns, ctype)
    statements, values = operands.statements()
    parts = [f"gc::to<{acc}>({v.text})" for v in values]
    total, combine = acc, f"gc::{_COMBINE.get(reduction.combine)}"
    mapped, value, totals = acc, parts[0], {"acc": "total"}
    if reduction.combine == "moments":
        total, combine = f"gc::Deviations<{acc}>", "gc::Welford"
        totals = {"mean": "total.mean", "squares": "total.squares", "n": "total.count"}
    elif len(parts) > 1:
        mapped = total = f"gc::Several<{acc}, {len(parts)}>"
        combine = f"gc::Together<{combine}>"
        value = f"{mapped}{{{{{', '.join(parts)}}}}}"
        totals = {f"acc{i}": f"total.at[{i}]" for i in range(len(parts))}
    finish_lines, results, numbers = _finish(reduction.finish, ctype, acc, totals)
    out = stored(out_dtype)
    outs = [f"out{i}" for i in range(len(results))]
    finish_lines += [f"{o}[output] = gc::to<{out}>({result});" for o, result in zip(outs, results)]
    dtypes = [t for t in types if isinstance(t, np.dtype)]
    fields = [f"f{i}" for i in range(len(numbers))]
    text = headers("reduce.cuh", reduction.map, (*dtypes, out_dtype)) + _SOURCE.format(
        key=reduction.map.key,
        name=name,
        acc=total,
        mapped=mapped,
        combine=combine,
        members=indented(operands.members, 1),
        registers=indented(operands.registers, 2),
        loads=indented(operands.loads, 2),
        statements=indented(statements, 2),
        value=value,
        finish_members=indented([f"{out} *{o};" for o in outs] + [f"{ctype} {f};" for f in fields], 1),
        finish_statements=indented(finish_lines, 2),
        parameters="".join(f"{p}, " for p in operands.parameters),
        arguments=", ".join(operands.arguments),
        finish_parameters=", ".join([f"{out} *{o}" for o in outs] + [f"const {ctype} {f}" for f in fields]),
        finish_arguments=", ".join(outs + fields),
        kept_rank=plan.kept_rank,
        reduced_rank=plan.reduced_rank,
        slots=max(1, operands.slots),
        index="long long" if plan.wide else "int",
        form="columns" if plan.columns else "rows",
        width=plan.access.width,
    )
    return text, [(n, ctype) for n in numbers]


def _finish(
    finish: Program | None, ctype: str, acc: str, totals: dict[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """The statements of a reduction's end, its values, and the names of the numbers it takes."""
    if finish is None:
        return [], list(totals.values()), []
    numbers = [n for n in finish.inputs if n not in totals]
    values = {n: Value(f"f{i}", ctype) for i, n in enumerate(numbers)}
    lines, found = emit(finish, {**values, **{n: Value(text, acc) for n, text in totals.items()}}, ctype)
    return lines, [v.text for v in found], numbers
