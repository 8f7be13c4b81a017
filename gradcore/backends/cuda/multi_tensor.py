"""Updates of many arrays in one launch for each combination of dtypes, generated from their programs: see
kernels/multi_tensor.cuh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...expr import Program
from ...expr.cpp_emit import Value, emit
from ..base import Array, Number
from ..cpp.emission import indented
from ..cpp.types import computed, half_header, scalar, stored, wide
from .compiler import Compiler
from .layout import vector_width
from .memory import constant

CHUNK = 8192
_BLOCK = 256
# Address tables are small, but gradients that move at every step would fill memory with them.
_MOST_TABLES = 64


class MultiTensor:
    """Updates one device's arrays."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._xp, self._array_type = xp, xp.ndarray
        self._compiler = compiler
        self._kernels: dict[Any, Any] = {}
        self._addresses: dict[tuple[int, ...], Array] = {}
        self._chunks: dict[tuple[int, ...], tuple[Array, int]] = {}

    def update(
        self,
        name: str,
        program: Program,
        columns: Sequence[Sequence[Array]],
        numbers: Sequence[Number | Array],
        flagged: tuple[Program, Array] | None = None,
    ) -> None:
        """See `Backend.multi_tensor` and, with `flagged`, `multi_tensor_flagged`."""
        flag, outs = (None, ()) if flagged is None else (flagged[0], flagged[1:])
        groups: dict[tuple[np.dtype, ...], list[tuple[Array, ...]]] = {}
        scattered: list[tuple[Array, Array]] = []  # arrays that are not contiguous, and their contiguous copies
        for arrays in zip(*columns):
            if arrays[0].size == 0:
                continue
            if not all(a.flags.c_contiguous for a in arrays):
                whole = tuple(self._xp.ascontiguousarray(a) for a in arrays)
                scattered += [(a, w) for i, (a, w) in enumerate(zip(arrays, whole)) if a is not w and i != 1]
                arrays = whole
            groups.setdefault(tuple([a.dtype for a in arrays]), []).append(arrays)
        for dtypes, tensors in groups.items():
            compute = wide(dtypes[0])
            there = tuple([isinstance(n, self._array_type) for n in numbers])
            kernel, number = self._kernel(name, program, dtypes, there, flag)
            chunks, blocks = self._chunk_table(tuple(arrays[0].size for arrays in tensors))
            tables = (self._address_table(tensors), chunks, np.int32(len(tensors)))
            given: list[Any] = [n.astype(compute, copy=False) if hasattr(n, "astype") else number(n) for n in numbers]
            kernel((blocks,), (_BLOCK,), (*tables, *given, *outs))
        for array, copy in scattered:
            array[...] = copy

    def reduce(self, name: str, map: Program, combine: str, arrays: Sequence[Array]) -> list[Array]:
        """What `Backend.multi_tensor_reduce` combines in the end: for each dtype, a value for each block."""
        groups: dict[np.dtype, list[tuple[Array]]] = {}
        for x in arrays:
            if x.size:
                groups.setdefault(x.dtype, []).append((self._xp.ascontiguousarray(x),))
        partials = []
        for dtype, tensors in groups.items():
            kernel = self._reduction(name, map, combine, dtype)
            chunks, blocks = self._chunk_table(tuple(x.size for (x,) in tensors))
            out = self._xp.empty((blocks,), wide(dtype))
            kernel((blocks,), (_BLOCK,), (self._address_table(tensors), chunks, np.int32(len(tensors)), out))
            partials.append(out)
        return partials

    def _reduction(self, name: str, map: Program, combine: str, dtype: np.dtype) -> Any:
        key = (name, map, combine, dtype)
        found = self._kernels.get(key)
        if found is None:
            kernel = f"multi_tensor_{name}"
            text = _reduction_text(kernel, map, combine, dtype)
            (found,) = self._compiler.kernels(text, (kernel,), f"the {name} of {dtype.name} tensors")
            self._kernels[key] = found
        return found

    def _kernel(
        self, name: str, program: Program, dtypes: tuple[np.dtype, ...], there: tuple[bool, ...], flag: Program | None
    ) -> Any:
        key = (name, program, dtypes, there, flag)
        found = self._kernels.get(key)
        if found is None:
            compute, function = computed(wide(dtypes[0])), f"multi_tensor_{name}"
            text = _text(function, program, dtypes, there, compute, flag)
            subject = f"the {name} step of {dtypes[0].name} parameters"
            (kernel,) = self._compiler.kernels(text, (function,), subject)
            found = self._kernels[key] = (kernel, scalar(compute))
        return found

    def _address_table(self, tensors: Sequence[tuple[Array, ...]]) -> Array:
        """Where the tensors lie, kind by kind, on the device."""
        # A table is copied there in the current stream, and what is done in another one could come before.
        stream = self._xp.cuda.get_current_stream().ptr
        key = (stream, *[array.data.ptr for arrays in zip(*tensors) for array in arrays])
        table = self._addresses.get(key)
        if table is None:
            if len(self._addresses) >= _MOST_TABLES:
                self._addresses.clear()
            table = self._addresses[key] = self._xp.asarray(np.array(key[1:], np.uint64))
        return table

    def _chunk_table(self, sizes: tuple[int, ...]) -> tuple[Array, int]:
        """The tensors' sizes and the blocks' (tensor, first element) on the device, and the number of blocks."""
        found = self._chunks.get(sizes)
        if found is None:
            counts = -(-np.array(sizes) // CHUNK)
            tensor = np.repeat(np.arange(len(sizes)), counts)
            first = np.arange(tensor.size) - np.repeat(np.cumsum(counts) - counts, counts)
            words = np.concatenate([sizes, np.stack([tensor, first * CHUNK], 1).ravel()])
            found = self._chunks[sizes] = (constant(self._xp, words.astype(np.int64)), tensor.size)
        return found


def _text(
    name: str,
    program: Program,
    dtypes: tuple[np.dtype, ...],
    there: tuple[bool, ...],
    compute: str,
    flag: Program | None,
) -> str:
    """A kernel for columns of these dtypes; `there` tells which numbers lie on the device."""
    columns = range(len(dtypes))
    changed = [i for i in columns if i != 1]
    numbers = range(len(dtypes), len(program.inputs))
    values = {input: Value(f"x{i}", compute) for i, input in enumerate(program.inputs)}
    lines, outputs = emit(program, values, compute)
    types = [stored(d) for d in dtypes]
    members = [f"{'const ' * (i == 1)}{types[i]} *p{i};" for i in columns] + [f"A x{i};" for i in numbers]
    loads = [
        f"const gc::Vec<{types[i]}, N> v{i} = gc::load<N>(p{i} + i);"
        if i == 1
        else f"gc::Vec<{types[i]}, N> v{i} = gc::load_mutable<N>(p{i} + i);"
        for i in columns
    ]
    elements = [f"const A x{i} = gc::to<A>(v{i}[k]);" for i in columns] + lines
    elements += [f"v{i}[k] = gc::to<{types[i]}>({out.text});" for i, out in zip(changed, outputs)]
    flags: list[str] = []
    if flag is not None:  # (named apart from what the update computes)
        tests, (value,) = emit(flag, {flag.inputs[0]: Value("x0", compute)}, compute)
        elements += ["{", *tests, f"any |= ({value.text}) != 0;", "}"]
        loads.append("bool any = false;")
        members.append("float *found;")
        flags = ["if (any) atomicExch(found, 1.0f);"]
    parameters = "".join(f", const A {'*__restrict__ ' * t}n{i}" for i, t in zip(numbers, there))
    arguments = [f"chunk.array<{types[i]}>({i})" for i in columns]
    arguments += [f"{'*' * t}n{i}" for i, t in zip(numbers, there)]
    if flag is not None:
        parameters += ", float *__restrict__ found"
        arguments.append("found")
    return (
        _head(compute, dtypes)
        + "struct Update {\n"
        + indented(members, 1)
        + "  template <int N>\n  __device__ __forceinline__ void at(int i) const {\n"
        + indented(loads, 2)
        + "#pragma unroll\n    for (int k = 0; k < N; k++) {\n"
        + indented(elements, 3)
        + "    }\n"
        + indented([f"gc::store<N>(p{i} + i, v{i});" for i in changed] + flags, 2)
        + "  }\n};\n"
        + f'extern "C" __global__ void __launch_bounds__({_BLOCK}, 1)\n'
        + f"    {name}(const unsigned long long *__restrict__ addresses, const long long *__restrict__ chunks,\n"
        + f"        const int tensors{parameters}) {{\n"
        + f"  const Chunk chunk = find_chunk(addresses, chunks, tensors, {len(dtypes)});\n"
        + f"  const Update update = {{{', '.join(arguments)}}};\n"
        + "  for_each(chunk, update);\n}\n"
    )


def _reduction_text(name: str, map: Program, combine: str, dtype: np.dtype) -> str:
    """A kernel that combines the elements of each chunk."""
    compute, element = computed(wide(dtype)), stored(dtype)
    (input,) = map.inputs
    lines, (value,) = emit(map, {input: Value("x", compute)}, compute)
    return (
        _head(compute, (dtype,))
        + '#include "combine.cuh"\n#include "group.cuh"\n'
        + f"typedef gc::{combine.capitalize()} Combine;\n"
        + f"struct Map {{\n  const {element} *p;\n  A *total;\n"
        + "  template <int N>\n  __device__ __forceinline__ void at(int i) const {\n"
        + f"    const gc::Vec<{element}, N> v = gc::load<N>(p + i);\n"
        + "#pragma unroll\n    for (int k = 0; k < N; k++) {\n      const A x = gc::to<A>(v[k]);\n"
        + indented([*lines, f"*total = Combine::of(*total, {value.text});"], 3)
        + "    }\n  }\n};\n"
        + f'extern "C" __global__ void __launch_bounds__({_BLOCK}, 1)\n'
        + f"    {name}(const unsigned long long *__restrict__ addresses, const long long *__restrict__ chunks,\n"
        + "        const int tensors, A *__restrict__ partials) {\n"
        + "  const Chunk chunk = find_chunk(addresses, chunks, tensors, 1);\n"
        + "  A total = Combine::identity<A>();\n"
        + f"  for_each(chunk, Map{{chunk.array<{element}>(0), &total}});\n"
        + "  total = gc::reduce_group<Combine>(total);\n"
        + "  if (threadIdx.x == 0) partials[blockIdx.x] = total;\n}\n"
    )


def _head(compute: str, dtypes: Sequence[np.dtype]) -> str:
    """What the kernels have in common: the type computed in, and how a block goes through its chunk."""
    return (
        half_header(dtypes)
        + f"typedef {compute} A;\n"
        + f"constexpr int VEC = {vector_width(max(d.itemsize for d in dtypes))}, CHUNK = {CHUNK};\n"
        + '#include "multi_tensor.cuh"\n'
    )
