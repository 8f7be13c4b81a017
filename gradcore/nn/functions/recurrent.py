"""Recurrent layers, stacked, in both directions, over batches and packed sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ...autograd.tape import apply
from ...ops import recurrent as ops
from ...tensor.creation import zeros
from ...tensor.functions import FUNCTIONS
from .. import functional as F

# Of one layer in one direction: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr; None where there is none.
Weights = Sequence[Any]
# The hidden state, or the hidden state and the cell state.
State = tuple[Any, ...]


def layer(cell: str, input: Any, state: State, weights: Weights, reverse: bool = False) -> tuple[Any, State]:
    """One layer in one direction: the hidden states (steps, rows, n), and the last state.

    Args:
        cell: `"lstm"`, `"gru"`, `"rnn_tanh"` or `"rnn_relu"`.
        input: (steps, rows, features).
        state: h (rows, n) and, for an LSTM, c (rows, size).
        weights: weight_ih (gates * size, features), weight_hh (gates * size, n), bias_ih and bias_hh (gates * size,)
            or None, weight_hr (n, size) or None.
        reverse: from the last step to the first.
    """
    if cell == "lstm":
        out, *last = apply(ops.lstm_layer, (input, *state, *weights), {"reverse": reverse})
    else:
        out, *last = apply(ops.rnn_layer, (input, *state, *weights[:4]), {"cell": cell, "reverse": reverse})
    return out, tuple(last)


def _stretches(batch_sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The numbers of steps that have the same number of rows, and that number."""
    return ((len(list(steps)), rows) for rows, steps in groupby(batch_sizes))


def _packed_layer(
    cell: str, data: Any, batch_sizes: Sequence[int], state: State, weights: Weights, reverse: bool
) -> tuple[Any, State]:
    """`layer` for packed sequences (rows of all steps, features): stretches of steps with all their rows, in turn.

    Forwards, the last rows' sequences end first, and their states stay behind. Backwards, they join in again.
    """
    stretches = []
    start = 0
    for steps, rows in _stretches(batch_sizes):
        stretches.append((start, steps, rows))
        start += steps * rows
    first, outs, ended = state, [], []
    if reverse:
        stretches.reverse()
        state = tuple(s[: batch_sizes[-1]] for s in first)
    for start, steps, rows in stretches:
        now = state[0].shape[0]
        if rows < now:
            ended.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
        elif rows > now:
            state = tuple(FUNCTIONS["cat"]((s, f[now:rows])) for s, f in zip(state, first))
        x = data.narrow(0, start, steps * rows).reshape(steps, rows, -1)
        out, state = layer(cell, x, state, weights, reverse)
        outs.append(out.reshape(steps * rows, -1))
    if reverse:
        outs.reverse()
    if ended:
        state = tuple(FUNCTIONS["cat"](parts) for parts in zip(state, *reversed(ended)))
    return outs[0] if len(outs) == 1 else FUNCTIONS["cat"](outs), state


def layers(
    cell: str,
    input: Any,
    hx: State | None,
    weights: Sequence[Weights],
    *,
    batch_sizes: Sequence[int] | None = None,
    bidirectional: bool = False,
    dropout: float = 0.0,
    training: bool = False,
) -> tuple[Any, State]:
    """Layers one upon the other: the hidden states of the last, and the last states of all.

    Args:
        cell: see `layer`.
        input: (steps, rows, features), or, with `batch_sizes`, packed: (rows of all steps, features).
        hx: the states at first (layers * directions, rows, ...); zeros if None.
        weights: those of each layer and, within it, of each direction.
        dropout: the probability of dropping an output of a layer but the last, in `training`.

    Returns:
        Hidden states, of the two directions side by side, and states as `hx` has them.

    Raises:
        RuntimeError: there is no step.
    """
    if not (input.shape[0] if batch_sizes is None else len(batch_sizes)):
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    directions = 2 if bidirectional else 1
    rows = input.shape[1] if batch_sizes is None else batch_sizes[0]
    ends = []
    for k in range(0, len(weights), directions):
        if k and dropout:
            input = F.dropout(input, dropout, training)
        outs = []
        for own, reverse in zip(range(k, k + directions), (False, True)):
            if hx is None:
                w_ih, w_hh, *_, projection = weights[own]
                sizes = (w_hh.shape[1], w_hh.shape[1] if projection is None else projection.shape[1])
                state = tuple(
                    zeros(rows, n, dtype=w_ih.dtype, device=input.device) for n in sizes[: 2 if cell == "lstm" else 1]
                )
            else:
                state = tuple(s[own] for s in hx)
            if batch_sizes is None:
                out, end = layer(cell, input, state, weights[own], reverse)
            else:
                out, end = _packed_layer(cell, input, batch_sizes, state, weights[own], reverse)
            outs.append(out)
            ends.append(end)
        input = outs[0] if directions == 1 else FUNCTIONS["cat"](outs, -1)
    return input, tuple(FUNCTIONS["stack"](parts) for parts in zip(*ends))
