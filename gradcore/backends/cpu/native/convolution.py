"""Convolutions by native kernels, without columns: kernels/host/convolution.cpp."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import product
from math import ceil, prod
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ...base import Array
from ...cpp.types import FLOAT32, FLOAT64
from ...sliding import Sliding, in_space
from ..backend import CpuBackend
from ..threads import get_num_threads, parallel
from .calls import GRAIN, kernels, over_items

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


class _Pass(NamedTuple):
    """What a kernel is told of the three dimensions, for places of the result that meet the same taps."""

    source: Array  # for each dimension the input's size, left padding, step and phases, and the size of a plane
    target: Array  # for each dimension the result's size, and first place, step and count of those that are meant
    taps: Array  # for each tap its phase and its offset within a plane
    chosen: Array  # the taps' numbers in the kernel

    def together(self, images: int, channels: int, itemsize: int) -> int:
        """How many images share planes."""
        volume = prod(int(axis[4]) for axis in self.source)
        image = channels * prod(int(axis[3]) for axis in self.source) * volume * itemsize
        return max(1, min(images, ceil(_ROW / volume), _PLANES // image))


def _taps(axes: Sequence[Sequence[tuple[int, int, int]]], phases: Sequence[int], planes: Sequence[int]) -> Array:
    """From (number, phase, offset) of each dimension's taps the phase and offset of all."""
    found = [
        ((d[1] * phases[1] + h[1]) * phases[2] + w[1], (d[2] * planes[1] + h[2]) * planes[2] + w[2])
        for d, h, w in product(*axes)
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def _chosen(axes: Sequence[Sequence[tuple[int, int, int]]], kernel: Size) -> Array:
    return np.array([(d[0] * kernel[1] + h[0]) * kernel[2] + w[0] for d, h, w in product(*axes)], np.int64)


@functools.lru_cache(maxsize=256)
def _forward(sliding: Sliding, size: Size, out: Size) -> _Pass:
    s = sliding.in_space()
    source, target, taps = [], [], []
    for n, m, k, stride, left, dilation in zip(
        in_space(size), in_space(out), s.kernel, s.stride, s.padding, s.dilation, strict=True
    ):
        plane = ceil(((m - 1) * stride + (k - 1) * dilation + 1) / stride)
        source.append((n, left, stride, 1 if k == 1 else stride, plane))
        target.append((m, 0, 1, m))
        taps.append([(t, t * dilation % stride, t * dilation // stride) for t in range(k)])
    phases, planes = [a[3] for a in source], [a[4] for a in source]
    return _Pass(*_tables(source, target), _taps(taps, phases, planes), _chosen(taps, s.kernel))


@functools.lru_cache(maxsize=256)
def _backward(sliding: Sliding, size: Size, out: Size) -> tuple[_Pass, ...]:
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
            passes.append(_Pass(*_tables(source, target), _taps(taps, (1, 1, 1), planes), _chosen(taps, s.kernel)))
    return tuple(passes)


def _tables(source: Any, target: Any) -> tuple[Array, Array]:
    return np.array(source, np.int64), np.array(target, np.int64)


def _correlate(
    native: SimpleNamespace, x: Array, weight: Array, bias: Array | None, at: _Pass, groups: int, result: Array
) -> None:
    """One pass; `weight` is (groups, channels out, channels in, taps)."""
    weight = np.ascontiguousarray(weight)
    packed = np.empty_like(weight)
    _, out, channels, count = weight.shape
    native.pack.short(weight, packed, groups, out, channels * count)
    images = x.shape[0]
    together = at.together(images, channels, x.itemsize)
    items, rows = ceil(images / together) * groups, out
    if items < 2 * get_num_threads():  # what a thread does for an image can be cut, too
        rows = _ROWS * ceil(out / _ROWS / ceil(2 * get_num_threads() / items))
        items *= ceil(out / rows)
    arguments = (x, result, packed, None if bias is None else np.ascontiguousarray(bias), *at[:3])
    work = ceil(result.size * channels * count / items / _ROWS)
    over_items(native.correlate, arguments, items, work, images, groups, channels, out, count, together, rows)


class NativeConvolution(CpuBackend):
    """Convolutions by native kernels; those of one place alone are left to matrix products."""

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, sliding: Sliding, out: tuple[int, ...], groups: int
    ) -> Array:
        native = _kernels(x.dtype)
        if native is None:
            return super().convolution(x, weight, bias, sliding, out, groups)
        result = np.empty((x.shape[0], weight.shape[0], *out), x.dtype)
        at = _forward(sliding, x.shape[2:], tuple(out))
        _correlate(native, x, weight.reshape(groups, -1, weight.shape[1], len(at.taps)), bias, at, groups, result)
        return result

    def convolution_input(
        self, grad: Array, weight: Array, bias: Array | None, sliding: Sliding, size: tuple[int, ...], groups: int
    ) -> Array:
        native = _kernels(grad.dtype)
        if native is None:
            return super().convolution_input(grad, weight, bias, sliding, size, groups)
        channels = weight.shape[1]
        result = np.empty((grad.shape[0], channels * groups, *size), grad.dtype)
        by_tap = weight.reshape(groups, -1, channels, prod(sliding.kernel)).swapaxes(1, 2)
        for at in _backward(sliding, tuple(size), grad.shape[2:]):
            _correlate(native, grad, by_tap[..., at.chosen], bias, at, groups, result)
        return result

    def convolution_weight(self, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array:
        native = _kernels(x.dtype)
        if native is None:
            return super().convolution_weight(grad, x, sliding, groups)
        images, channels, out = x.shape[0], x.shape[1] // groups, grad.shape[1] // groups
        at = _forward(sliding, x.shape[2:], grad.shape[2:])
        result = np.empty((groups * out, channels, *sliding.kernel), x.dtype)
        together = at.together(images, channels, x.itemsize)
        several = out >= _SEVERAL
        kernel = native.weight_gradient if several else native.weight_gradient_by_dots
        arguments = (x, grad, result, *at[:3])
        numbers = (images, groups, channels, out, len(at.taps), together)
        items = groups * (channels if several else out)
        if x.size + grad.size < GRAIN:
            kernel.short(*arguments, 0, items, *numbers)
        else:  # each piece lays out the gradient, or the input, for itself
            run = kernel.long
            parallel(lambda begin, end: run(*arguments, begin, end, *numbers), items, ceil(items / get_num_threads()))
        return result
