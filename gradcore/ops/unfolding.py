"""What a sliding window meets, as columns, and the sum of such columns: linear ops, each the transpose of the other."""

from __future__ import annotations

from math import prod

from ..backends import Array, Sliding, backend_of
from .core import array_op, whole
from .shape import reshape

Size = tuple[int, ...]


@array_op(public=False, grad_name="Im2ColBackward0", linear=["input"])
def im2col(input: Array, sliding: Sliding, places: Size) -> Array:
    """(images, channels, *spatial) to (images, channels * kernel, places), `places` of them."""
    backend, images = backend_of(input), input.shape[0]
    rows = input.shape[1] * prod(sliding.kernel)
    if not input.size:
        return backend.full((images, rows, prod(places)), 0, input.dtype)
    return backend.unfold(whole(input), sliding, places).reshape(rows, images, -1).swapaxes(0, 1)


@array_op(public=False, grad_name="Col2ImBackward0", linear=["columns"])
def col2im(columns: Array, sliding: Sliding, shape: Size, places: Size) -> Array:
    """The transpose of `im2col`: each element of an array of `shape` (channels, *spatial), for each image, gets the sum
    of what was made of it."""
    backend, images = backend_of(columns), columns.shape[0]
    if not columns.size:
        return backend.full((images, *shape), 0, columns.dtype)
    flat = backend.copy(columns.swapaxes(0, 1)).reshape(columns.shape[1], -1)
    return backend.fold(flat, sliding, (images, *shape), places)


im2col.derivative(
    input=lambda g, input_shape, sliding, places: col2im(g, sliding=sliding, shape=input_shape[1:], places=places)
)
col2im.derivative(columns=lambda g, sliding, places: im2col(g, sliding=sliding, places=places))


@im2col.batching
def _im2col_batch(input: Array, input_shape: Size, sliding: Sliding, places: Size) -> Array:
    # The members' images are images of one.
    flat = reshape(input, shape=(-1, *input_shape[1:]))
    found = im2col(flat, sliding=sliding, places=places)
    return reshape(found, shape=(-1, input_shape[0], *found.shape[1:]))


@col2im.batching
def _col2im_batch(columns: Array, columns_shape: Size, sliding: Sliding, shape: Size, places: Size) -> Array:
    flat = reshape(columns, shape=(-1, *columns_shape[1:]))
    found = col2im(flat, sliding=sliding, shape=shape, places=places)
    return reshape(found, shape=(-1, columns_shape[0], *found.shape[1:]))
