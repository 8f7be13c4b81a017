"""Recurrent layers as a loop over time, for every device: a matrix product and a fused cell at each step.

What a cell takes of the input is computed for all steps at once, and so are, in the end, the gradients of the weights.
(J. Appleyard, T. Kocisky and P. Blunsom, "Optimizing performance of recurrent neural networks on GPUs", 2016.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..expr import Program, trace

if TYPE_CHECKING:
    from .base import Backend

Array = Any

_ADD = trace(lambda x, y: x + y)


@dataclass(frozen=True, eq=False)
class Step:
    """A program over arrays (rows, count * size) that hold several of its inputs, or of its outputs, side by side.

    `reads` and `writes` are the counts, in the order of the program's inputs and outputs.
    """

    program: Program
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Cell:
    """One step of a recurrent layer, for each hidden unit.

    `forward` takes `gates` values of the unit computed from the input, as many from the hidden state, and the unit's
    own state: the cell state of an LSTM (`with_cell`), else the hidden state. It gives the hidden state, the cell state
    if there is one, and `kept` values for `backward`. That takes the gradient of the hidden state in two parts, from
    outside and from the next step's product; what the next step handed down for the unit's own state; that state before
    and after; and what was kept. It gives the gradients of the gates (those from the hidden state after those from
    the input, where they are `apart`) and what to hand down.
    """

    forward: Step
    backward: Step
    gates: int
    kept: int
    with_cell: bool
    apart: bool


class Weights(NamedTuple):
    """Of a layer with hidden states (rows, n), made from (rows, size) by the projection, or n = size without one."""

    input: Array  # (gates * size, features)
    hidden: Array  # (gates * size, n)
    input_bias: Array | None  # (gates * size,)
    hidden_bias: Array | None
    projection: Array | None  # (n, size)


class Direction(NamedTuple):
    """How a layer goes through the steps in one direction, beginning with states; arrays are C-contiguous."""

    cell: Cell
    h: Array  # (rows, n)
    c: Array | None  # (rows, size), of a cell with a cell state
    weights: Weights
    reverse: bool  # from the last step to the first

    @property
    def state(self) -> Array:
        """The units' own state before the first step."""
        return self.c if self.cell.with_cell else self.h


class Layer(NamedTuple):
    """What a layer makes of all steps.

    `out` are the hidden states (steps, rows, n), `hidden` what they were projected from, `states` the units' own states
    and `kept` what the cell keeps. Without a projection `out` is `hidden`, without a cell state also `states`.
    """

    out: Array
    hidden: Array
    states: Array
    kept: Array


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _sum(backend: Backend, x: Array, y: Array) -> Array:
    return backend.elementwise(_ADD, (x, y), x.dtype, (x.dtype,), x.shape)[0]


def _steps(count: int, reverse: bool) -> range:
    return range(count - 1, -1, -1) if reverse else range(count)


def layer(backend: Backend, direction: Direction, x: Array) -> Layer:
    """All steps of a recurrent layer, at least one, for x (steps, rows, features), C-contiguous."""
    cell, h, c, weights, reverse = direction
    (steps, rows), size, dtype = x.shape[:2], weights.hidden.shape[0] // cell.gates, x.dtype
    bias = weights.input_bias
    if bias is not None and weights.hidden_bias is not None and not cell.apart:
        bias = _sum(backend, bias, weights.hidden_bias)
        direction = Direction(cell, h, c, weights._replace(hidden_bias=None), reverse)
    gates = backend.linear(_rows(x), weights.input, bias).reshape(steps, rows, -1)
    hidden = backend.empty((steps, rows, size), dtype)
    states = backend.empty(hidden.shape, dtype) if cell.with_cell else hidden
    kept = backend.empty((steps, rows, cell.kept * size), dtype)
    out = hidden if weights.projection is None else backend.empty((steps, *h.shape), dtype)
    made = Layer(out, hidden, states, kept)
    backend.unroll(direction, gates, made)
    return made


