"""Gradients against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backends import backend_of
from .api import grad
from .grad_mode import mode
from .tape import wants_grad, wrap
from .variable import Variable


class GradcheckError(RuntimeError):
    """A gradient that disagrees with finite differences."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _flat(t: Variable) -> np.ndarray:
    """The values as a vector of float64 on the host."""
    return np.array(backend_of(t._array).to_host(t._array), np.float64).reshape(-1)


def _like(t: Variable, values: np.ndarray, requires_grad: bool = False) -> Any:
    """A leaf of the dtype and shape, and on the device, of `t`."""
    out = wrap(backend_of(t._array).from_host(values.reshape(t._array.shape).astype(t._array.dtype)))
    out._requires_grad = requires_grad
    return out


def _wanted(values: Sequence[Any]) -> list[int]:
    return [i for i, t in enumerate(values) if isinstance(t, Variable) and wants_grad(t)]


def _outputs(function: Callable[..., Any], inputs: Sequence[Any]) -> list[Variable]:
    return [o for o in _tuple(function(*inputs)) if isinstance(o, Variable) and o._array.dtype.kind in "fV"]


def _numerical(function: Callable[..., Any], inputs: list[Any], which: int, eps: float) -> list[np.ndarray]:
    """The Jacobian of each output by central differences: (elements of the input, elements of the output)."""
    source = inputs[which]
    values = _flat(source)
    jacobians = [np.zeros((values.size, o._array.size)) for o in _outputs(function, inputs)]
    for position in range(values.size):
        sides = []
        for sign in (1, -1):
            moved = values.copy()
            moved[position] += sign * eps
            changed = [*inputs[:which], _like(source, moved, requires_grad=True), *inputs[which + 1 :]]
            sides.append([_flat(o) for o in _outputs(function, changed)])
        for jacobian, a, b in zip(jacobians, *sides):
            jacobian[position] = (a - b) / (2 * eps)
    return jacobians


def _analytical(output: Variable, inputs: Sequence[Variable]) -> list[np.ndarray]:
    """The Jacobian of `output` with respect to each input, by one backward pass for each of its elements."""
    jacobians = [np.zeros((t._array.size, output._array.size)) for t in inputs]
    if not wants_grad(output):
        return jacobians
    mode.converted = complaints = []
    try:
        for position in range(output._array.size):
            seed = np.zeros(output._array.size)
            seed[position] = 1
            grads = grad(output, inputs, _like(output, seed), retain_graph=True, allow_unused=True)
            for jacobian, t, g in zip(jacobians, inputs, grads):
                if g is None:
                    continue
                if g._array.shape != t._array.shape or g._array.dtype != t._array.dtype:
                    complaints.append(f"got a gradient {g.dtype}{list(g.shape)} of a tensor {t.dtype}{list(t.shape)}")  # type: ignore[attr-defined]
                    continue
                jacobian[:, position] = _flat(g)
    finally:
        mode.converted = None
    if complaints:
        raise GradcheckError(complaints[0])
    return jacobians


def _check(
    function: Callable[..., Any], inputs: list[Any], eps: float, atol: float, rtol: float, nondet_tol: float
) -> None:
    wanted = _wanted(inputs)
    outputs = _outputs(function, inputs)
    checked = [o for o, t in enumerate(outputs) if wants_grad(t)]
    sources = [inputs[i] for i in wanted]
    analytical = {o: _analytical(outputs[o], sources) for o in checked}
    for o in checked:
        for first, second in zip(analytical[o], _analytical(outputs[o], sources)):
            if first.size and np.abs(first - second).max() > nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    f"gives different values, although analytical gradient matches numerical gradient. The tolerance "
                    f"for nondeterminism was {nondet_tol}."
                )
    for k, i in enumerate(wanted):
        for o, numerical in enumerate(_numerical(function, inputs, i, eps)):
            if not checked and np.any(numerical):
                raise GradcheckError("Numerical gradient for function expected to be zero")
            if o in checked and not np.allclose(analytical[o][k], numerical, rtol, atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {o} with respect to input {i},\n"
                    f"numerical:{numerical}\nanalytical:{analytical[o][k]}"
                )


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """Compare the gradients of `func` at `inputs` with central differences of step `eps`.

    Every column of every Jacobian is compared, of the outputs that require grad with respect to the inputs that do;
    rules must give gradients of their tensors' shapes and dtypes, and the same ones twice within `nondet_tol`. Use
    float64 inputs: in float32 the differences drown in rounding. Returns True, or raises GradcheckError (returns False
    with `raise_exception=False`).

    >>> import gradcore as torch
    >>> x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, x)
    True
    """
    values = list(_tuple(inputs))
    wanted = _wanted(values)
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    for i in wanted:
        if values[i]._array.dtype != np.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                UserWarning,
                stacklevel=2,
            )
    try:
        _check(func, values, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
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
    nondet_tol: float = 0.0,
) -> bool:
    """`gradcheck` of the gradients of `func`, with respect to the inputs and to the gradients of the outputs.

    `grad_outputs` are the values of the latter; random ones by default.
    """
    values = list(_tuple(inputs))
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        outputs = _outputs(func, values)
        seeds = [_like(o, generator.standard_normal(o._array.size), requires_grad=True) for o in outputs]
    else:
        seeds = list(_tuple(grad_outputs))
    n = len(values)
    wanted = _wanted(values)

    def first_order(*arguments: Any) -> tuple[Any, ...]:
        ins, gs = arguments[:n], arguments[n:]
        pairs = [(o, g) for o, g in zip(_outputs(func, ins), gs) if wants_grad(o)]
        if not pairs:
            return ()
        outs, given = zip(*pairs)
        grads = grad(outs, [ins[i] for i in wanted], given, create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        first_order,
        (*values, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
    )
