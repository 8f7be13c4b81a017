"""Fused elementwise kernels, generated from scalar expressions around kernels/elementwise.cuh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...expr import Program
from ..base import Array, Number
from ..cpp.emission import InputType, described, indented, kernel_name, number_types, typed
from ..cpp.types import computed, stored
from .compiler import Compiler
from .emission import Operands, headers
from .layout import Access, ElementwisePlan, plan_elementwise, vector_width

BLOCK = 256

_BODY = """\
// {key}
struct Body {{
{members}
  template <int N>
  struct Registers {{
{registers}  }};
  template <int N, class At>
  __device__ __forceinline__ void load(Registers<N> &r, const At &at) const {{
{loads}  }}
  template <int N>
  __device__ __forceinline__ void compute(Registers<N> &r, int k, unsigned long long index) const {{
{statements}  }}
  template <int N>
  __device__ __forceinline__ void store(const Registers<N> &r, long long first) const {{
{stores}  }}
}};

"""
_FLAT = """\
extern "C" __global__ void __launch_bounds__({block}, 1) {name}({parameters}, const long long n) {{
  const Body body = {{{arguments}}};
  gc::elementwise_flat<{width}, {unroll}>(body, n);
}}
"""
_STRIDED = """\
extern "C" __global__ void __launch_bounds__({block}, 1) {name}({parameters},
    const gc::Layout<{rank}, {slots}, {index}> layout, const {index} vectors) {{
  const Body body = {{{arguments}}};
  gc::elementwise_strided<{width}, {unroll}>(body, layout, vectors);
}}
"""


class _Kernel:
    """A compiled kernel, the types of its number arguments, and how many elements a block takes."""

    __slots__ = ("function", "numbers", "per_block", "unroll", "width")

    def __init__(self, function: Any, numbers: list[str | None], width: int, unroll: int):
        self.function, self.numbers, self.width, self.unroll = function, numbers, width, unroll


class Elementwise:
    """Runs programs over arrays of one device."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._empty = xp.empty
        self._array_type = xp.ndarray
        self._compiler = compiler
        self._kernels: dict[Any, _Kernel] = {}

    def __call__(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
        wide: bool = False,
    ) -> list[Array]:
        """See `Backend.elementwise`; `wide` forces 64-bit indices."""
        outs = [self._empty(shape, d) for d in out_dtypes]
        n = math.prod(shape)
        if n == 0:
            return outs
        array_type = self._array_type
        types: list[InputType] = []
        arrays = []
        whole = True  # every array is contiguous and of the full shape
        addresses = 0
        for x in inputs:
            if isinstance(x, array_type):
                types.append(x.dtype)
                arrays.append(x)
                addresses |= x.data.ptr
                if whole and (x.shape != shape or not x.flags.c_contiguous):
                    whole = False
            else:
                types.append(bool if isinstance(x, bool) else float)
        aligned = addresses & 15 == 0
        if whole:
            key = (program.key, compute, *types, *out_dtypes, aligned)
            plan = None
        else:
            widest = max(d.itemsize for d in (*out_dtypes, *(a.dtype for a in arrays)))
            operands = tuple((a.shape, a.strides, a.dtype.itemsize) for a in arrays)
            plan = plan_elementwise(shape, operands, widest, aligned, wide)
            key = (program.key, compute, *types, *out_dtypes, plan.variant)
        kernel = self._kernels.get(key)
        if kernel is None:
            kernel = self._kernels[key] = self._build(program, types, compute, out_dtypes, plan, aligned)
        args: list[Any] = [x if ctype is None else typed(x, ctype) for x, ctype in zip(inputs, kernel.numbers)]
        args += outs
        if plan is None or plan.flat:
            vectors = n // kernel.width
            args.append(np.int64(n))
        else:
            vectors = plan.count
            args += (plan.layout, np.int64(vectors) if plan.wide else np.int32(vectors))
        per_block = BLOCK * kernel.unroll
        kernel.function((max(1, -(-vectors // per_block)),), (BLOCK,), tuple(args))
        return outs

    def _build(
        self,
        program: Program,
        types: Sequence[InputType],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        plan: ElementwisePlan | None,
        aligned: bool,
    ) -> _Kernel:
        dtypes = [t for t in types if isinstance(t, np.dtype)]
        if plan is None:
            widest = max(d.itemsize for d in (*dtypes, *out_dtypes))
            access, flat, rank, wide = Access("v" * len(dtypes), vector_width(widest) if aligned else 1), True, 1, False
        else:
            access, flat, rank, wide = plan.access, plan.flat, plan.rank, plan.wide
        # Two to four loads of a thread in flight hide memory's latency; more would cost registers.
        unroll = 2 if len(dtypes) in (1, 2) else 1
        if access.width == 1:
            unroll *= 2
        name = kernel_name("elementwise", program)
        text = source(name, program, types, compute, out_dtypes, access, flat, rank, wide, unroll)
        (function,) = self._compiler.kernels(text, (name,), described(program, types, compute))
        numbers = number_types(program, types, computed(compute))
        return _Kernel(function, [numbers.get(n) for n in program.inputs], access.width, unroll)


def source(
    name: str,
    program: Program,
    types: Sequence[InputType],
    compute: np.dtype,
    out_dtypes: Sequence[np.dtype],
    access: Access,
    flat: bool,
    rank: int,
    wide: bool,
    unroll: int,
) -> str:
    """The CUDA C++ of one elementwise kernel."""
    operands = Operands(program, types, access.patterns, computed(compute))
    statements, values = operands.statements()
    outs = [stored(d) for d in out_dtypes]
    parameters = operands.parameters + [f"{t} *__restrict__ q{i}" for i, t in enumerate(outs)]
    arguments = operands.arguments + [f"q{i}" for i in range(len(outs))]
    registers = operands.registers + [f"gc::Vec<{t}, N> y{i};" for i, t in enumerate(outs)]
    results = [f"r.y{i}[k] = gc::to<{t}>({v.text});" for i, (t, v) in enumerate(zip(outs, values))]
    body = _BODY.format(
        key=program.key,
        members=indented(operands.members + [f"{t} *q{i};" for i, t in enumerate(outs)], 1),
        registers=indented(registers, 2),
        loads=indented(operands.loads, 2),
        statements=indented(statements + results, 2),
        stores=indented([f"gc::store<N>(q{i} + first, r.y{i});" for i in range(len(outs))], 2),
    )
    dtypes = [t for t in types if isinstance(t, np.dtype)]
    return (
        headers("elementwise.cuh", program, (*dtypes, *out_dtypes))
        + body
        + (_FLAT if flat else _STRIDED).format(
            block=BLOCK,
            name=name,
            parameters=", ".join(parameters),
            arguments=", ".join(arguments),
            width=access.width,
            unroll=unroll,
            rank=rank,
            slots=operands.slots,
            index="long long" if wide else "int",
        )
    )
