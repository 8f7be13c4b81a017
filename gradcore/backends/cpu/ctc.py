"""Connectionist temporal classification in NumPy: the whole batch and all labels at once, step after step.

A. Graves et al., "Connectionist temporal classification", ICML 2006.
"""

from __future__ import annotations

import numpy as np

from ..base import Array, Backend
from ..ctc import CtcInputs


def _extended(labels: Array, blank: int) -> tuple[Array, Array]:
    """The labels (batch, places) with blanks around each; and where a place may be reached from two before it."""
    batch, longest = labels.shape
    places = np.full((batch, 2 * longest + 1), blank, np.int64)
    places[:, 1::2] = labels
    skips = np.zeros(places.shape, bool)
    skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    return places, skips


def _log_sum(*parts: Array) -> Array:
    """The logarithm of the sum of exponentials."""
    top = np.maximum.reduce(parts)
    shift = np.where(np.isfinite(top), top, 0)
    total = np.exp(parts[0] - shift)
    for part in parts[1:]:
        total += np.exp(part - shift)
    with np.errstate(divide="ignore"):
        return np.log(total, out=total) + shift


def _moved(x: Array, by: int) -> Array:
    """`x` (batch, places) moved to later places, or to earlier ones, with minus infinity in what is left."""
    out = np.full_like(x, -np.inf)
    if by > 0:
        out[:, by:] = x[:, :-by]
    else:
        out[:, :by] = x[:, -by:]
    return out


class Ctc(Backend):
    """The forward-backward algorithm."""

    def ctc_loss(self, inputs: CtcInputs) -> tuple[Array, Array]:
        log_probs, labels, input_lengths, label_lengths, blank = inputs
        places, skips = _extended(labels, blank)
        batch, count = places.shape
        alpha = np.full(inputs.alpha_shape, -np.inf, log_probs.dtype)
        unskipped = np.where(skips, 0, -np.inf).astype(alpha.dtype)
        for t, step in enumerate(log_probs):
            emitted = np.take_along_axis(step, places, 1)
            if t == 0:
                alpha[0, :, :2] = emitted[:, :2]
            else:
                before = alpha[t - 1]
                alpha[t] = emitted + _log_sum(before, _moved(before, 1), _moved(before, 2) + unskipped)
        rows = np.arange(batch)
        last = alpha[input_lengths - 1, rows] if len(alpha) else np.full((batch, count), -np.inf, alpha.dtype)
        at_blank = last[rows, 2 * label_lengths]
        at_label = np.where(label_lengths > 0, last[rows, 2 * label_lengths - 1], -np.inf)
        losses = -_log_sum(at_blank, at_label)
        # Without input only the empty sequence is possible.
        losses = np.where(input_lengths == 0, np.where(label_lengths == 0, 0, np.inf), losses)
        return losses.astype(log_probs.dtype, copy=False), alpha

    def ctc_loss_backward(
        self, grad: Array, inputs: CtcInputs, losses: Array, alpha: Array, zero_infinity: bool
    ) -> Array:
        log_probs, labels, input_lengths, label_lengths, blank = inputs
        places, skips = _extended(labels, blank)
        steps, batch, classes = log_probs.shape
        ahead = np.full(skips.shape, -np.inf, log_probs.dtype)
        ahead[:, :-2][skips[:, 2:]] = 0
        # At its end an alignment is at the last label or at the blank after it.
        position = np.arange(places.shape[1])
        ends = (position == 2 * label_lengths[:, None]) | (position == 2 * label_lengths[:, None] - 1)
        beta = np.full(places.shape, -np.inf, log_probs.dtype)
        dx = np.exp(log_probs)
        cell = np.arange(batch)[:, None] * classes + places
        with np.errstate(invalid="ignore"):
            for t in reversed(range(steps)):
                emitted = np.take_along_axis(log_probs[t], places, 1)
                running = _log_sum(beta, _moved(beta, -1), _moved(beta, -2) + ahead)
                beta = emitted + np.where((input_lengths - 1 == t)[:, None], np.where(ends, 0, -np.inf), running)
                # How probable each place is at this time, given the labels.
                given = np.exp(alpha[t] + beta + losses[:, None] - emitted)
                given = np.bincount(cell.reshape(-1), given.reshape(-1), batch * classes).reshape(batch, classes)
                dx[t] -= given.astype(dx.dtype)
            dx *= grad[:, None]
        if zero_infinity:
            dx[:, np.isinf(losses)] = 0
        dx[np.arange(steps)[:, None] >= input_lengths] = 0
        return dx
