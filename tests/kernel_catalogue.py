"""The kernels that gradcore generates, as text, without a device: what the compile matrix compiles.

The backend itself makes the list. It runs as on a GPU, but on arrays that have no memory behind them and with a
compiler that only writes down what it is given. So the texts, the choice between them and the block sizes are real.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from typing import Any
from unittest.mock import patch

import ml_dtypes
import numpy as np
from updates import run

from gradcore import backends
from gradcore.amp.grad_scaler import nonfinite, unscaled
from gradcore.backends.attention import AttentionInputs, Dropout
from gradcore.backends.base import Reduction
from gradcore.backends.cpp.types import wide
from gradcore.backends.ctc import CtcInputs
from gradcore.backends.cuda import CudaBackend, backend
from gradcore.backends.emulator import cuda
from gradcore.backends.sliding import Sliding, Windows
from gradcore.cuda import allow_atomics
from gradcore.expr import trace
from gradcore.ops import REGISTRY, Elementwise, channel_norms, reductions
from gradcore.ops.recurrent import cell_of

FLOATS = ("float32", "float16", "bfloat16", "float64")
DTYPES = (*FLOATS, "int64", "bool")


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


# ---------------------------------------------------------------- a device without memory


class Array:
    """A device array as the backend sees it: shape, strides, dtype and address, and nothing to read."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None = None, address: int = 0):
        self.dtype = np.dtype(dtype)
        if strides is None:
            strides = tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))
        # Strides are given in elements. One element stands for the memory: nothing here is ever read.
        steps = [s * self.dtype.itemsize for s in strides]
        self._view = np.lib.stride_tricks.as_strided(np.empty(1, self.dtype), shape, steps)
        self.shape, self.strides, self.size, self.ndim = shape, tuple(steps), math.prod(shape), len(shape)
        self.flags = self._view.flags
        self.data = _Pointer(4096 + address)

    def reshape(self, *shape: int) -> Array:
        return Array(tuple(self.size if n == -1 else n for n in shape), self.dtype)

    def astype(self, dtype: Any, copy: bool = True) -> Array:
        return Array(self.shape, dtype)

    def __getitem__(self, key: Array) -> Array:
        return Array(key.shape + self.shape[1:], self.dtype)


@dataclass
class _Pointer:
    ptr: int


class _Library:
    """What stands in for the module `cupy`."""

    ndarray = empty = Array
    cuda = cuda

    @staticmethod
    def zeros(shape: int, dtype: Any) -> Array:
        return Array((shape,), dtype)

    @staticmethod
    def asarray(host: np.ndarray) -> Array:
        return Array(host.shape, host.dtype)

    @staticmethod
    def broadcast_to(array: Array, shape: tuple[int, ...]) -> Array:
        return Array(shape, array.dtype)

    @staticmethod
    def arange(n: int, dtype: Any) -> Array:
        return Array((n,), dtype)

    @staticmethod
    def argsort(array: Array, kind: str) -> Array:
        return Array(array.shape, np.int64)

    @staticmethod
    def ascontiguousarray(array: Array, dtype: Any = None) -> Array:
        return array if array.flags.c_contiguous else Array(array.shape, dtype or array.dtype)


# ---------------------------------------------------------------- what it compiles


@dataclass(eq=False)
class Source:
    """One text given to the compiler, and for each of its kernels the largest block it was launched with, or 0."""

    text: str
    subject: str
    threads: dict[str, int] = field(default_factory=dict)


class _Recorder:
    """Stands in for the backend's compiler."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def kernels(self, text: str, names: tuple[str, ...], subject: str) -> tuple[Any, ...]:
        source = self.sources.setdefault(text, Source(text, subject, dict.fromkeys(names, 0)))
        return tuple(partial(self._launch, source, name) for name in names)

    @staticmethod
    def _launch(source: Source, name: str, grid: Any, block: Sequence[int], args: Any) -> None:
        source.threads[name] = max(math.prod(block), source.threads[name])


def _device() -> tuple[CudaBackend, dict[str, Source]]:
    recorder = _Recorder()
    with (
        patch.object(backend.driver, "library", return_value=_Library),
        patch.object(backend, "Compiler", return_value=recorder),
    ):
        return CudaBackend(0), recorder.sources


# ---------------------------------------------------------------- the families


def _calls(op: Elementwise) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """(inputs, attributes) that lead to each of an op's programs; `...` stands for an array."""
    attrs: dict[str, Any] = {}
    for p in op.signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            attrs[p.name] = 7 if "int" in str(p.annotation) else 0.5
    inputs: list[Any] = [...] * len(op.inputs)
    yield inputs, attrs
    for i, name in enumerate(op.inputs):
        values = [*op.static.get(name, ()), *([None] if op.defaults.get(name, ...) is None else [])]
        numbers = [2.5] if len(inputs) > 1 and name not in op.tensors else []
        for value in (*values, *numbers):
            yield [*inputs[:i], value, *inputs[i + 1 :]], attrs
    options = {n: v for n, v in op.static.items() if n not in op.inputs}
    for name, values in options.items():
        for value in values:
            if isinstance(value, str):
                yield inputs, {**attrs, name: value}
    unlisted = [n for n, values in options.items() if not isinstance(values[0], str)]
    if unlisted:  # none of the values that are built into the program
        yield inputs, {**attrs, **dict.fromkeys(unlisted, 3)}


