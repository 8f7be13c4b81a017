"""Convolutions by native kernels, without columns: kernels/host/convolution.cpp."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import chain, product
from math import ceil, prod
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ...base import Array
from ...cpp.types import FLOAT32, FLOAT64
from ...sliding import Sliding, in_space
from ..backend import CpuBackend
from ..threads import get_num_threads
from .calls import kernels, over_items

# Elements that a row of places should have, and bytes that the planes of several images may take.
_ROW, _PLANES = 1024, 1 << 18
# Rows of the weight that a kernel takes together, at most; channels of the output from which the gradient of the weight
# is made of outer products.
_ROWS, _SEVERAL = 8, 5

Size = tuple[int, ...]


@functools.cache
def _kernels(dtype: np.dtype) -> SimpleNamespace | None:
    if dtype not in (FLOAT32, FLOAT64):
        return None
    names = ("pack", "correlate", "weight_gradient", "weight_gradient_by_dots")
    return kernels("convolution.cpp", names, dtype, fused=True)


class _Sizes(NamedTuple):
    """What a convolution has, beside places: channels in and out are those of a group."""

    images: int
    groups: int
    channels: int
    out: int
    itemsize: int


class _Pass(NamedTuple):
    """What a kernel is told, for places of the result that meet the same taps."""

    together: int  # how many images share planes
    geometry: Array  # its struct Geometry
    taps: Array  # for each its phase and its offset within a plane
    chosen: Array  # the taps' numbers in the convolution's kernel


def _pass(
    source: Sequence[tuple[int, ...]],
    target: Sequence[tuple[int, ...]],
    taps: Sequence[Sequence[tuple[int, int, int]]],
    kernel: Size,
    sizes: _Sizes,
) -> _Pass:
    """From what holds for each of the three dimensions.

    `source` is the input's size, left padding, step and phases, and the size of a plane; `target` the result's size,
    and first place, step and count of those that are meant; `taps` the number, the phase and the offset of each.
    """
    phases, planes = [axis[3] for axis in source], [axis[4] for axis in source]
    volume = prod(planes)
    image = sizes.channels * prod(phases) * volume * sizes.itemsize
    together = max(1, min(sizes.images, ceil(_ROW / volume), _PLANES // image))
    met, chosen = [], []
    for d, h, w in product(*taps):
        met.append((d[1] * phases[1] + h[1]) * phases[2] + w[1])
        met.append((d[2] * planes[1] + h[2]) * planes[2] + w[2])
        chosen.append((d[0] * kernel[1] + h[0]) * kernel[2] + w[0])
    geometry = [*sizes[:4], len(chosen), together, *chain(*source), *chain(*target)]
    tables = (np.array(table, np.int64) for table in (geometry, met, chosen))
    return _Pass(together, *tables)


@functools.lru_cache(maxsize=256)
def _forward(sliding: Sliding, size: Size, out: Size, sizes: _Sizes) -> _Pass:
    s = sliding.in_space()
    source, target, taps = [], [], []
    for n, m, k, stride, left, dilation in zip(
        in_space(size), in_space(out), s.kernel, s.stride, s.padding, s.dilation, strict=True
    ):
        plane = ceil(((m - 1) * stride + (k - 1) * dilation + 1) / stride)
        source.append((n, left, stride, 1 if k == 1 else stride, plane))
        target.append((m, 0, 1, m))
        taps.append([(t, t * dilation % stride, t * dilation // stride) for t in range(k)])
    return _pass(source, target, taps, s.kernel, sizes)


@functools.lru_cache(maxsize=256)
def _backward(sliding: Sliding, size: Size, out: Size, sizes: _Sizes) -> tuple[_Pass, ...]:
    """For each remainder of the input's place (with its padding) modulo the stride the taps that lead there."""
    s = sliding.in_space()
    # Place i of the input is t * stride + remainder - padding, and meets tap k at place t - (k * dilation) // stride of
    # the output. The planes are those of the output's gradient, moved by the largest of these.
    axes = list(zip(in_space(size), in_space(out), s.kernel, s.stride, s.padding, s.dilation, strict=True))
    lefts = [(k - 1) * dilation // stride for _, _, k, stride, _, dilation in axes]
    planes = [(n - 1 + padding) // stride + 1 + left for (n, _, _, stride, padding, _), left in zip(axes, lefts)]
    source = [(m, left, 1, 1, plane) for (_, m, *_), left, plane in zip(axes, lefts, planes)]
    passes = []
    for remainders in product(*(range(stride) for stride in s.stride)):
        target, taps = [], []
        for (n, _, k, stride, padding, dilation), left, r in zip(axes, lefts, remainders):
            start = max(0, -((r - padding) // stride))
            first = start * stride + r - padding
            target.append((n, first, stride, max(0, -((first - n) // stride))))
            taps.append([(t, 0, start + left - t * dilation // stride) for t in range(k) if t * dilation % stride == r])
        if all(count for *_, count in target):
            passes.append(_pass(source, target, taps, s.kernel, sizes))
    return tuple(passes)


def _correlate(native: SimpleNamespace, x: Array, weight: Array, bias: Array | None, at: _Pass, result: Array) -> None:
    """One pass; `weight` is (groups, channels out, channels in, taps)."""
    weight = np.ascontiguousarray(weight)
    packed = np.empty_like(weight)
    groups, out, channels, count = weight.shape
    native.pack.short(weight, packed, groups, out, channels * count)
    items, rows = ceil(x.shape[0] / at.together) * groups, out
    if items < 2 * get_num_threads():  # what a thread does for an image can be cut, too
        rows = _ROWS * ceil(out / _ROWS / ceil(2 * get_num_threads() / items))
        items *= ceil(out / rows)
    arguments = (x, result, packed, None if bias is None else np.ascontiguousarray(bias), at.geometry, at.taps)
    over_items(native.correlate, arguments, items, ceil(result.size * channels * count / items / _ROWS), rows)


class NativeConvolution(CpuBackend):
    """Convolutions by native kernels; those of one place alone are left to matrix products."""

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, sliding: Sliding, out: tuple[int, ...], groups: int
    ) -> Array:
        native = _kernels(x.dtype)
        if native is None:
            return super().convolution(x, weight, bias, sliding, out, groups)
        result = np.empty((x.shape[0], weight.shape[0], *out), x.dtype)
        sizes = _Sizes(x.shape[0], groups, weight.shape[1], weight.shape[0] // groups, x.itemsize)
        at = _forward(sliding, x.shape[2:], tuple(out), sizes)
        by_tap = weight.reshape(groups, sizes.out, sizes.channels, prod(sliding.kernel))
        _correlate(native, x, by_tap, bias, at, result)
        return result

    def convolution_input(
        self, grad: Array, weight: Array, bias: Array | None, sliding: Sliding, size: tuple[int, ...], groups: int
    ) -> Array:
        native = _kernels(grad.dtype)
        if native is None:
            return super().convolution_input(grad, weight, bias, sliding, size, groups)
        images, (all_out, channels) = grad.shape[0], weight.shape[:2]
        result = np.empty((images, channels * groups, *size), grad.dtype)
        by_tap = weight.reshape(groups, -1, channels, prod(sliding.kernel)).swapaxes(1, 2)
        sizes = _Sizes(images, groups, all_out // groups, channels, grad.itemsize)
        for at in _backward(sliding, tuple(size), grad.shape[2:], sizes):
            _correlate(native, grad, by_tap[..., at.chosen], bias, at, result)
        return result

    def convolution_weight(self, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array:
        native = _kernels(x.dtype)
        if native is None:
            return super().convolution_weight(grad, x, sliding, groups)
        images, channels, out = x.shape[0], x.shape[1] // groups, grad.shape[1] // groups
        sizes = _Sizes(images, groups, channels, out, x.itemsize)
        at = _forward(sliding, x.shape[2:], grad.shape[2:], sizes)
        result = np.empty((groups * out, channels, *sliding.kernel), x.dtype)
        several = out >= _SEVERAL
        kernel = native.weight_gradient if several else native.weight_gradient_by_dots
        arguments = (x, grad, result, at.geometry, at.taps)
        items = groups * (channels if several else out)
        # Each piece lays out the gradient, or the input, for itself, so no thread takes more than one.
        piece = ceil(items / get_num_threads())
        over_items(kernel, arguments, items, ceil((x.size + grad.size) / items), piece=piece)
        return result
