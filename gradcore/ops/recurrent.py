"""Recurrent layers: one op for all steps of a layer in one direction, and their definition in plain ops.

A cell is a function of one hidden unit, written in op calls: traced and differentiated it becomes two fused kernels, on
tensors it is the definition that higher derivatives are taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from ..backends import Array, backend_of
from ..backends.recurrence import Cell, Direction, Layer, Step, Weights, layer, layer_backward
from ..expr import Program
from ..expr.calculus import gradients
from ..expr.graph import make_const, make_input
from .activations import relu
from .arithmetic import add, mul, sub
from .core import array_op, whole
from .functions import sigmoid, tanh
from .linalg import check_alike, linear
from .precision import LOWER
from .shape import narrow, squeeze, stack

Values = Sequence[Any]

# Of the gates from the input, those from the hidden state, and the unit's own state: its new hidden state, its new cell
# state if it has one, and what its derivative is computed from.
CellFunction = Callable[[Values, Values, Any], tuple[Any, ...]]


def _simple(activation: Callable[[Any], Any]) -> CellFunction:
    return lambda x, h, state: (activation(add(x[0], h[0])),)


def _lstm(x: Values, h: Values, c: Any) -> tuple[Any, ...]:
    i, f, g, o = (add(a, b) for a, b in zip(x, h))
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = add(mul(f, c), mul(i, g))
    return mul(o, tanh(c)), c, i, f, g, o


def _gru(x: Values, h: Values, state: Any) -> tuple[Any, ...]:
    r, z = sigmoid(add(x[0], h[0])), sigmoid(add(x[1], h[1]))
    n = tanh(add(x[2], mul(r, h[2])))
    return add(mul(sub(state, n), z), n), r, z, n, h[2]


# The function, and how many gates it has.
_CELLS: dict[str, tuple[CellFunction, int]] = {
    "rnn_tanh": (_simple(tanh), 1),
    "rnn_relu": (_simple(relu), 1),
    "lstm": (_lstm, 4),
    "gru": (_gru, 3),
}


@cache
def cell_of(name: str) -> Cell:
    """The kernels of a cell: `"lstm"`, `"gru"`, `"rnn_tanh"` or `"rnn_relu"`."""
    function, gates = _CELLS[name]
    with_cell = name == "lstm"
    x = [make_input(f"x{k}") for k in range(gates)]
    h = [make_input(f"h{k}") for k in range(gates)]
    state = make_input("state")
    outputs = function(x, h, state)
    first_kept = 2 if with_cell else 1

    # Each value that is kept is a leaf of the derivative.
    grad, recurrent, carried, after = map(make_input, ("grad", "recurrent", "carried", "after"))
    leaves = [make_input(f"result{i}") for i in range(len(outputs))]
    leaves[first_kept - 1] = after
    for i in range(first_kept, len(outputs)):
        if outputs[i].op is None:
            leaves[i] = outputs[i]
    total = grad + recurrent
    seeds = (total, carried) if with_cell else (total + carried,)
    found = gradients(outputs, seeds, [*x, *h, state], leaves)
    dx, dh, handed = found[:gates], found[gates:-1], found[-1]
    apart = any(a is not b for a, b in zip(dx, dh))
    kept = len(outputs) - first_kept
    names = [leaf.name for leaf in (grad, recurrent, carried, state, after, *leaves[first_kept:])]
    results = [make_const(0) if d is None else d for d in (*dx, *(dh if apart else ()), handed)]
    return Cell(
        Step(Program([leaf.name for leaf in (*x, *h, state)], outputs), (gates, gates, 1), (1,) * first_kept + (kept,)),
        Step(Program(names, results), (1, 1, 1, 1, 1, kept), (gates,) * (2 if apart else 1) + (1,)),
        gates,
        kept,
        with_cell,
        apart,
    )


def _whole(arrays: Sequence[Array | None]) -> list[Any]:
    return [x if x is None else whole(x) for x in arrays]


_INPUTS = ("input", "hx", "c_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def _given(cell: str, arrays: Sequence[Array | None], reverse: bool) -> tuple[Direction, Array]:
    """What the kernels take of arrays in the order of `_INPUTS`."""
    x, h, c, *weights = _whole(arrays)
    return Direction(cell_of(cell), h, c, Weights(*weights), reverse), x


def _run(cell: str, arrays: Sequence[Array | None], reverse: bool) -> Layer:
    """All steps."""
    _check(cell, arrays)
    return layer(backend_of(arrays[0]), *_given(cell, arrays, reverse))


def _check(cell: str, arrays: Sequence[Any]) -> None:
    """RuntimeError unless the arrays have the device, dtype and shapes by which kernels read them."""
    x, _, _, weight, *_, projection = arrays
    (_, rows, features), units = x.shape, weight.shape[0]
    size = units // _CELLS[cell][1]
    n = size if projection is None else projection.shape[0]
    shapes = (x.shape, (rows, n), (rows, size), (units, features), (units, n), (units,), (units,), (n, size))
    for array, shape, name in zip(arrays, shapes, _INPUTS):
        if array is not None:
            check_alike(cell, x, array, ("input", name))
            if array.shape != shape:
                raise RuntimeError(
                    f"{cell}(): expected {name} to have shape {list(shape)}, but got {list(array.shape)}"
                )


def _gradients(
    cell: str, gs: Sequence[Array | None], arrays: Sequence[Array | None], made: Layer, reverse: bool, needs: Any
) -> tuple[Array | None, ...]:
    """The gradients of the arrays."""
    direction, x = _given(cell, arrays, reverse)
    return layer_backward(backend_of(x), direction, _whole(gs), x, made, needs)


def _in_plain_ops(
    cell: str,
    input: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    reverse: bool,
    c: Any = None,
    projection: Any = None,
) -> tuple[Any, Any, Any]:
    """The hidden states of all steps, and the last hidden and cell states."""
    function, count = _CELLS[cell]
    gates = linear(input, weight_ih, bias_ih)
    steps, size = gates.shape[0], gates.shape[2] // count
    outs: list[Any] = [None] * steps
    order = range(steps)
    for t in reversed(order) if reverse else order:
        both = squeeze(narrow(gates, dim=0, start=t, length=1), dim=0), linear(h, weight_hh, bias_hh)
        parts = [[narrow(v, dim=1, start=k * size, length=size) for k in range(count)] for v in both]
        h, *rest = function(parts[0], parts[1], h if c is None else c)
        c = None if c is None else rest[0]
        if projection is not None:
            h = linear(h, projection)
        outs[t] = h
    return stack(*outs, dim=0), h, c


@array_op(name="lstm_layer", public=False, results=3, precision=LOWER)
def lstm_layer(
    input: Array,
    h: Array,
    c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    projection: Array | None,
    reverse: bool,
) -> tuple[Array, ...]:
    """All steps of an LSTM in one direction, for input (steps, rows, features), h (rows, n) and c (rows, size).

    The weights are those of `Weights`. Returns the hidden states (steps, rows, n), the last of them and the last cell
    state; then what the backward pass wants.
    """
    made = _run("lstm", (input, h, c, weight_ih, weight_hh, bias_ih, bias_hh, projection), reverse)
    last, copy = 0 if reverse else -1, backend_of(input).copy
    return made.out, copy(made.out[last]), copy(made.states[last]), made.hidden, made.states, made.kept


@lstm_layer.joint_derivative
def _lstm_rule(
    gs: Any,
    inputs: Sequence[Array | None],
    result: Array,
    result3: Array,
    result4: Array,
    result5: Array,
    reverse: bool,
    needs: tuple[bool, ...],
) -> Any:
    # On arrays only: a higher derivative is taken of the composite, which wants the biases.
    return _gradients("lstm", gs, inputs, Layer(result, result3, result4, result5), reverse, needs)


lstm_layer.composite_of(partial(_in_plain_ops, "lstm"))


@array_op(name="rnn_layer", public=False, results=2, precision=LOWER)
def rnn_layer(
    input: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    cell: str,
    reverse: bool,
) -> tuple[Array, ...]:
    """All steps, in one direction, of a recurrent layer whose only state is the hidden one: see `cell_of`.

    For input (steps, rows, features) and h (rows, size); the weights are those of `Weights`. Returns the hidden states
    (steps, rows, size) and the last of them; then what the backward pass wants.
    """
    made = _run(cell, (input, h, None, weight_ih, weight_hh, bias_ih, bias_hh, None), reverse)
    return made.out, backend_of(input).copy(made.out[0 if reverse else -1]), made.kept


@rnn_layer.joint_derivative
def _rnn_rule(
    gs: Any,
    inputs: Sequence[Array | None],
    result: Array,
    result2: Array,
    cell: str,
    reverse: bool,
    needs: tuple[bool, ...],
) -> Any:
    # On arrays only: a higher derivative is taken of the composite, which wants the biases.
    arrays, made = (*inputs[:2], None, *inputs[2:], None), Layer(result, result, result, result2)
    found = _gradients(cell, (*gs, None), arrays, made, reverse, (*needs[:2], False, *needs[2:], False))
    return *found[:2], *found[3:7]


rnn_layer.composite_of(lambda **given: _in_plain_ops(**given)[:2])


lstm_layer.fill_grads = rnn_layer.fill_grads = False