def _forward_and_backward(op: Elementwise, inputs: Sequence[Any], attrs: dict[str, Any]) -> None:
    """Run an op, and its derivative for all inputs at once and, in float32, for each alone."""
    out = op(*inputs, **attrs)
    given = [isinstance(x, Array) and x.dtype.kind in "fV" for x in inputs]
    if not any(given) or out.dtype.kind not in "fV":
        return
    alone = [tuple(j == i for j in range(len(given))) for i, g in enumerate(given) if g]
    for needs in {tuple(given), *(alone if out.dtype == np.float32 else ())}:
        plan = op.plan(needs, op.plan_key(inputs, attrs))
        saved = [inputs[i] for i in plan.inputs] + [out] * len(plan.outputs)
        plan.backward((Array(out.shape, out.dtype),), saved, attrs, None)


def _elementwise_ops(dtype: np.dtype) -> None:
    for op in REGISTRY.values():
        if not isinstance(op, Elementwise):
            continue
        for pattern, attrs in _calls(op):
            inputs = [
                Array((4096,), np.bool_ if n == "condition" else dtype) if x is ... else x
                for n, x in zip(op.inputs, pattern)
            ]
            if any(isinstance(x, float) for x in inputs) and dtype.kind in "ib":
                inputs = [int(x) if isinstance(x, float) else x for x in inputs]
            try:
                _forward_and_backward(op, inputs, attrs)
            except (RuntimeError, NotImplementedError):
                # Some ops refuse bools, or a fraction with integers; only bitwise ones refuse floating point.
                if dtype.kind in "fV" and op.promote != "integral":
                    raise


# Shapes, strides and the address of two operands. A matrix of 2**20 columns and 2**13 rows is beyond 32-bit indices.
_LAYOUTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "flat, vectors": (((4096,),), ((4096,),)),
    "flat, unaligned": (((4096,), None, 1), ((4096,),)),
    "flat, single element": (((4096,),), ((1,),)),
    "rank 2, vectors": (((64, 32),), ((32,),)),
    "rank 2, element per row": (((64, 32),), ((64, 1),)),
    "rank 2, single elements": (((64, 33),), ((33,),)),
    "rank 2, transposed": (((64, 32), (1, 64)), ((64, 32),)),
    "rank 3, vectors": (((8, 16, 32),), ((8, 1, 32),)),
    "rank 3, transposed": (((8, 16, 32), (1, 8, 128)), ((8, 16, 32),)),
    "rank 4, vectors": (((4, 8, 16, 32),), ((4, 1, 16, 1),)),
    "rank 4, transposed": (((4, 8, 16, 32), (1, 4, 32, 512)), ((4, 1, 16, 1),)),
    "64-bit, vectors": (((2**13, 2**20),), ((2**20,),)),
    "64-bit, transposed": (((2**13, 2**20), (1, 2**13)), ((2**13, 2**20),)),
    "64-bit, rank 4": (((64, 128, 2**10, 2**10), (1, 64, 2**13, 2**23)), ((64, 1, 2**10, 1),)),
}


def _array(dtype: np.dtype, shape: Any, strides: Any = None, offset: int = 0) -> Array:
    return Array(shape, dtype, strides, offset * dtype.itemsize)


def _layouts(dtype: np.dtype) -> None:
    """A cheap op, and one with operands of several sizes, in every layout."""
    for first, second in _LAYOUTS.values():
        x, y = _array(dtype, *first), _array(dtype, *second)
        _forward_and_backward(REGISTRY["add"], [x, y], {})  # type: ignore[arg-type]
        condition = Array(y.shape, np.bool_)
        _forward_and_backward(REGISTRY["where"], [condition, x, y], {})  # type: ignore[arg-type]


