"""Cumulative sums, the median, counts of values."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from ..backends.cpp.types import wide
from .core import array_of, array_op, concrete, one_backend
from .dims import wrap_dim
from .indexing import index_backward
from .precision import CUDA_RESULT
from .reductions import _at_index, along, check_extreme, extreme_rule
from .shape import transpose


@array_op(linear=["input"], precision=CUDA_RESULT)
def cumsum(input: Array, dim: int, *, dtype: dtypes.dtype | None = None) -> Array:
    """The sums of the elements up to each one along `dim`; integers and bools are summed as int64."""
    axis = wrap_dim(dim, input.ndim)
    d = dtype or dtypes.from_numpy(input.dtype)
    out = d.numpy if dtype or d.is_floating_point else dtypes.int64.numpy
    return _cumsum(input, axis, out, False)


def _cumsum(x: Array, axis: int, out: Any, reverse: bool) -> Array:
    backend = backend_of(x)
    return backend.cumsum(x, axis, out, reverse) if x.ndim else backend.astype(x, out)


@array_op(public=False, grad_name="CumsumBackward0", linear=["input"])
def reverse_cumsum(input: Array, dim: int) -> Array:
    """The sums of the elements from each one on along `dim`."""
    return _cumsum(input, wrap_dim(dim, input.ndim), input.dtype, True)


cumsum.batching(along)
reverse_cumsum.batching(along)
cumsum.derivative(input=lambda g, dim: reverse_cumsum(g, dim=dim))
reverse_cumsum.derivative(input=lambda g, dim: cumsum(g, dim=dim))


def _median_index(x: Array, axis: int) -> Array:
    """The positions (size 1 along `axis`) of the lower medians along `axis`; of the first NaN where there is one."""
    xp = backend_of(x).xp
    middle = (x.shape[axis] - 1) // 2
    index = xp.argsort(x, axis)[(slice(None),) * axis + (slice(middle, middle + 1),)]
    if x.dtype.kind not in "fV":
        return index
    nan = xp.isnan(x)
    return xp.where(nan.any(axis, keepdims=True), xp.expand_dims(nan.argmax(axis), axis), index)


def _median_of(x: Array, axis: int) -> tuple[Array, Array]:
    if x.dtype.kind == "b":
        raise NotImplementedError("\"median\" not implemented for 'Bool': convert first, as in x.int()")
    backend = backend_of(x)
    sortable = backend.astype(x, wide(x.dtype)) if x.dtype.kind == "V" else x
    index = _median_index(sortable, axis)
    return backend.xp.take_along_axis(x, index, axis), backend.astype(index, dtypes.int64.numpy)


@array_op(name="median_all", public=False, grad_name="MedianBackward0")
def median_all(input: Array) -> Array:
    """The medians along the last dimension, the lower of two; equal ones share the gradient."""
    if not input.size:
        return backend_of(input).full(input.shape[:-1], float("nan"), input.dtype)
    return _median_of(input, input.ndim - 1)[0].reshape(input.shape[:-1])


median_all.batching(lambda input: median_all(input))
median_all.derivative(
    input=lambda g, input, result, input_shape: extreme_rule(g, input, result, input_shape, -1, False)
)


@array_op(name="median_dim", public=False, grad_name="MedianBackward1")
def median_dim(input: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The medians along `dim`, the lower of two, and their positions."""
    check_extreme("median", input.shape, dim)
    axis = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return backend_of(input).copy(input), backend_of(input).full((), 0, dtypes.int64.numpy)
    values, index = _median_of(input, axis)
    if keepdim:
        return values, index
    shape = input.shape[:axis] + input.shape[axis + 1 :]
    return values.reshape(shape), index.reshape(shape)


median_dim.batching(along)
median_dim.derivative(
    input=lambda gs, result1, input_shape, dim, keepdim: _at_index(gs[0], result1, input_shape, dim, keepdim)
)


@array_op(public=False)
def bincount(input: Array, weights: Array | None, minlength: int) -> Array:
    """How often each of 0, 1, ... occurs in `input`, or the sums of the weights of each."""
    backend = one_backend("bincount", (input, weights), ("input", "weights"))
    if input.dtype.kind not in "iu":
        raise NotImplementedError(f"\"bincount\" not implemented for '{dtypes.type_name(input.dtype)}'")
    if input.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    size = minlength
    if input.size:
        if int(input.min()) < 0:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        size = max(size, int(input.max()) + 1)
    if weights is None:
        weights = backend.full(input.shape, 1, dtypes.int64.numpy)
    elif weights.dtype != dtypes.float32.numpy:
        weights = backend.astype(weights, dtypes.float64.numpy)
    out = backend.full((size,), 0, weights.dtype)
    backend.index_add(out, (backend.astype(input, dtypes.int64.numpy),), weights)
    return out


@bincount.batching
def _bincount_batch(input: Any, weights: Any, batched: Any, minlength: int) -> Any:
    if batched[0]:
        raise RuntimeError("vmap: bincount() of a batch: how many values there are may differ between its members")
    values = concrete(array_of(input))
    size = max(minlength, int(values.max()) + 1 if values.size else 0)
    columns = transpose(weights, dim0=0, dim1=1)
    return transpose(index_backward(columns, shape=(size, weights.shape[0]), key=(values,)), dim0=0, dim1=1)