def unroll(backend: Backend, direction: Direction, gates: Array, made: Layer) -> None:
    """See `Backend.unroll`."""
    (cell, h, _, weights, reverse), state = direction, direction.state
    out, hidden, states, kept = made
    # Multiplied by at every step, so it pays to have it in the order that products read it in.
    weight = weights.hidden if len(gates) == 1 else backend.copy(weights.hidden.T).T
    for t in _steps(len(gates), reverse):
        recurrent = backend.linear(h, weight, weights.hidden_bias)
        outs = (hidden[t], states[t], kept[t]) if cell.with_cell else (hidden[t], kept[t])
        backend.cell(cell.forward, (gates[t], recurrent, state), outs, hidden.shape[2])
        if weights.projection is not None:
            out[t] = backend.linear(hidden[t], weights.projection, None)
        h, state = out[t], states[t]


class Slopes(NamedTuple):
    """The gradients of a layer's gates as they come from the input and from the hidden states (steps, rows,
    gates * size), of the projected states (steps, rows, n), and of the first hidden and cell states."""

    input: Array
    hidden: Array
    projected: Array | None
    h: Array
    c: Array


def unroll_backward(backend: Backend, direction: Direction, grad: Array, made: Layer, slopes: Slopes) -> None:
    """See `Backend.unroll_backward`."""
    (cell, _, _, weights, reverse), state = direction, direction.state
    size, recurrent, carried = made.hidden.shape[2], slopes.h, slopes.c
    nothing = backend.full(carried.shape, 0, carried.dtype)
    order = _steps(len(grad), not reverse)
    for t, before in zip(order, [*order[1:], None]):
        outside = grad[t]
        if slopes.projected is not None:
            slopes.projected[t] = total = _sum(backend, outside, recurrent)
            outside, recurrent = backend.matmul(total, weights.projection), nothing
        previous = state if before is None else made.states[before]
        gates = slopes.hidden[t]
        outs = (slopes.input[t], gates, carried) if cell.apart else (gates, carried)
        inputs = (outside, recurrent, carried, previous, made.states[t], made.kept[t])
        backend.cell(cell.backward, inputs, outs, size)
        recurrent = backend.matmul(gates, weights.hidden)
    slopes.h[...] = recurrent


def layer_backward(
    backend: Backend, direction: Direction, grads: Sequence[Array | None], x: Array, made: Layer, needs: Sequence[bool]
) -> tuple[Array | None, ...]:
    """The gradients of the x, h, c and weights of `layer`, of those of x and weights where `needs` says so.

    `grads` are those of all hidden states, of the last and of the last cell state; None stands for zeros.
    """
    cell, h, _, weights, reverse = direction
    dtype, (steps, rows, size) = x.dtype, made.hidden.shape
    outside, last, carried = (
        backend.full(shape, 0, dtype) if g is None else g
        for g, shape in zip(grads, (made.out.shape, h.shape, (rows, size)))
    )
    inputs = backend.empty((steps, rows, cell.gates * size), dtype)
    gates = backend.empty(inputs.shape, dtype) if cell.apart else inputs
    projected = None if weights.projection is None else backend.empty(made.out.shape, dtype)
    slopes = Slopes(inputs, gates, projected, backend.copy(last), backend.copy(carried))
    backend.unroll_backward(direction, outside, made, slopes)
    need_x, _, _, need_input, need_hidden, *need_biases, need_projection = needs
    dx, dinput, _ = backend.linear_backward(inputs, x, weights.input, (need_x, need_input, False))
    dbias = backend.column_sum(_rows(inputs)) if any(need_biases) else None
    dlater = backend.column_sum(_rows(gates)) if cell.apart and need_biases[1] else dbias
    dhidden = dprojection = None
    if need_hidden:
        first = h[None]
        # The hidden state that each step began with.
        before = backend.xp.concatenate((made.out[1:], first) if reverse else (first, made.out[:-1]))
        dhidden = backend.matmul(_rows(gates).T, _rows(before))
    if need_projection:
        dprojection = backend.matmul(_rows(projected).T, _rows(made.hidden))
    dh = slopes.h if cell.with_cell else _sum(backend, slopes.h, slopes.c)
    return dx, dh, slopes.c, dinput, dhidden, dbias, dlater, dprojection
