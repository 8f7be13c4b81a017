"""Native kernels that normalize rows and channels: kernels/host/layer_norm.cpp and channel_norm.cpp."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from ...base import Array
from ...cpp.types import wide
from ..backend import CpuBackend
from ..threads import parallel
from .calls import GRAIN, kernels, over_items, over_rows

# Blocks of rows with sums of their own, at most: it must not depend on the number of threads.
_BLOCKS = 32
# Elements that a channel has side by side, at least: fewer are not worth a loop of their own.
_RUN = 16


@functools.cache
def _kernels(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("layer_norm.cpp", ("layer_norm", "layer_norm_backward", "sum_blocks"), dtype)


@functools.cache
def _channels(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("channel_norm.cpp", ("channel_moments", "channel_sums"), dtype)


class NativeNorms(CpuBackend):
    """Layer norm and RMS norm, and the sums over channels of the others, by native kernels, at every size."""

    def layer_norm(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        out_dtype: np.dtype,
        centered: bool = True,
    ) -> tuple[Array, Array | None, Array]:
        native = _kernels(x.dtype)
        if native is None or x.dtype != out_dtype or not x.size:
            return super().layer_norm(x, weight, bias, eps, out_dtype, centered)
        rows, work = x.shape[0], wide(x.dtype)
        y, rstd = np.empty(x.shape, out_dtype), np.empty(rows, work)
        mean = np.empty(rows, work) if centered else None
        arguments = (x, _parameter(weight, work), _parameter(bias, work), y, mean, rstd)
        over_rows(native.layer_norm, arguments, *x.shape, eps)
        return y, mean, rstd

    def layer_norm_backward(
        self,
        grad: Array,
        x: Array,
        mean: Array | None,
        rstd: Array,
        weight: Array | None,
        needs: tuple[bool, ...],
    ) -> tuple[Array | None, Array | None, Array | None]:
        native = _kernels(x.dtype)
        if native is None or grad.dtype != x.dtype or not x.size:
            return super().layer_norm_backward(grad, x, mean, rstd, weight, needs)
        (rows, columns), work = x.shape, wide(x.dtype)
        height = -(-rows // _BLOCKS)
        blocks = -(-rows // height)
        dx = np.empty(x.shape, x.dtype) if needs[0] else None
        sums = [np.zeros((blocks, columns)) if need else None for need in needs[1:]]
        arguments = (grad, x, mean, rstd, _parameter(weight, work), dx, *sums)
        sizes = (height, rows, columns)
        if x.size < GRAIN:
            native.layer_norm_backward.short(*arguments, 0, blocks, *sizes)
        else:
            run = native.layer_norm_backward.long
            grain = max(1, GRAIN // (height * columns))
            parallel(lambda begin, end: run(*arguments, begin, end, *sizes), blocks, grain)
        kept = x.dtype if weight is None else weight.dtype

        def total(by_block: Array | None) -> Array | None:
            if by_block is None:
                return None
            out = np.empty(columns, work)
            native.sum_blocks.short(by_block, out, blocks, columns)
            return out.astype(kept, copy=False)

        return dx, total(sums[0]), total(sums[1])

    def channel_moments(self, x: Array, eps: float) -> tuple[Array, Array, Array]:
        native = _channels(x.dtype)
        outer, channels, inner = x.shape
        if native is None or inner < _RUN:
            return super().channel_moments(x, eps)
        mean, variance = np.empty(channels, wide(x.dtype)), np.empty(channels, wide(x.dtype))
        over_items(native.channel_moments, (x, mean, variance), channels, outer * inner, *x.shape)
        return mean, variance, 1 / np.sqrt(variance + eps)

    def channel_sums(self, grad: Array, x: Array, mean: Array, rstd: Array) -> Sequence[Array]:
        native = _channels(x.dtype)
        outer, statistics, each, inner = x.shape
        if native is None or inner < _RUN or grad.dtype != x.dtype:
            return super().channel_sums(grad, x, mean, rstd)
        channels = statistics * each
        first, second = np.empty((2, statistics, each), mean.dtype)
        arguments = (grad, x, np.repeat(mean, each), np.repeat(rstd, each), first, second)
        over_items(native.channel_sums, arguments, channels, outer * inner, outer, channels, inner)
        return first, second


def _parameter(values: Array | None, work: np.dtype) -> Array | None:
    return None if values is None else np.ascontiguousarray(values, work)
