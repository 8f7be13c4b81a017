"""Convolution in any number of dimensions as matrix products of columns ("im2col"), for every device.

The columns of a few images at a time, (channels * kernel, images * places), are one product with the weight (K.
Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing", 2006). How
many images share a product is for the device to say: on the CPU what stays in the cache, on a GPU what memory holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from ..expr import trace
from .cpp.types import wide

if TYPE_CHECKING:
    from .base import Backend
    from .sliding import Sliding

Array = Any
Size = tuple[int, ...]

ADD = trace(lambda x, y: x + y)


def _blocks(backend: Backend, images: int, elements: int) -> Iterator[slice]:
    """Slices of the images, whose columns have `elements` for each image."""
    step = max(1, min(images, backend.columns // max(elements, 1)))
    return (slice(first, min(first + step, images)) for first in range(0, images, step))


def _columns(backend: Backend, x: Array, sliding: Sliding, out: Size) -> Array:
    return _across(x) if sliding.pointwise else backend.unfold(x, sliding, out)


def _across(x: Array) -> Array:
    """(images, channels, *size) as (channels, images * places)."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def _images(matrix: Array, images: int, size: Size) -> Array:
    """The reverse of `_across`."""
    return matrix.reshape(-1, images, *size).swapaxes(0, 1)


def _product(backend: Backend, a: Array, b: Array, groups: int) -> Array:
    """The products of each group's rows of `a` and of `b`, below each other."""
    if groups == 1:
        return backend.matmul(a, b)
    product = backend.matmul(a.reshape(groups, -1, a.shape[-1]), b.reshape(groups, -1, b.shape[-1]))
    return product.reshape(-1, product.shape[-1])


def _transposed(weight: Array, groups: int) -> Array:
    """Each group's weight (channels out, channels in * kernel) as (groups * channels in * kernel, channels out)."""
    flat = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)
    return flat[0] if groups == 1 else flat.reshape(-1, flat.shape[-1])


def plus_bias(backend: Backend, x: Array, bias: Array) -> Array:
    """`x` (images, channels, ...) with a bias for each channel."""
    level = bias.reshape(-1, *(1,) * (x.ndim - 2))
    return backend.elementwise(ADD, (x, level), x.dtype, (x.dtype,), x.shape)[0]


def _placed(backend: Backend, whole: Array | None, at: slice, part: Array, bias: Array | None, images: int) -> Array:
    """`part`, with the bias, as these images of the `whole`, which is made when there is more than one part."""
    if bias is not None:
        part = plus_bias(backend, part, bias)
    if part.shape[0] == images:
        return part if part.flags.c_contiguous else backend.copy(part)
    if whole is None:
        whole = backend.empty((images, *part.shape[1:]), part.dtype)
    whole[at] = part
    return whole


def forward(
    backend: Backend, x: Array, weight: Array, bias: Array | None, sliding: Sliding, out: Size, groups: int
) -> Array:
    """See `Backend.convolution`."""
    images, flat, result = x.shape[0], weight.reshape(weight.shape[0], -1), None
    for at in _blocks(backend, images, x.shape[1] * prod(sliding.kernel) * prod(out)):
        product = _product(backend, flat, _columns(backend, x[at], sliding, out), groups)
        result = _placed(backend, result, at, _images(product, at.stop - at.start, out), bias, images)
    return result


def input_gradient(
    backend: Backend, grad: Array, weight: Array, bias: Array | None, sliding: Sliding, size: Size, groups: int
) -> Array:
    """See `Backend.convolution_input`."""
    images, out, channels = grad.shape[0], grad.shape[2:], weight.shape[1] * groups
    flat, result = _transposed(weight, groups), None
    for at in _blocks(backend, images, channels * prod(sliding.kernel) * prod(out)):
        columns, count = _product(backend, flat, _across(grad[at]), groups), at.stop - at.start
        if sliding.pointwise:
            part = _images(columns, count, size)
        else:
            part = backend.fold(columns, sliding, (count, channels, *size), out)
        result = _placed(backend, result, at, part, bias, images)
    return result


def weight_gradient(backend: Backend, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array:
    """See `Backend.convolution_weight`."""
    out, work = grad.shape[2:], wide(x.dtype)
    total: Array = None
    for at in _blocks(backend, x.shape[0], x.shape[1] * prod(sliding.kernel) * prod(out)):
        rows, columns = _across(grad[at]), _columns(backend, x[at], sliding, out)
        if groups == 1:
            part = backend.matmul(rows, columns.T)
        else:
            across = columns.reshape(groups, -1, columns.shape[-1]).swapaxes(1, 2)
            part = backend.matmul(rows.reshape(groups, -1, rows.shape[-1]), across)
        if total is None:
            total = part
        else:
            (total,) = backend.elementwise(ADD, (total, part), work, (work,), part.shape)
    total = total if total.dtype == x.dtype else backend.astype(total, x.dtype)
    return total.reshape(grad.shape[1], x.shape[1] // groups, *sliding.kernel)
