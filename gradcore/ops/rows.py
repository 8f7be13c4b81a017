"""Softmax and cross-entropy: structured kernels on the rows of a matrix, each with its definition in plain ops."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import div, eq, mul, ne, neg, sub, where
from .core import array_of, array_op, concrete, one_backend, whole
from .dims import wrap_dim
from .functions import exp
from .precision import CUDA_FLOAT32, FLOAT32
from .reductions import along
from .reductions import sum as sum_op
from .shape import each_batched, squeeze, unsqueeze


def _as_rows(x: Array, dim: int) -> Array:
    """`x` as a C-contiguous matrix whose rows run along `dim`."""
    if x.ndim == 2 and dim == 1 and x.flags.c_contiguous:
        return x
    n = x.shape[dim] if x.ndim else 1
    moved = backend_of(x).xp.moveaxis(x, dim, -1) if x.ndim else x
    rows = moved.reshape(x.size // n if n else 0, n)
    return whole(rows)


def _from_rows(rows: Array, shape: tuple[int, ...], dim: int) -> Array:
    if rows.shape == shape and dim == len(shape) - 1:  # (a square looks the same either way)
        return rows
    if not shape:
        return rows.reshape(())
    moved = shape[:dim] + shape[dim + 1 :] + (shape[dim],)
    return backend_of(rows).xp.moveaxis(rows.reshape(moved), -1, dim)


def _softmax(x: Array, dim: int, log: bool) -> Array:
    axis = wrap_dim(dim, x.ndim)
    name = "log_softmax" if log else "softmax"
    if not dtypes.from_numpy(x.dtype).is_floating_point:
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{dtypes.type_name(x.dtype)}': pass dtype=, or convert first"
        )
    return _from_rows(backend_of(x).softmax(_as_rows(x, axis), log, x.dtype), x.shape, axis)


@array_op(name="softmax_dim", public=False, grad_name="SoftmaxBackward0", precision=CUDA_FLOAT32)
def softmax(input: Array, dim: int) -> Array:
    """`exp(x) / sum(exp(x))` along `dim`."""
    return _softmax(input, dim, False)


@array_op(name="log_softmax_dim", public=False, grad_name="LogSoftmaxBackward0", precision=CUDA_FLOAT32)
def log_softmax(input: Array, dim: int) -> Array:
    """`x - log(sum(exp(x)))` along `dim`."""
    return _softmax(input, dim, True)


softmax.batching(along)
log_softmax.batching(along)


@array_op(public=False)
def softmax_backward(grad: Array, output: Array, dim: int, log: bool) -> Array:
    """The gradient of softmax's (or log-softmax's) input from the gradient and the value of its output."""
    axis = wrap_dim(dim, grad.ndim)
    rows = backend_of(grad).softmax_backward(_as_rows(grad, axis), _as_rows(output, axis), log, output.dtype)
    return _from_rows(rows, grad.shape, axis)


@softmax_backward.batching
def _softmax_backward_batch(inputs: Any, shapes: Any, batched: Any, size: int, dim: int, log: bool) -> Any:
    n = len(shapes[0])
    if not n:
        inputs = [unsqueeze(x, dim=-1) for x in inputs]
        shapes, dim = ((1,), (1,)), 0
    values = each_batched(inputs, shapes, batched, size)
    out = softmax_backward(*values, dim=wrap_dim(dim, n) + 1, log=log)
    return out if n else squeeze(out, dim=1)


softmax.derivative(input=lambda g, result, dim: softmax_backward(g, result, dim=dim, log=False))
log_softmax.derivative(input=lambda g, result, dim: softmax_backward(g, result, dim=dim, log=True))


# softmax:     y * (u - sum(u * y)) of the incoming gradient u and the output y
# log-softmax: u - exp(y) * sum(u)
def _backward_grad(g: Any, output: Any, dim: int, log: bool) -> Any:
    if log:
        return sub(g, sum_op(mul(g, exp(output)), dim=dim, keepdim=True))
    return softmax_backward(g, output, dim=dim, log=False)


def _backward_output(g: Any, grad: Any, output: Any, dim: int, log: bool) -> Any:
    if log:
        return mul(mul(g, exp(output)), neg(sum_op(grad, dim=dim, keepdim=True)))
    inner = sub(grad, sum_op(mul(grad, output), dim=dim, keepdim=True))
    return sub(mul(g, inner), mul(grad, sum_op(mul(g, output), dim=dim, keepdim=True)))


softmax.forward_derivative(lambda input_tangent, result, dim: _backward_grad(input_tangent, result, dim, False))
log_softmax.forward_derivative(lambda input_tangent, result, dim: _backward_grad(input_tangent, result, dim, True))
softmax_backward.derivative(grad=_backward_grad, output=_backward_output)


@array_op(name="cross_entropy_rows", public=False, grad_name="NllLossBackward0", precision=FLOAT32)
def cross_entropy(
    input: Array, target: Array, weight: Array | None, reduction: str, ignore_index: int, label_smoothing: float
) -> tuple[Array, Array, Array]:
    """The cross-entropy of the rows of `input` (rows, classes) with class indices `target` (rows,).

    Returns the loss, the rows' log-sum-exp, and the sum of the rows' weights, by which a mean divides.
    """
    backend = one_backend("cross_entropy", (input, target, weight), ("input", "target", "weight"))
    return backend.cross_entropy_loss(_as_rows(input, 1), target, weight, reduction, ignore_index, label_smoothing)


@cross_entropy.joint_derivative
def _cross_entropy_rule(
    g: Array,
    input: Array,
    target: Array,
    weight: Array | None,
    result1: Array,
    result2: Array,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    total = result2 if reduction == "mean" else None
    dx = backend_of(input).cross_entropy_loss_backward(
        g, _as_rows(input, 1), target, weight, result1, total, ignore_index, label_smoothing
    )
    return dx, None, None


@cross_entropy.composite_of
def _cross_entropy_composite(
    input: Any, target: Any, weight: Any, reduction: str, ignore_index: int, label_smoothing: float
) -> Any:
    logp = log_softmax(input, dim=1)
    return negative_log_likelihood("cross_entropy", logp, target, weight, reduction, ignore_index, label_smoothing)


def negative_log_likelihood(
    op: str, logp: Any, target: Any, weight: Any, reduction: str, ignore_index: int, label_smoothing: float
) -> Any:
    """The loss of `cross_entropy` from the logarithms of the probabilities, in plain ops."""
    classes = logp.shape[1]
    backend, labels = backend_of(array_of(target)), concrete(array_of(target))
    xp = backend.xp
    # A negative target is an error, not a position from the end: moved to where the check does not accept it.
    moved = xp.where(labels < 0, labels - classes, labels)
    backend.check_index(op, xp.where(labels == ignore_index, 0, moved), classes, 1)
    keep = ne(target, ignore_index)
    chosen = eq(unsqueeze(target, dim=1), xp.arange(classes))
    weighted = logp if weight is None else mul(logp, weight)
    loss = mul(sum_op(where(chosen, weighted, 0), dim=1), label_smoothing - 1)
    if label_smoothing:
        loss = sub(loss, mul(sum_op(weighted, dim=1), label_smoothing / classes))
    loss = where(keep, loss, 0)
    if reduction == "none":
        return loss
    loss = sum_op(loss)
    if reduction == "sum":
        return loss
    counted = where(unsqueeze(keep, dim=1), chosen, False)
    return div(loss, sum_op(counted if weight is None else where(counted, weight, 0)))
