"""The CPU: NumPy arrays, ufuncs and BLAS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ...devices import device as Device
from ...expr import Program
from ...expr.numpy_emit import compile_numpy
from .. import dlpack
from ..base import Array, Number, Reduction
from ..cpp.types import FLOAT32, HALVES, wide
from . import blocked
from .attention import Attention
from .convolution import Convolution
from .ctc import Ctc
from .indexing import Indexing
from .multi_tensor import MultiTensor
from .norms import Norms
from .pooling import Pooling
from .recurrence import Recurrence
from .rows import Rows

# Elements from which arrays are worked on block by block, or by native kernels, and by several threads. It is a matter
# of the shape alone, so that results never depend on timing.
LARGE = 1 << 15

_INT64 = np.dtype(np.int64)
_NONE: frozenset[str] = frozenset()

_COMBINE: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}
_SUMS = (np.add, np.multiply)


class CpuBackend(Rows, Norms, Ctc, Convolution, Pooling, Attention, Recurrence, Indexing, MultiTensor):
    """NumPy on the host."""

    device = Device("cpu")
    xp = np
    array_type = np.ndarray

    def from_host(self, array: np.ndarray) -> Array:
        return np.array(array)

    def to_host(self, array: Array) -> np.ndarray:
        return array

    def to_dlpack(self, array: Array, stream: int | None, max_version: tuple[int, int] | None) -> Any:
        if stream not in (None, -1):
            raise AssertionError("stream should be None on cpu.")
        return dlpack.lend(array, max_version)

    def from_dlpack(self, given: Any) -> Array:
        return dlpack.borrow(given)

    def synchronize(self) -> None:
        pass

    def full(self, shape: tuple[int, ...], value: Number, dtype: np.dtype) -> Array:
        out = np.empty(shape, dtype)  # np.full does the same in twice the time
        out.fill(value)
        return out

    def broadcast(self, array: Array, shape: tuple[int, ...]) -> Array:
        if array.size == 1:  # the gradient of a full reduction; ten times faster than np.broadcast_to
            return np.ndarray(shape, array.dtype, array, 0, (0,) * len(shape))
        out = np.broadcast_to(array, shape)
        out.flags.writeable = array.flags.writeable  # parts that repeat nothing may be changed in place
        return out

    # -- fused kernels
    def elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        if math.prod(shape) >= LARGE:
            return self.large_elementwise(program, inputs, compute, out_dtypes, shape)
        return self.small_elementwise(program, inputs, compute, out_dtypes, shape)

    def large_elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        """`elementwise` for a shape of at least `LARGE` elements."""
        alone = program.operations < 2 and math.prod(shape) < 2 * blocked.GRAIN  # neither blocks nor threads are a gain
        if alone or not blocked.suits(program, compute):
            return self.small_elementwise(program, inputs, compute, out_dtypes, shape)
        return blocked.evaluate(program, inputs, compute, out_dtypes, shape)

    def small_elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        """`elementwise` by one ufunc after the other, each for the whole arrays."""
        results = self._evaluate(program, inputs, compute, shape)
        outs = []
        for value, dtype in zip(results, out_dtypes):
            if value.__class__ is not np.ndarray or value.dtype is not dtype:
                value = np.asarray(value, dtype)
            if value.shape != shape:
                value = np.broadcast_to(value, shape).copy()
            elif program.operations < len(results) and any(value is i for i in inputs):
                value = value.copy()  # an output that is an input
            outs.append(value)
        return outs

    def _evaluate(
        self, program: Program, inputs: Sequence[Array | Number], compute: np.dtype, shape: tuple[int, ...]
    ) -> tuple[Any, ...]:
        # Half precision is rounded once, at the end, not after every operator.
        work = wide(compute)
        scalars: list[str] | None = None
        values = list(inputs)
        for position, value in enumerate(inputs):
            if value.__class__ is not np.ndarray:
                scalars = scalars or []
                scalars.append(program.inputs[position])
            elif value.dtype is not work and (value.dtype.kind != "b" or program.promotes(program.inputs[position])):
                values[position] = value.astype(work)
        function = compile_numpy(program, frozenset(scalars) if scalars else _NONE)
        if work.kind in "iu":
            try:
                with np.errstate(divide="raise"):
                    result = function(*values)
            except FloatingPointError:
                raise ZeroDivisionError("ZeroDivisionError: integer division or modulo by zero") from None
        else:
            result = function(*values, shape) if program.random else function(*values)
        return result if result.__class__ is tuple else (result,)

    def reduce(
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
        if math.prod(shape) >= LARGE:
            return self.large_reduce(reduction, inputs, compute, out_dtype, shape, axes, keepdims, parameters)
        return self.small_reduce(reduction, inputs, compute, out_dtype, shape, axes, keepdims, parameters)

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
        """`reduce` over a shape of at least `LARGE` elements."""
        mapped = reduction.map.operations
        # Along memory NumPy sums as exactly as blocks do; too few elements for several threads are a matter of calls.
        alone = not mapped and len(shape) - 1 in axes and math.prod(shape) < 4 * blocked.GRAIN
        if alone or (mapped and not blocked.suits(reduction.map, compute)):
            return self.small_reduce(reduction, inputs, compute, out_dtype, shape, axes, keepdims, parameters)
        ufunc = _COMBINE[reduction.combine]
        dtype = wide(compute) if ufunc in _SUMS else None
        acc = blocked.reduce(ufunc, reduction.map, inputs, compute, shape, axes, keepdims, dtype)
        return self._finish(reduction, acc, out_dtype, shape, axes, parameters)

    def small_reduce(
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
        """`reduce` with the map evaluated for the whole arrays."""
        ufunc: Any = _COMBINE[reduction.combine]
        work = wide(compute)
        mapped: Any = inputs[0]
        if reduction.map.operations:
            mapped = np.asarray(self._evaluate(reduction.map, inputs, work, shape)[0])
            if mapped.shape != shape:
                mapped = np.broadcast_to(mapped, shape)
        # None is the quicker spelling of all axes, and of the dtype that it has.
        axis = axes if len(axes) < len(shape) else None
        acc = ufunc.reduce(mapped, axis, work if ufunc in _SUMS and mapped.dtype is not work else None, None, keepdims)
        return self._finish(reduction, acc, out_dtype, shape, axes, parameters)

    @staticmethod
    def _finish(
        reduction: Reduction,
        acc: Any,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        parameters: dict[str, Number] | None,
    ) -> Array:
        if reduction.finish is not None:
            count = 1
            for axis in axes:
                count *= shape[axis]
            values = {"acc": acc, "count": count, **(parameters or {})}
            names = reduction.finish.inputs
            acc = compile_numpy(reduction.finish, frozenset(names) - {"acc"})(*(values[n] for n in names))
        if acc.__class__ is np.ndarray and acc.dtype is out_dtype:
            return acc
        return np.asarray(acc, out_dtype)

    def arg_reduce(self, x: Array, axis: int, which: str) -> tuple[Array, Array]:
        index = (np.argmax if which == "max" else np.argmin)(x, axis=axis, keepdims=True)
        values = np.take_along_axis(x, index, axis)
        return np.asarray(np.squeeze(values, axis)), np.asarray(np.squeeze(index, axis), _INT64)

    # -- linear algebra
    def matmul(self, a: Array, b: Array) -> Array:
        if a.dtype in HALVES:
            return np.asarray(_product(a.astype(FLOAT32), b.astype(FLOAT32)), a.dtype)
        return np.asarray(_product(a, b))

    def column_sum(self, x: Array) -> Array:
        return np.add.reduce(x, 0, wide(x.dtype)).astype(x.dtype, copy=False)

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if x.dtype in HALVES:
            out = _product(x.astype(FLOAT32), weight.astype(FLOAT32).T)
            return (out if bias is None else out + bias.astype(FLOAT32)).astype(x.dtype)
        out = _product(x, weight.T)
        if bias is not None:
            out += bias
        return out

    # -- order
    def topk(self, x: Array, k: int, axis: int, largest: bool) -> tuple[Array, Array]:
        n = x.shape[axis]
        if k == 0 or k > n // 4:
            return super().topk(x, k, axis, largest)
        # Only these are put in order; of elements that equal the last of them, any may be among them.
        kept = slice(n - k, None) if largest else slice(k)
        found = np.argpartition(self._sortable(x), n - k if largest else k - 1, axis)
        found = np.sort(found[(slice(None),) * axis + (kept,)], axis)
        values, order = self.sort(np.take_along_axis(x, found, axis), axis, largest)
        return values, np.take_along_axis(found, order, axis)

    # -- random numbers
    @staticmethod
    def _generator(seed: int, offset: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=seed & (2**64 - 1), counter=[0, offset, 0, 0]))

    def uniform(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        draw: Any = np.float64 if dtype == np.float64 else np.float32
        values = self._generator(seed, offset).random(shape, draw)
        if dtype in HALVES:  # so few bits that rounding to 16 never makes a 1 of them
            steps = 2.0 ** (ml_dtypes.finfo(dtype).nmant + 1)
            values = np.floor(values * steps) / steps
        return np.asarray(values, dtype)

    def normal(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        draw: Any = np.float64 if dtype == np.float64 else np.float32
        return np.asarray(self._generator(seed, offset).standard_normal(shape, draw), dtype)

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        return np.asarray(self._generator(seed, offset).integers(low, high, shape, np.int64), dtype)

    def permutation(self, n: int, dtype: np.dtype, seed: int, offset: int) -> Array:
        return self._generator(seed, offset).permutation(n).astype(dtype)


def _product(a: Array, b: Array) -> Array:
    """`a @ b`; many matrices times one are one product, which NumPy would make of each."""
    if b.ndim != 2 or a.ndim < 3 or not a.flags.c_contiguous:
        return np.matmul(a, b)
    return np.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
