"""Native kernels over the rows of a matrix: kernels/host/softmax.cpp and cross_entropy.cpp."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from ...base import Array
from ...cpp.types import wide
from ..backend import CpuBackend
from .calls import kernels, over_rows

_INT64 = np.dtype(np.int64)


@functools.cache
def _softmax(dtype: np.dtype) -> SimpleNamespace | None:
    return kernels("softmax.cpp", ("softmax", "softmax_backward"), dtype)


@functools.cache
def _cross_entropy(dtype: np.dtype) -> SimpleNamespace | None:
    names = ("cross_entropy", "reduce_losses", "cross_entropy_backward")
    return kernels("cross_entropy.cpp", names, dtype)


class NativeRows(CpuBackend):
    """Softmax and cross-entropy by native kernels, at every size."""

    def softmax(self, x: Array, log: bool, out_dtype: np.dtype) -> Array:
        native = _softmax(x.dtype)
        if native is None or x.dtype != out_dtype:
            return super().softmax(x, log, out_dtype)
        y = np.empty(x.shape, out_dtype)
        over_rows(native.softmax, (x, y), *x.shape, log)
        return y

    def softmax_backward(self, grad: Array, result: Array, log: bool, out_dtype: np.dtype) -> Array:
        native = _softmax(result.dtype)
        if native is None or not (grad.dtype == result.dtype == out_dtype):
            return super().softmax_backward(grad, result, log, out_dtype)
        dx = np.empty(result.shape, out_dtype)
        over_rows(native.softmax_backward, (grad, result, dx), *result.shape, log)
        return dx

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array | None]:
        native = _cross_entropy(logits.dtype)
        if native is None:
            return super().cross_entropy(logits, target, weight, ignore_index, label_smoothing)
        rows, work = logits.shape[0], wide(logits.dtype)
        losses, lse, weights = outputs = np.empty(rows, work), np.empty(rows, work), np.empty(rows, work)
        _losses(native, logits, target, weight, outputs, ignore_index, label_smoothing)
        return losses.astype(logits.dtype, copy=False), lse, weights

    def cross_entropy_loss(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        reduction: str,
        ignore_index: int,
        label_smoothing: float,
    ) -> tuple[Array, Array, Array]:
        native = _cross_entropy(logits.dtype)
        if native is None or reduction == "none":
            return super().cross_entropy_loss(logits, target, weight, reduction, ignore_index, label_smoothing)
        rows, dtype, work = logits.shape[0], logits.dtype, wide(logits.dtype)
        losses, lse, weights = outputs = np.empty(rows, work), np.empty(rows, work), np.empty(rows, work)
        loss, total = np.empty((), dtype), np.empty((), work)
        _losses(native, logits, target, weight, outputs, ignore_index, label_smoothing)
        native.reduce_losses.short(losses, weights, loss, total, rows, reduction == "mean")
        return loss, lse, total

    def cross_entropy_loss_backward(
        self,
        grad: Array,
        logits: Array,
        target: Array,
        weight: Array | None,
        lse: Array,
        total: Array | None,
        ignore_index: int,
        label_smoothing: float,
    ) -> Array:
        dtype = logits.dtype
        native = _cross_entropy(dtype)
        if native is None or grad.dtype != dtype:
            return super().cross_entropy_loss_backward(
                grad, logits, target, weight, lse, total, ignore_index, label_smoothing
            )
        step = grad.strides[0] // grad.itemsize if grad.ndim else 0
        dx = np.empty(logits.shape, dtype)
        bad = over_rows(
            native.cross_entropy_backward,
            (grad, step, total, logits, _indices(target), _weight(weight, wide(dtype)), lse, dx),
            *logits.shape,
            ignore_index,
            label_smoothing,
        )
        if bad >= 0:
            raise _out_of_range(target, bad, logits)
        return dx

    def cross_entropy_backward(
        self,
        grad: Array,
        logits: Array,
        target: Array,
        weight: Array | None,
        lse: Array,
        ignore_index: int,
        label_smoothing: float,
    ) -> Array:
        if _cross_entropy(logits.dtype) is None:
            return super().cross_entropy_backward(grad, logits, target, weight, lse, ignore_index, label_smoothing)
        grad = grad.astype(logits.dtype, copy=False)
        return self.cross_entropy_loss_backward(grad, logits, target, weight, lse, None, ignore_index, label_smoothing)


def _losses(
    native: SimpleNamespace,
    logits: Array,
    target: Array,
    weight: Array | None,
    outputs: tuple[Array, Array, Array],
    ignore_index: int,
    label_smoothing: float,
) -> None:
    arguments = (logits, _indices(target), _weight(weight, outputs[0].dtype), *outputs)
    bad = over_rows(native.cross_entropy, arguments, *logits.shape, ignore_index, label_smoothing)
    if bad >= 0:
        raise _out_of_range(target, bad, logits)


def _indices(target: Array) -> Array:
    return target if target.dtype is _INT64 and target.flags.c_contiguous else np.ascontiguousarray(target, _INT64)


def _weight(weight: Array | None, work: np.dtype) -> Array | None:
    return None if weight is None else np.ascontiguousarray(weight, work)


def _out_of_range(target: Array, row: int, logits: Array) -> IndexError:
    return IndexError(
        f"cross_entropy(): Target {target[row]} is out of bounds (the input has {logits.shape[1]} classes)"
    )