def _layouts_of_pow(dtype: np.dtype) -> None:
    """The op that needs most registers, in every layout."""
    for first, second in _LAYOUTS.values():
        _forward_and_backward(REGISTRY["pow"], [_array(dtype, *first), _array(dtype, *second)], {})  # type: ignore[arg-type]


def _conversions(device: CudaBackend, dtype: np.dtype) -> None:
    for other in (*DTYPES, "int32", "uint8"):
        for x in (Array((4096,), dtype), Array((64, 33), dtype, (1, 64))):
            device.astype(x, dtype_of(other))


_SHAPES: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {
    "rows, vectors": (((64, 256),), (1,)),
    "rows, unaligned": (((64, 256), None, 1), (1,)),
    "columns, vectors": (((256, 64),), (0,)),
    "columns, single elements": (((256, 63),), (0,)),
    "everything, in chunks": (((2**20,),), (0,)),
    "strided view, everything": (((64, 33), (66, 2)), (0, 1)),
    "outer and inner": (((8, 16, 32),), (0, 2)),
    "middle": (((8, 16, 32),), (1,)),
    "middle of a transpose": (((8, 16, 32, 4), (1, 8, 512, 128)), (1, 3)),
    "64-bit, rows": (((2**13, 2**20),), (1,)),
    "64-bit, columns": (((2**20, 2**13),), (0,)),
}


def _reduce(device: CudaBackend, reduction: Reduction, dtype: np.dtype, operand: Any, axes: tuple[int, ...]) -> None:
    x = _array(dtype, *operand)
    inputs: list[Any] = [x]
    if len(reduction.map.inputs) > 1:
        mean = Array(tuple(1 if d in axes else n for d, n in enumerate(x.shape)), dtype)
        inputs.append(mean if "mean" in reduction.map.inputs else 2.5)
    out = dtype_of("bool") if reduction.combine in ("any", "all") else dtype
    if reduction.combine in ("sum", "prod") and dtype.kind in "ib":
        out = dtype_of("int64")
    compute = out if out.kind != "b" else dtype
    device.reduce(reduction, inputs, compute, out, x.shape, axes, False, {"p": 2.5, "correction": 1})


def _reductions(device: CudaBackend, dtype: np.dtype) -> None:
    """The whole table along rows and columns."""
    for name, reduction in reductions._REDUCTIONS.items():
        if dtype.kind in "fV" or name in ("sum", "prod", "max", "min", "any", "all"):
            for layout in ("rows, vectors", "columns, vectors"):
                _reduce(device, reduction, dtype, *_SHAPES[layout])


