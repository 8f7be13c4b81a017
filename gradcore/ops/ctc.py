"""Connectionist temporal classification: kernels of the backend, and the definition in plain ops."""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, backend_of
from ..backends.ctc import CtcInputs
from ..expr import Scalar
from .arithmetic import add, eq, lt, neg, sub, where
from .core import array_of, array_op, concrete, one_backend
from .elementwise import elementwise
from .functions import exp
from .indexing import index, select_view
from .reductions import logsumexp
from .reductions import sum as sum_op
from .shape import stack, unsqueeze


@array_op(name="ctc_losses", public=False, grad_name="CtcLossBackward0")
def ctc_loss(
    input: Array, labels: Array, input_lengths: Array, label_lengths: Array, blank: int, zero_infinity: bool
) -> tuple[Array, Array]:
    """The CTC losses (batch,) of log-probabilities (time, batch, classes) with labels (batch, longest).

    Returns them and the forward variables.
    """
    backend = one_backend("ctc_loss", (input, labels), ("log_probs", "targets"))
    return backend.ctc_loss(CtcInputs(input, labels, input_lengths, label_lengths, blank))


@ctc_loss.joint_derivative
def _rule(
    g: Array, inputs: tuple[Array, Array, Array, Array], result: Array, result1: Array, blank: int, zero_infinity: bool
) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    dx = backend_of(g).ctc_loss_backward(g, CtcInputs(*inputs, blank), result, result1, zero_infinity)
    return dx, None, None, None


@elementwise(method=False, derivative=lambda g: (None,))
def constant(input: Scalar) -> Scalar:
    """`input`, through which no gradient flows."""
    return input


def _fixed(integers: Any) -> Array:
    """The array of a tensor that no transform takes apart."""
    array = array_of(integers)
    if concrete(array).shape != array.shape:
        raise RuntimeError("vmap: ctc_loss() takes batches of log-probabilities, not of targets or lengths")
    return concrete(array)


@ctc_loss.composite_of
def _composite(input: Any, labels: Any, input_lengths: Any, label_lengths: Any, blank: int, zero_infinity: bool) -> Any:
    array, labels, lengths = array_of(input), _fixed(labels), _fixed(label_lengths)
    backend = backend_of(array)
    xp, (steps, batch, _), count = backend.xp, input.shape, 2 * labels.shape[1] + 1
    place, row = xp.arange(count), xp.arange(batch)
    # The labels with blanks before, between and after them; and what is added on the ways to a place: 0 or, where there
    # is none, minus infinity.
    places = backend.full((batch, count), blank, labels.dtype)
    places[:, 1::2] = labels
    skips = backend.full((batch, count), -math.inf, array.dtype)
    skips[:, 3::2] = xp.where(labels[:, 1:] != labels[:, :-1], 0.0, -math.inf)
    step = xp.where(place > 0, 0.0, -math.inf).astype(array.dtype)
    start = xp.where(place < 2, 0.0, -math.inf).astype(array.dtype)
    before, skipped = (xp.maximum(place - by, 0) for by in (1, 2))
    emitted = index(input, key=(slice(None), row[:, None], places))
    alpha: Any = None
    last: Any = backend.full((batch, count), -math.inf, array.dtype)
    for t in range(steps):
        now = select_view(emitted, key=(t,))
        if t == 0:
            alpha = add(now, start)
        else:
            one = add(index(alpha, key=(slice(None), before)), step)
            two = add(index(alpha, key=(slice(None), skipped)), skips)
            alpha = add(now, logsumexp(stack(alpha, one, two, dim=0), dim=0))
        last = where(unsqueeze(eq(input_lengths, t + 1), dim=1), alpha, last)
    at_blank = index(last, key=(row, 2 * lengths))
    at_label = where(lengths > 0, index(last, key=(row, xp.maximum(2 * lengths - 1, 0))), -math.inf)
    loss = neg(logsumexp(stack(at_blank, at_label, dim=0), dim=0))
    loss = where(eq(input_lengths, 0), xp.where(lengths == 0, 0.0, math.inf).astype(array.dtype), loss)
    inside = lt(xp.arange(steps).reshape(steps, 1), input_lengths)
    if zero_infinity:
        infinite = eq(loss, math.inf)
        loss, inside = where(infinite, math.inf, loss), where(infinite, False, inside)
    # The kernels' gradient is that of the scores that the log-probabilities are the log-softmax of: more than that of
    # the log-probabilities, by the derivative of the sum of the probabilities, which is 1.
    total = sum_op(where(inside, sum_op(exp(input), dim=2), 0.0), dim=0)
    return add(loss, sub(total, constant(total)))
