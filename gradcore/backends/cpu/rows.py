"""Softmax and cross-entropy of rows, in NumPy."""

from __future__ import annotations

import numpy as np

from ..base import Array, Backend
from .dtypes import wide


class Rows(Backend):
    """The kernels over rows."""

    def softmax(self, x: Array, log: bool, out_dtype: np.dtype) -> Array:
        x = x.astype(wide(x.dtype), copy=False)
        if x.size == 0:
            return x.astype(out_dtype)
        shifted = x - x.max(axis=1, keepdims=True)
        if log:
            shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        else:
            np.exp(shifted, out=shifted)
            shifted /= shifted.sum(axis=1, keepdims=True)
        return shifted.astype(out_dtype, copy=False)

    def softmax_backward(self, grad: Array, result: Array, log: bool, out_dtype: np.dtype) -> Array:
        work = wide(result.dtype)
        grad, result = grad.astype(work, copy=False), result.astype(work, copy=False)
        if log:
            out = grad - np.exp(result) * grad.sum(axis=1, keepdims=True)
        else:
            out = result * (grad - (grad * result).sum(axis=1, keepdims=True))
        return out.astype(out_dtype, copy=False)

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array | None]:
        work = wide(logits.dtype)
        x = logits.astype(work, copy=False)
        rows, classes = x.shape
        keep, safe = _targets(target, classes, ignore_index)
        top = np.maximum.reduce(x, 1) if classes else np.zeros(rows, work)
        shifted = x - top[:, None]
        lse = np.log(np.add.reduce(np.exp(shifted, shifted), 1)) + top
        loss = lse - x[np.arange(rows), safe]
        if keep is None and weight is None and not label_smoothing:
            return loss.astype(logits.dtype, copy=False), lse, None
        full = np.ones(classes, work) if weight is None else weight.astype(work, copy=False)
        w = full[safe]
        if keep is not None:
            w = np.where(keep, w, 0)
        loss *= w
        if label_smoothing:
            # Every row's loss is a weighted sum over classes c of q[c] * (lse - x[c]).
            smooth = (lse * full.sum() - x @ full) / classes
            loss = (1 - label_smoothing) * loss + label_smoothing * smooth
        if keep is not None:
            loss = np.where(keep, loss, 0)
        return loss.astype(logits.dtype, copy=False), lse, w

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
        work = wide(logits.dtype)
        rows, classes = logits.shape
        keep, safe = _targets(target, classes, ignore_index)
        out = logits.astype(work, copy=False) - lse[:, None]
        np.exp(out, out)
        index = np.arange(rows)
        w = None if weight is None else weight.astype(work, copy=False)
        if label_smoothing:
            # The gradient of sum(q * (lse - x)) is sum(q) * softmax(x) - q.
            q = np.full((rows, classes), label_smoothing / classes, work)
            if w is not None:
                q *= w
            q[index, safe] += (1 - label_smoothing) * (1 if w is None else w[safe])
            out *= q.sum(axis=1, keepdims=True)
            out -= q
        else:
            out[index, safe] -= 1
            if w is not None:
                out *= w[safe][:, None]
        g = grad.astype(work, copy=False)
        out *= (g if keep is None else np.where(keep, g, 0))[:, None]
        return out.astype(logits.dtype, copy=False)


def _targets(target: Array, classes: int, ignore_index: int) -> tuple[Array | None, Array]:
    """The rows that count (None: all of them), and targets with the ignored ones replaced by 0."""
    # As unsigned numbers negative targets are large: one pass finds both kinds that are out of range.
    if not (0 <= ignore_index < classes) and (target.size == 0 or np.maximum.reduce(target.view(np.uint64)) < classes):
        return None, target
    keep = target != ignore_index
    safe = np.where(keep, target, 0)
    bad = safe[(safe < 0) | (safe >= classes)]
    if bad.size:
        raise IndexError(f"cross_entropy(): Target {bad[0]} is out of bounds (the input has {classes} classes)")
    return keep, safe
