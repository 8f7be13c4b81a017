"""Windows of images as columns, and channels in another order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ...autograd.tape import apply
from ...backends import Sliding
from ...ops import unfolding as ops
from ...tensor.tensor import Tensor

Pair = int | Sequence[int]


def _sliding(kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Sliding:
    pairs = [(v, v) if isinstance(v, int) else tuple(v) for v in (kernel_size, stride, padding, dilation)]
    if any(n <= 0 for pair in (pairs[0], pairs[1], pairs[3]) for n in pair) or min(pairs[2]) < 0:
        raise RuntimeError(
            "kernel size, stride and dilation should be greater than zero and padding not negative, but got "
            f"kernel_size={pairs[0]}, stride={pairs[1]}, dilation={pairs[3]}, padding={pairs[2]}"
        )
    return Sliding(*pairs)


def _places(size: Sequence[int], sliding: Sliding) -> tuple[int, ...]:
    along = zip(size, sliding.kernel, sliding.stride, sliding.padding, sliding.dilation)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in along)


def _text(sliding: Sliding) -> str:
    return f"kernel_size={sliding.kernel}, dilation={sliding.dilation}, padding={sliding.padding}"


def unfold(input: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Any:
    """The windows of images (N, C, H, W), or one image (C, H, W), as columns (N, C * kernel, places): "im2col".

    Raises:
        RuntimeError: the input has another number of dimensions, or no window fits.
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(f"Expected 3D or 4D (batch mode) tensor for input, but got: {list(input.shape)}")
    x: Any = input if input.ndim == 4 else input.unsqueeze(0)
    sliding = _sliding(kernel_size, dilation, padding, stride)
    spatial = tuple(x.shape[2:])
    size = _places(spatial, sliding)
    if min(size) < 1:
        raise RuntimeError(
            f"Given input with spatial size {spatial}, {_text(sliding)}, calculated shape of the array of sliding "
            "blocks "
            f"as {size}, but its components must be at least one."
        )
    out = apply(ops.im2col, (x,), {"sliding": sliding, "places": size})
    return out if input.ndim == 4 else out.squeeze(0)


def fold(
    input: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Any:
    """Columns (N, C * kernel, places), or (C * kernel, places), added up to images (N, C, *output_size): the transpose
    of `unfold`.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(f"Expected 2D or 3D (batch mode) tensor for input, but got: {list(input.shape)}")
    x: Any = input if input.ndim == 3 else input.unsqueeze(0)
    sliding = _sliding(kernel_size, dilation, padding, stride)
    spatial = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    if x.shape[1] % prod(sliding.kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={x.shape[1]} and kernel_size={sliding.kernel}."
        )
    size = _places(spatial, sliding)
    if x.shape[2] != prod(size) or min(size) < 1:
        raise RuntimeError(
            f"Given output_size={spatial}, {_text(sliding)}, stride={sliding.stride}, expected size of input's "
            "dimension "
            f"2 to match the calculated number of sliding blocks {' * '.join(map(str, size))} = {prod(size)}, but got "
            f"input.size(2)={x.shape[2]}."
        )
    shape = (x.shape[1] // prod(sliding.kernel), *spatial)
    out = apply(ops.col2im, (x,), {"sliding": sliding, "shape": shape, "places": size})
    return out if input.ndim == 3 else out.squeeze(0)


def channel_shuffle(input: Tensor, groups: int) -> Any:
    """The channels of (N, C, ...) in turn from each of the `groups` (Zhang et al., CVPR 2018).

    Raises:
        RuntimeError: the number of channels is no multiple of the groups, or there are no channels.
    """
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    channels = input.shape[1]
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    parts = input.reshape(input.shape[0], groups, channels // groups, *input.shape[2:])
    return parts.transpose(1, 2).reshape(input.shape)
