"""Losses that reduce an elementwise expression: one pass forward, one fused kernel for all gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..backends import Array, Reduction
from ..expr import Scalar, call, trace
from .arithmetic import div, mul, ne, neg, where
from .core import ArrayOp, array_op, one_backend
from .elementwise import Elementwise, broadcast_shape, common_shape, elementwise, promoted_type
from .reductions import _MEAN, index_gather, index_scatter, mean, reduce_array
from .reductions import sum as sum_op
from .rows import negative_log_likelihood
from .shape import expand, unsqueeze


class ExpressionLoss:
    """The sum, the mean or the elements of an expression of (input, target, ...).

    `loss(input, target, reduction="mean")` on tensors or arrays.
    """

    def __init__(self, expression: Callable[..., Scalar], name: str, grad_name: str, promote: str = "default"):
        program = trace(expression)
        self.elements: Elementwise = elementwise(
            expression, name=f"{name}_elements", grad_name=grad_name, promote=promote, method=False
        )
        reductions = {"sum": Reduction(program, "sum"), "mean": Reduction(program, "sum", _MEAN)}
        elements = self.elements

        def reduced(input: Array, target: Array, reduction: str) -> Array:
            values = (input, target)
            backend = one_backend(name, values, ("input", "target"))
            d = promoted_type([(v.dtype, v.ndim > 0) for v in values])
            compute = (d if d.is_floating_point else dtypes.get_default_dtype()).numpy
            shape = broadcast_shape(name, values)
            axes = tuple(range(len(shape)))
            return backend.reduce(reductions[reduction], values, compute, compute, shape, axes, False)

        self.reduced: ArrayOp = array_op(reduced, name=f"{name}_reduced", grad_name=grad_name, public=False)

        @self.reduced.joint_derivative
        def rule(g: Any, input: Any, target: Any, needs: tuple[bool, ...], reduction: str) -> Any:
            values = (input, target)
            if reduction == "mean":
                shape = _broadcast(input.shape, target.shape)
                g = div(g, math.prod(shape)) if math.prod(shape) else g
            plan = elements.plan(needs, elements.plan_key(values, {}))
            return plan.backward((g,), [values[i] for i in plan.inputs], {}, None)

        @self.reduced.batching
        def batch(inputs: Any, shapes: Any, batched: Any, size: int, reduction: str) -> Any:
            each = elements.batch_rule(elements, inputs, {}, shapes=shapes, batched=batched, size=size)
            dims = tuple(range(1, 1 + len(common_shape(name, shapes))))
            if not dims:
                return each
            return sum_op(each, dim=dims) if reduction == "sum" else mean(each, dim=dims)

    def __call__(self, input: Any, target: Any, reduction: str) -> Any:
        if reduction == "none":
            return self.elements(input, target)
        return self.reduced(input, target, reduction=reduction)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    import numpy as np

    return np.broadcast_shapes(tuple(a), tuple(b))


mse = ExpressionLoss(lambda input, target: (input - target) * (input - target), "mse_loss", "MseLossBackward0")
l1 = ExpressionLoss(lambda input, target: call("abs", input - target), "l1_loss", "L1LossBackward0")


def _bce(input: Scalar, target: Scalar) -> Scalar:
    # max(x, 0) - x * t + log(1 + exp(-|x|)): no overflow for any x
    return call("maximum", input, 0) - input * target + call("log1p", call("exp", -call("abs", input)))


bce_with_logits = ExpressionLoss(
    _bce, "binary_cross_entropy_with_logits", "BinaryCrossEntropyWithLogitsBackward0", promote="float"
)


@elementwise(
    name="bce_with_logits_pos_weight",
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
    promote="float",
    method=False,
)
def bce_with_logits_pos_weight(input: Scalar, target: Scalar, pos_weight: Scalar) -> Scalar:
    """Binary cross-entropy with positive examples weighted by `pos_weight`."""
    scale = (pos_weight - 1) * target + 1
    tail = call("log1p", call("exp", -call("abs", input))) + call("maximum", -input, 0)
    return (1 - target) * input + scale * tail


@array_op(name="nll_loss_rows", public=False, grad_name="NllLossBackward0")
def nll_loss(
    input: Array, target: Array, weight: Array | None, reduction: str, ignore_index: int
) -> tuple[Array, Array, Array]:
    """`-weight[target] * input[row, target]` of log-probabilities (rows, classes).

    Returns the loss, the rows' weights, and their sum, by which a mean divides.
    """
    backend = one_backend("nll_loss", (input, target, weight), ("input", "target", "weight"))
    xp = backend.xp
    keep = target != ignore_index
    safe = xp.where(keep, target, 0)
    # A negative target is an error, not a position from the end: moved to where the check does not accept it.
    backend.check_index("nll_loss", xp.where(safe < 0, safe - input.shape[1], safe), input.shape[1], 1)
    w = keep.astype(input.dtype) if weight is None else xp.where(keep, weight[safe], 0).astype(input.dtype)
    # (Not by the weight 0 alone: what is ignored may be infinite.)
    losses = where(keep, neg(mul(index_gather(input, safe[:, None], dim=1)[:, 0], w)), 0)
    total = reduce_array("sum", w, None, False)
    if reduction == "none":
        return losses, w, total
    loss = reduce_array("sum", losses, None, False)
    return (div(loss, total) if reduction == "mean" else loss), w, total


@nll_loss.joint_derivative
def _nll_rule(
    g: Any,
    input_shape: Any,
    target: Any,
    weight: Any,  # the composite wants it
    result1: Any,
    result2: Any,
    reduction: str,
    ignore_index: int,
) -> Any:
    rows, classes = input_shape
    g = div(g, result2) if reduction == "mean" else g
    keep = ne(target, ignore_index)
    # Where all are ignored, the mean divides by 0.
    row = where(keep, neg(mul(expand(g, size=(rows,)), result1)), 0)
    column = unsqueeze(where(keep, target, 0), dim=1)
    return index_scatter(unsqueeze(row, dim=1), column, size=classes, dim=1), None, None


@nll_loss.composite_of
def _nll_composite(input: Any, target: Any, weight: Any, reduction: str, ignore_index: int) -> Any:
    return negative_log_likelihood("nll_loss", input, target, weight, reduction, ignore_index, 0.0)
