"""Means and maxima of windows. What is pooled are the last dimensions, one for each of `windows`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ..backends import Array, Windows, backend_of
from .core import Op, array_op, whole
from .shape import each_batched

Pools = tuple[Windows, ...]


def _planes(x: Array, dims: int) -> Array:
    """`x` as C-contiguous (planes, *spatial)."""
    x = whole(x)
    return x if x.ndim == dims + 1 else x.reshape(prod(x.shape[: x.ndim - dims]), *x.shape[x.ndim - dims :])


def _shape(x: Array, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*x.shape[: x.ndim - len(sizes)], *sizes)


def _out(windows: Pools) -> tuple[int, ...]:
    return tuple(len(w.starts) for w in windows)


def _size(windows: Pools) -> tuple[int, ...]:
    return tuple(w.size for w in windows)


@array_op(public=False, grad_name="AvgPool2DBackward0", linear=["input"])
def mean_pool(input: Array, windows: Pools) -> Array:
    """The mean of each window."""
    backend, shape = backend_of(input), _shape(input, _out(windows))
    if not prod(shape):
        return backend.empty(shape, input.dtype)
    return backend.mean_pool(_planes(input, len(windows)), windows).reshape(shape)


@array_op(public=False, linear=["grad"])
def mean_pool_backward(grad: Array, windows: Pools) -> Array:
    """The gradient of `mean_pool`'s input."""
    backend, shape = backend_of(grad), _shape(grad, _size(windows))
    if not grad.size:
        return backend.full(shape, 0, grad.dtype)
    return backend.mean_pool_backward(_planes(grad, len(windows)), windows).reshape(shape)


mean_pool.derivative(input=lambda g, windows: mean_pool_backward(g, windows=windows))
mean_pool_backward.derivative(grad=lambda g, windows: mean_pool(g, windows=windows))


@array_op(public=False, grad_name="MaxPool2DWithIndicesBackward0")
def max_pool(input: Array, windows: Pools) -> tuple[Array, Array]:
    """The largest element of each window and its int64 place among those pooled together."""
    backend, shape = backend_of(input), _shape(input, _out(windows))
    if not prod(shape):
        return backend.empty(shape, input.dtype), backend.empty(shape, backend.xp.dtype("int64"))
    values, places = backend.max_pool(_planes(input, len(windows)), windows)
    return values.reshape(shape), places.reshape(shape)


@array_op(public=False, linear=["grad"])
def max_pool_backward(grad: Array, places: Array, windows: Pools) -> Array:
    """The gradient of `max_pool`'s input."""
    backend, shape, dims = backend_of(grad), _shape(grad, _size(windows)), len(windows)
    if not grad.size:
        return backend.full(shape, 0, grad.dtype)
    return backend.max_pool_backward(_planes(grad, dims), _planes(places, dims), windows).reshape(shape)


@array_op(public=False, linear=["input"])
def chosen(input: Array, places: Array, windows: Pools) -> Array:
    """The elements of each plane at given places of it."""
    shape, planes = places.shape, prod(places.shape[: places.ndim - len(windows)])
    if not places.size:
        return backend_of(input).empty(shape, input.dtype)
    flat = _planes(input, len(windows)).reshape(planes, -1)
    return backend_of(input).xp.take_along_axis(flat, places.reshape(planes, -1), 1).reshape(shape)


max_pool.derivative(input=lambda gs, result1, windows: max_pool_backward(gs[0], result1, windows=windows))
max_pool_backward.derivative(grad=lambda g, places, windows: chosen(g, places, windows=windows), places=lambda: None)
chosen.derivative(input=lambda g, places, windows: max_pool_backward(g, places, windows=windows), places=lambda: None)


def _batch(
    op: Op, inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, windows: Pools
) -> Any:
    # All leading dimensions are alike.
    return op(*each_batched(inputs, shapes, batched, size), windows=windows)


for _op in (mean_pool, mean_pool_backward, max_pool, max_pool_backward, chosen):
    _op.batching(_batch)
