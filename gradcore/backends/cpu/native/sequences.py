"""Cumulative sums and the CTC loss by native kernels: kernels/host/scan.cpp and ctc.cpp."""

from __future__ import annotations

import functools
from math import prod
from types import SimpleNamespace

import numpy as np

from ...base import Array
from ...cpp.types import FLOAT32, FLOAT64
from ...ctc import CtcInputs
from ..backend import CpuBackend
from .calls import kernels, over_items

_WIDTH = 64  # neighbouring lines that are summed together


@functools.cache
def _scan(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("scan.cpp", ("cumsum",), dtype)


@functools.cache
def _ctc(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("ctc.cpp", ("ctc_alpha", "ctc_gradient"), dtype) if dtype in (FLOAT32, FLOAT64) else None


class NativeSequences(CpuBackend):
    """Cumulative sums and the CTC loss by native kernels, at every size."""

    def cumsum(self, x: Array, axis: int, out_dtype: np.dtype, reverse: bool) -> Array:
        native = _scan(x.dtype) if x.dtype == out_dtype else None
        if native is None or not x.size:
            return super().cumsum(x, axis, out_dtype, reverse)
        n, inner = x.shape[axis], prod(x.shape[axis + 1 :])
        y = np.empty(x.shape, out_dtype)
        items = prod(x.shape[:axis]) * (1 if inner == 1 else -(-inner // _WIDTH))
        arguments = (np.ascontiguousarray(x), y)
        over_items(native.cumsum, arguments, items, n * min(inner, _WIDTH), n, inner, reverse)
        return y

    def ctc_loss(self, inputs: CtcInputs) -> tuple[Array, Array]:
        shape, dtype = inputs.log_probs.shape, inputs.log_probs.dtype
        native = _ctc(dtype)
        if native is None:
            return super().ctc_loss(inputs)
        losses, alpha = np.empty(shape[1], dtype), np.empty(inputs.alpha_shape, dtype)
        arguments = (*inputs.arrays(np), losses, alpha)
        sizes = (*shape, inputs.labels.shape[1], inputs.blank)
        over_items(native.ctc_alpha, arguments, shape[1], 8 * alpha[:, :1].size, *sizes)
        return losses, alpha

    def ctc_loss_backward(
        self, grad: Array, inputs: CtcInputs, losses: Array, alpha: Array, zero_infinity: bool
    ) -> Array:
        shape, dtype = inputs.log_probs.shape, inputs.log_probs.dtype
        native = _ctc(dtype)
        if native is None:
            return super().ctc_loss_backward(grad, inputs, losses, alpha, zero_infinity)
        dx = np.empty(shape, dtype)
        arguments = (np.ascontiguousarray(grad, dtype), *inputs.arrays(np), losses, alpha, dx)
        work = 8 * alpha[:, :1].size + dx[:, :1].size
        sizes = (*shape, inputs.labels.shape[1], inputs.blank, zero_infinity)
        over_items(native.ctc_gradient, arguments, shape[1], work, *sizes)
        return dx
