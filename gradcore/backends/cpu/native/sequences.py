"""Cumulative sums and the CTC loss by native kernels: kernels/host/scan.cpp and ctc.cpp."""

from __future__ import annotations

import functools
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...base import Array
from ...cpp.types import FLOAT32, FLOAT64
from ..backend import CpuBackend
from .calls import kernels, over_items

_INT64 = np.dtype(np.int64)
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

    def ctc_loss(
        self, log_probs: Array, labels: Array, input_lengths: Array, label_lengths: Array, blank: int
    ) -> tuple[Array, Array]:
        native = _ctc(log_probs.dtype)
        if native is None:
            return super().ctc_loss(log_probs, labels, input_lengths, label_lengths, blank)
        steps, batch, classes = log_probs.shape
        longest = labels.shape[1]
        losses = np.empty(batch, log_probs.dtype)
        alpha = np.empty((steps, batch, 2 * longest + 1), log_probs.dtype)
        given = _given(log_probs, labels, input_lengths, label_lengths)
        over_items(
            native.ctc_alpha, (*given, losses, alpha), batch, 8 * alpha[:, :1].size, *log_probs.shape, longest, blank
        )
        return losses, alpha

    def ctc_loss_backward(
        self,
        grad: Array,
        log_probs: Array,
        labels: Array,
        input_lengths: Array,
        label_lengths: Array,
        losses: Array,
        alpha: Array,
        blank: int,
        zero_infinity: bool,
    ) -> Array:
        native = _ctc(log_probs.dtype)
        if native is None:
            return super().ctc_loss_backward(
                grad, log_probs, labels, input_lengths, label_lengths, losses, alpha, blank, zero_infinity
            )
        dx = np.empty(log_probs.shape, log_probs.dtype)
        grad = np.ascontiguousarray(grad, log_probs.dtype)
        given = _given(log_probs, labels, input_lengths, label_lengths)
        arguments = (grad, *given, losses, alpha, dx)
        work = 8 * alpha[:, :1].size + dx[:, :1].size
        sizes = (*log_probs.shape, labels.shape[1], blank, zero_infinity)
        over_items(native.ctc_gradient, arguments, log_probs.shape[1], work, *sizes)
        return dx


def _given(log_probs: Array, *integers: Array) -> tuple[Any, ...]:
    return np.ascontiguousarray(log_probs), *(np.ascontiguousarray(i, _INT64) for i in integers)
