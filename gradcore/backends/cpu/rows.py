"""Softmax and cross-entropy of rows, in NumPy: a few rows at a time, so that every step finds them in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base import Array, Backend
from ..cpp.types import wide
from .threads import GRAIN, parallel

# Elements of the rows worked on at a time.
ROWS = 1 << 16


def in_blocks(function: Callable[[slice, Array], None], rows: int, columns: int, dtype: np.dtype) -> None:
    """Call `function(rows, scratch)` for slices of the rows, on several threads where there are many.

    `scratch` is an array (rows, columns) of `dtype` to work in.
    """
    step = max(1, min(rows, ROWS // max(columns, 1)))
    if step == rows:
        function(slice(0, rows), np.empty((rows, columns), dtype))
        return
    count = -(-rows // step)

    def task(start: int, stop: int) -> None:
        scratch = np.empty((step, columns), dtype)
        for first in range(start * step, min(stop * step, rows), step):
            last = min(first + step, rows)
            function(slice(first, last), scratch[: last - first])

    parallel(task, count, max(1, GRAIN // max(step * columns, 1)))


class Rows(Backend):
    """The kernels over rows."""

    def softmax(self, x: Array, log: bool, out_dtype: np.dtype) -> Array:
        work = wide(x.dtype)
        out = np.empty(x.shape, out_dtype)

        def block(at: slice, scratch: Array) -> None:
            result = out[at] if out_dtype == work else scratch
            shifted = np.subtract(x[at], np.maximum.reduce(x[at], 1, keepdims=True), out=result, dtype=work)
            if log:
                powers = np.exp(shifted, out=scratch if result is not scratch else None)
                shifted -= np.log(np.add.reduce(powers, 1, keepdims=True))
            else:
                np.exp(shifted, out=shifted)
                shifted /= np.add.reduce(shifted, 1, keepdims=True)
            if result is scratch:
                out[at] = scratch

        rows, columns = x.shape
        if x.size:
            in_blocks(block, rows, columns, work)
        return out

    def softmax_backward(self, grad: Array, result: Array, log: bool, out_dtype: np.dtype) -> Array:
        work = wide(result.dtype)
        out = np.empty(result.shape, out_dtype)

        def block(at: slice, scratch: Array) -> None:
            g, y = grad[at].astype(work, copy=False), result[at].astype(work, copy=False)
            if log:  # grad - exp(result) * sum(grad)
                np.exp(y, out=scratch)
                scratch *= np.add.reduce(g, 1, keepdims=True)
                np.subtract(g, scratch, out=out[at], casting="same_kind")
            else:  # result * (grad - sum(grad * result))
                np.subtract(g, np.vecdot(g, y)[:, None], out=scratch)
                np.multiply(scratch, y, out=out[at], casting="same_kind")

        rows, columns = result.shape
        in_blocks(block, rows, columns, work)
        return out

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array | None]:
        work = wide(logits.dtype)
        rows, classes = logits.shape
        keep, safe = _targets(target, classes, ignore_index)
        lse, chosen, total = np.empty(rows, work), np.empty(rows, work), None
        weighted = keep is not None or weight is not None or label_smoothing != 0
        if weighted:
            full = np.ones(classes, work) if weight is None else weight.astype(work, copy=False)
            total = np.empty(rows, work) if label_smoothing else None

        def block(at: slice, scratch: Array) -> None:
            x = logits[at]
            top = np.maximum.reduce(x, 1) if classes else np.zeros(len(x), work)
            np.subtract(x, top[:, None], out=scratch, dtype=work)
            np.exp(scratch, out=scratch)
            np.log(np.add.reduce(scratch, 1), out=lse[at])
            lse[at] += top
            chosen[at] = x.reshape(-1)[_flat(safe[at], classes)]
            if total is not None:
                total[at] = x.astype(work, copy=False) @ full

        in_blocks(block, rows, classes, work)
        loss = lse - chosen
        if not weighted:
            return loss.astype(logits.dtype, copy=False), lse, None
        w = full[safe]
        if keep is not None:
            w = np.where(keep, w, 0)
        loss *= w
        if total is not None:
            # Every row's loss is a weighted sum over classes c of q[c] * (lse - x[c]).
            smooth = (lse * full.sum() - total) / classes
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
        out = np.empty(logits.shape, logits.dtype)
        g = grad.astype(work, copy=False)
        if keep is not None:
            g = np.where(keep, g, 0)
        w = None if weight is None else weight.astype(work, copy=False)
        if label_smoothing:
            # The gradient of sum(q * (lse - x)) is sum(q) * softmax(x) - q, where q is `spread` for every class and
            # `peak` more for the target.
            spread = np.full(classes, label_smoothing / classes, work)
            spread *= 1 if w is None else w
            peak = np.full(rows, 1 - label_smoothing, work)
            peak *= 1 if w is None else w[safe]
            mass = peak + spread.sum()
        elif w is not None:
            g = g * w[safe]

        def block(at: slice, scratch: Array) -> None:
            result = out[at] if logits.dtype == work else scratch
            np.subtract(logits[at], lse[at, None], out=result, dtype=work)
            np.exp(result, out=result)
            places, target = result.reshape(-1), _flat(safe[at], classes)
            if label_smoothing:
                result *= mass[at, None]
                result -= spread
                places[target] -= peak[at]
            else:
                places[target] -= 1
            result *= g[at, None]
            if result is scratch:
                out[at] = scratch

        in_blocks(block, rows, classes, work)
        return out


def _flat(target: Array, classes: int) -> Array:
    """Where each row's target is, the rows one after the other."""
    return np.arange(0, len(target) * classes, classes) + target if classes else target


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