def _reduction_layouts(device: CudaBackend, dtype: np.dtype) -> None:
    """Sums, of x and of x * y, along every pattern of axes; arg_reduce."""
    for operand, axes in _SHAPES.values():
        _reduce(device, reductions.SUM, dtype, operand, axes)
        x = _array(dtype, *operand)
        row = Array(x.shape[-1:], dtype)
        device.reduce(_DOT, (x, row), dtype, dtype, x.shape, axes, False)
    for which, shape in product(("max", "min"), ((4096,), (64, 33), (8, 16, 32), (2**13, 2**20))):
        device.arg_reduce(Array(shape, dtype), len(shape) // 2, which)
    device.arg_reduce(Array((8, 16, 32), dtype, (1, 8, 128)), 1, "max")


_DOT = Reduction(trace(lambda x, y: x * y), "sum")


def _rows(device: CudaBackend, dtype: np.dtype) -> None:
    """Short rows, rows that fill the registers of a block, and longer ones, in vectors and in single elements."""
    for columns, log in product((64, 33, 4096, 4097, 200000, 200001), (False, True)):
        x = Array((64, columns), dtype)
        device.softmax(x, log, dtype)
        device.softmax_backward(x, x, log, dtype)
    x = Array((64, 4096), dtype)
    y = Array((64, 4096), np.float32)
    device.softmax(x, False, y.dtype)
    device.softmax_backward(y, y, False, dtype)
    for columns, weighted, smoothing in product((64, 33), (False, True), (0.0, 0.1)):
        x, target, each = Array((64, columns), dtype), Array((64,), np.int64), Array((64,), dtype)
        weight = Array((columns,), dtype) if weighted else None
        _, lse, _ = device.cross_entropy(x, target, weight, -100, smoothing)
        device.cross_entropy_backward(each, x, target, weight, lse, -100, smoothing)


def _ctc(device: CudaBackend, dtype: np.dtype) -> None:
    y, labels, lengths = Array((50, 8, 30), dtype), Array((8, 12), np.int64), Array((8,), np.int64)
    inputs = CtcInputs(y, labels, lengths, lengths, 0)
    losses, alpha = device.ctc_loss(inputs)
    device.ctc_loss_backward(losses, inputs, losses, alpha, True)


def _norms(device: CudaBackend, dtype: np.dtype) -> None:
    """Layer norm and RMS norm with and without parameters, each gradient wanted or not.

    The lengths are those of `_rows`, and some that fill the largest block of the backward kernel.
    """
    for columns, centered in product((64, 33, 1001, 2000, 4097, 8192, 200000, 200001), (True, False)):
        x, each = Array((64, columns), dtype), Array((64,), np.float64 if dtype.itemsize == 8 else np.float32)
        parameters = [Array((columns,), d) for d in ((dtype, each.dtype) if dtype.itemsize == 2 else (dtype,))]
        mean = each if centered else None
        for p in (None, *parameters):
            device.layer_norm(x, p, p if centered else None, 1e-5, dtype, centered)
            for needs in ((True, True, centered), (True, False, False), (True, False, True)):
                device.layer_norm_backward(x, x, mean, each, p, needs)


def _channels(device: CudaBackend, dtype: np.dtype) -> None:
    """Moments and sums of channels, as rows and as columns; as one launch, and in chunks."""
    work = wide(dtype)
    for outer, channels, inner in ((8, 64, 1024), (8, 64, 33), (4096, 512, 1), (4096, 33, 1), (2**13, 2**10, 2**10)):
        x, each = Array((outer, channels, 1, inner), dtype), Array((channels,), work)
        device.channel_moments(Array((outer, channels, inner), dtype), 1e-5)
        device.channel_sums(x, x, each, each)
    parts, weight = Array((8, 4, 16), work), Array((4, 16), dtype)
    device.sums(channel_norms._WEIGHTED, (parts, parts, weight), work, work, parts.shape, (2,))
    device.sums(channel_norms._BOTH, (parts, parts), work, dtype, parts.shape, (0,))


# Of the optimizers those whose updates differ most.
_STEPS = ("sgd", "sgd nesterov", "adam", "adamw amsgrad", "nadam", "radam", "adamax", "rmsprop centered", "adadelta")


def _optimizers(device: CudaBackend, dtype: np.dtype) -> None:
    """Parameters with states of their own type, and of float32."""
    for state in {dtype, dtype_of("float32")} if dtype.itemsize == 2 else {dtype}:
        p, s = [Array((64, 64), dtype)], [Array((64, 64), state)]
        for name in _STEPS:
            run(device, name, [p, p, s, s, s])
    for combine in ("sum", "max"):
        device.multi_tensor_reduce("norm", trace(lambda x: x * x), combine, [Array((64, 64), dtype)])
    found = Array((), dtype_of("float32"))
    unscaled(device, [[Array((64, 64), dtype)]], flag=(nonfinite, found), inverse=found)


def _random(device: CudaBackend, dtype: np.dtype) -> None:
    if dtype == np.int64:
        device.integers(0, 9, (4096,), dtype, 1, 2)
    else:
        device.uniform((4096,), dtype, 1, 2)
        device.normal((4096,), dtype, 1, 2)


def _indexing(device: CudaBackend, dtype: np.dtype) -> None:
    index = Array((100,), np.int64)
    device.errors.check("index", index, 64, 0)
    for width in (32, 33):
        device.index_add(Array((64, width), dtype), index, Array((100, width), dtype))
    for combine in ("prod", "max", "min", "last"):
        device.scatter(Array((64,), dtype), index, Array((100,), dtype), 0, combine)
    with allow_atomics():
        device.index_add(Array((64, 32), dtype), index, Array((100, 32), dtype))


def _made_by(*makers: Callable[..., None]) -> Callable[[str], list[Source]]:
    def make(dtype: str) -> list[Source]:
        device, sources = _device()
        with patch.dict(backends._of_type, {Array: lambda array: device}):
            for maker in makers:
                maker(*((device,) if "device" in inspect.signature(maker).parameters else ()), dtype_of(dtype))
        return list(sources.values())

    return make


def _convolutions(device: CudaBackend, dtype: np.dtype) -> None:
    sliding = Sliding((3, 3), (1, 1), (1, 1), (1, 1))
    columns = device.unfold(Array((2, 4, 8, 8), dtype), sliding, (8, 8))
    device.fold(columns, sliding, (2, 4, 8, 8), (8, 8))


def _pooling(device: CudaBackend, dtype: np.dtype) -> None:
    x, places = Array((8, 8), dtype), Array((8, 4), np.int64)
    windows = (Windows(8, (0, 2, 4, 6), (2, 4, 6, 8), (2, 2, 2, 2)),)
    device.mean_pool(x, windows)
    device.mean_pool_backward(Array((8, 4), dtype), windows)
    device.max_pool(x, windows)
    device.max_pool_backward(Array((8, 4), dtype), places, windows)


def _attention(device: CudaBackend, dtype: np.dtype) -> None:
    """Every width of heads, and with the widest, which needs most registers, a mask of either kind."""
    widest = device.attention_width(dtype)
    masks = (None, Array((4, 40, 40), np.bool_), Array((4, 40, 40), dtype))
    settings = [(width, None, True) for width in (32, 64, 128) if width <= widest]
    for width, mask, causal in [*settings, *((widest, mask, False) for mask in masks)]:
        x, lse = Array((4, 40, width), dtype), Array((4, 40), np.float64 if dtype.itemsize == 8 else np.float32)
        for dropout in (None, Dropout(0.1, 1, 2)) if mask is None else (None,):
            inputs = AttentionInputs(x, x, x, mask, causal, 0.5, dropout)
            device.attention(inputs)
            device.attention_backward(x, inputs, x, lse)


def _cells(device: CudaBackend, dtype: np.dtype) -> None:
    """Both directions of every recurrent cell."""
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        cell, size = cell_of(name), 40
        x, gates, kept = (Array((4, n * size), dtype) for n in (1, cell.gates, cell.kept))
        outs = (x, x, kept) if cell.with_cell else (x, kept)
        device.cell(cell.forward, (gates, gates, x), outs, size)
        outs = (gates, gates, x) if cell.apart else (gates, x)
        device.cell(cell.backward, (x, x, x, x, x, kept), outs, size)


FAMILIES: dict[str, tuple[Callable[[str], list[Source]], tuple[str, ...]]] = {
    "ops": (_made_by(_elementwise_ops), DTYPES),
    "layouts": (_made_by(_layouts), DTYPES),
    "layouts of pow": (_made_by(_layouts_of_pow), FLOATS),
    "conversions": (_made_by(_conversions), DTYPES),
    "reductions": (_made_by(_reductions), DTYPES),
    "layouts of reductions": (_made_by(_reduction_layouts), DTYPES),
    "rows": (_made_by(_rows), FLOATS),
    "ctc": (_made_by(_ctc), ("float32", "float64")),
    "norms": (_made_by(_norms), FLOATS),
    "channels": (_made_by(_channels), FLOATS),
    "convolutions": (_made_by(_convolutions), FLOATS),
    "pooling": (_made_by(_pooling), FLOATS),
    "attention": (_made_by(_attention), FLOATS),
    "recurrent cells": (_made_by(_cells), FLOATS),
    "optimizers": (_made_by(_optimizers), FLOATS),
    "random": (_made_by(_random), (*FLOATS, "int64")),
    "indexing": (_made_by(_indexing), DTYPES),
}


@cache
def sources_of(family: str, dtype: str) -> list[Source]:
    """The kernels of one of `FAMILIES` for one of its dtypes."""
    return FAMILIES[family][0](dtype)


# ---------------------------------------------------------------- many kernels in one text

_INCLUDE = re.compile(r'^#include "([^"]+)"\n', re.MULTILINE)
# This header goes by constants that each kernel defines before it.
_OWN_COPY = "multi_tensor.cuh"


def programs(sources: Sequence[Source], most: int = 16) -> list[tuple[str, list[Source]]]:
    """The kernels as few texts: the compiler reads its own and our headers once in each.

    In a text of several, each kernel stands in a namespace of its own, and its functions are called `NAME_0`,
    `NAME_1`, ...
    """
    alone = [s for s in sources if _OWN_COPY in s.text]
    shared = [s for s in sources if _OWN_COPY not in s.text]
    # Those with 16-bit floating point together: its header is the slowest.
    shared.sort(key=lambda s: "half.cuh" in s.text)
    batches = [shared[i : i + most] for i in range(0, len(shared), most)] + [[s] for s in alone]
    return [(_merged(batch), batch) for batch in batches]


def _merged(batch: list[Source]) -> str:
    if len(batch) == 1:
        return batch[0].text
    headers = dict.fromkeys(name for s in batch for name in _INCLUDE.findall(s.text))
    parts = [f'#include "{name}"\n' for name in headers]
    for i, s in enumerate(batch):
        rename = "".join(f"#define {name} {name}_{i}\n" for name in s.threads)
        restore = "".join(f"#undef {name}\n" for name in s.threads)
        place = f'#line 1 "{s.subject}"\n'.replace("\\", "")
        parts += [rename, f"namespace batch_{i} {{\n", place, _INCLUDE.sub("\n", s.text), "}\n", restore]
    return "".join(parts)
