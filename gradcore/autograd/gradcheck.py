"""Gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backends import backend_of
from .api import grad
from .tape import wrap
from .variable import Variable


class GradcheckError(RuntimeError):
    """A gradient that disagrees with finite differences."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _host(array: Any) -> np.ndarray:
    return backend_of(array).to_host(array)


def _outputs(function: Callable[..., Any], inputs: Sequence[Any]) -> list[Variable]:
    return [o for o in _tuple(function(*inputs)) if isinstance(o, Variable) and o._array.dtype.kind in "fV"]


def _numerical(function: Callable[..., Any], inputs: list[Any], which: int, eps: float) -> list[np.ndarray]:
    """The Jacobian of each output by central differences: (elements of the input, elements of the output)."""
    source = inputs[which]
    values = np.array(_host(source._array))
    columns: list[list[np.ndarray]] = []
    for position in range(values.size):
        sides = []
        for sign in (1, -1):
            moved = values.copy()
            moved.flat[position] += sign * eps
            t = wrap(backend_of(source._array).from_host(moved))
            t._requires_grad = True
            changed = [*inputs[:which], t, *inputs[which + 1 :]]
            sides.append([np.array(_host(o._array), np.float64).reshape(-1) for o in _outputs(function, changed)])
        columns.append([(a - b) / (2 * eps) for a, b in zip(*sides)])
    if not columns:
        return [np.zeros((0, o._array.size)) for o in _outputs(function, inputs)]
    return [np.stack([c[k] for c in columns]) for k in range(len(columns[0]))]


def _fail(message: str, raise_exception: bool) -> bool:
    if raise_exception:
        raise GradcheckError(message)
    return False


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of `func` at `inputs` with central differences of step `eps`.

    Every Jacobian column is compared, and each gradient's shape and dtype with its input's. Use float64 inputs. Returns
    True, or raises GradcheckError (returns False with `raise_exception=False`).

    >>> import gradcore as torch
    >>> x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, x)
    True
    """
    values = list(_tuple(inputs))
    checked = [i for i, t in enumerate(values) if isinstance(t, Variable) and t._requires_grad]
    if not checked:
        raise ValueError("gradcheck expects at least one of the inputs to require gradients.")
    for i in checked:
        if values[i]._array.dtype != np.float64:
            raise ValueError(f"gradcheck: input {i} is {values[i].dtype}; use float64, or the differences drown in rounding")
    outputs = _outputs(func, values)
    if not any(o._requires_grad for o in outputs):
        return _fail("gradcheck: none of the outputs requires grad", raise_exception)
    wanted = [values[i] for i in checked]
    analytic: list[list[list[np.ndarray]]] = []  # output, element, input
    for out in outputs:
        rows = []
        for position in range(out._array.size):
            seed = np.zeros(out._array.shape)
            seed.flat[position] = 1
            if not out._requires_grad:
                rows.append([np.zeros(t._array.size) for t in wanted])
                continue
            g = wrap(backend_of(out._array).from_host(seed.astype(out._array.dtype)))
            grads = grad(out, wanted, g, retain_graph=True, allow_unused=True)
            row = []
            for i, t, d in zip(checked, wanted, grads):
                if d is None:
                    row.append(np.zeros(t._array.size))
                    continue
                if d._array.shape != t._array.shape or d._array.dtype != t._array.dtype:
                    return _fail(
                        f"gradcheck: the gradient of input {i} has shape {list(d._array.shape)} and dtype "
                        f"{d._array.dtype}, expected {list(t._array.shape)} and {t._array.dtype}",
                        raise_exception,
                    )
                row.append(np.array(_host(d._array), np.float64).reshape(-1))
            rows.append(row)
        analytic.append(rows)
    for k, i in enumerate(checked):
        numeric = _numerical(func, values, i, eps)
        for o, jacobian in enumerate(numeric):
            rows = [row[k] for row in analytic[o]]
            found = np.stack(rows, axis=1) if rows else np.zeros(jacobian.shape)
            if not np.allclose(found, jacobian, rtol, atol, equal_nan=True):
                return _fail(
                    f"Jacobian mismatch for output {o} with respect to input {i},\n"
                    f"numerical:{jacobian}\nanalytical:{found}",
                    raise_exception,
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """`gradcheck` of the gradients of `func`, with respect to the inputs and to the gradients of the outputs."""
    values = list(_tuple(inputs))
    outputs = _outputs(func, values)
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        seeds: list[Any] = []
        for o in outputs:
            seed = wrap(backend_of(o._array).from_host(generator.standard_normal(o._array.shape)))
            seed._requires_grad = True
            seeds.append(seed)
    else:
        seeds = list(_tuple(grad_outputs))
    n = len(values)
    checked = [i for i, t in enumerate(values) if isinstance(t, Variable) and t._requires_grad]

    def first_order(*arguments: Any) -> tuple[Any, ...]:
        ins, gs = arguments[:n], arguments[n:]
        outs = [(o, g) for o, g in zip(_outputs(func, ins), gs) if o._requires_grad]
        grads = grad(
            [o for o, _ in outs],
            [ins[i] for i in checked],
            [g for _, g in outs],
            create_graph=True,
            allow_unused=True,
        )
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        first_order, (*values, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )
