"""Losses that reduce an elementwise expression: one pass forward, one fused kernel for all gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import Array, Reduction
from ..expr import Scalar, call
from .arithmetic import div, mul, ne, neg, where
from .core import ArrayOp, array_op, one_backend
from .custom import CustomReduction
from .elementwise import Elementwise, broadcast_shape, common_shape, elementwise, kinds_of
from .gathering import scatter_add_zeros
from .precision import FLOAT32
from .reductions import _MEAN, mean, reduce_array
from .reductions import sum as sum_op
from .rows import negative_log_likelihood
from .shape import expand, unsqueeze


class ExpressionLoss:
    """The sum, the mean or the elements of an expression of (input, target) and of keyword-only numbers.

    `loss(input, target, reduction, **numbers)` on tensors or arrays.
    """

    def __init__(
        self,
        expression: Callable[..., Scalar],
        name: str,
        grad_name: str,
        promote: str = "default",
        derivative: Callable[..., Any] | None = None,
        static: dict[str, tuple[float | str, ...]] | None = None,
    ):
        self.elements: Elementwise = elementwise(
            expression,
            name=f"{name}_elements",
            grad_name=grad_name,
            promote=promote,
            method=False,
            derivative=derivative,
            static=static,
            precision=FLOAT32,
        )
        elements = self.elements

        def reduced(input: Array, target: Array, reduction: str, numbers: dict[str, float]) -> Array:
            values = (input, target)
            backend = one_backend(name, values, ("input", "target"))
            key, operands = elements.split(values, numbers)
            program = elements.program_of(key)
            compute = elements.types(program, kinds_of(operands))[0]
            if not dtypes.from_numpy(compute).is_floating_point:
                compute = dtypes.get_default_dtype().numpy
            shape = broadcast_shape(name, values)
            axes = tuple(range(len(shape)))
            whole = Reduction(program, "sum", _MEAN if reduction == "mean" else None)
            return backend.reduce(whole, operands, compute, compute, shape, axes, False)

        self.reduced: ArrayOp = array_op(
            reduced, name=f"{name}_reduced", grad_name=grad_name, public=False, precision=FLOAT32
        )

        @self.reduced.joint_derivative
        def rule(
            g: Any, input: Any, target: Any, needs: tuple[bool, ...], reduction: str, numbers: dict[str, float]
        ) -> Any:
            values = (input, target)
            if reduction == "mean":
                count = math.prod(np.broadcast_shapes(tuple(input.shape), tuple(target.shape)))
                g = div(g, count) if count else g
            plan = elements.plan(needs, elements.plan_key(values, numbers))
            return plan.backward((g,), [values[i] for i in plan.inputs], numbers, None)

        @self.reduced.batching
        def batch(inputs: Any, shapes: Any, batched: Any, size: int, reduction: str, numbers: dict[str, float]) -> Any:
            each = elements.batch_rule(elements, inputs, numbers, shapes=shapes, batched=batched, size=size)
            dims = tuple(range(1, 1 + len(common_shape(name, shapes))))
            if not dims:
                return each
            return sum_op(each, dim=dims) if reduction == "sum" else mean(each, dim=dims)

    def __call__(self, input: Any, target: Any, reduction: str, **numbers: float) -> Any:
        if reduction == "none":
            return self.elements(input, target, **numbers)
        return self.reduced(input, target, reduction=reduction, numbers=numbers)


mse = ExpressionLoss(lambda input, target: (input - target) * (input - target), "mse_loss", "MseLossBackward0")
l1 = ExpressionLoss(lambda input, target: call("abs", input - target), "l1_loss", "L1LossBackward0")


def _smooth_l1(input: Scalar, target: Scalar, *, beta: Any = 1.0) -> Scalar:
    distance = call("abs", input - target)
    return call("where", distance < beta, distance * distance * (0.5 / beta), distance - beta * 0.5)


def _huber(input: Scalar, target: Scalar, *, delta: Any = 1.0) -> Scalar:
    distance = call("abs", input - target)
    return call("where", distance <= delta, distance * distance * 0.5, (distance - delta * 0.5) * delta)


def _bent(g: Scalar, input: Scalar, target: Scalar, bend: Any, inner: Any, outer: Any) -> tuple[Scalar, Scalar]:
    """The derivative of a parabola of slope `inner * x`, and beyond `bend` of lines of slope `outer`."""
    x = input - target
    line = call("where", x > 0, g * outer, g * -outer)
    d = call("where", call("abs", x) < bend, g * (x * inner), line)
    return d, -d


smooth_l1 = ExpressionLoss(
    _smooth_l1,
    "smooth_l1_loss",
    "SmoothL1LossBackward0",
    derivative=lambda g, input, target, beta: _bent(g, input, target, beta, 1 / beta, 1),
    static={"beta": (1.0,)},
)
huber = ExpressionLoss(
    _huber,
    "huber_loss",
    "HuberLossBackward0",
    derivative=lambda g, input, target, delta: _bent(g, input, target, delta, 1, delta),
    static={"delta": (1.0,)},
)

# log(0) counts as -100, so that the loss stays finite.
_LOWEST_LOG, _LEAST_PRODUCT = -100.0, 1e-12


def _logs(p: Scalar) -> tuple[Scalar, Scalar]:
    """The logarithms of a probability and of that of the contrary."""
    return call("maximum", call("log", p), _LOWEST_LOG), call("maximum", call("log1p", -p), _LOWEST_LOG)


def _bce_of_probabilities(input: Scalar, target: Scalar) -> Scalar:
    log, log_not = _logs(input)
    return (target - 1) * log_not - target * log


def _bce_rule(g: Scalar, input: Scalar, target: Scalar) -> tuple[Scalar, Scalar]:
    log, log_not = _logs(input)
    slope = call("maximum", (1 - input) * input, _LEAST_PRODUCT)
    return g * (input - target) / slope, g * (log_not - log)


bce = ExpressionLoss(
    _bce_of_probabilities,
    "binary_cross_entropy",
    "BinaryCrossEntropyBackward0",
    promote="floating",
    derivative=_bce_rule,
)


def _kl_div(input: Scalar, target: Scalar) -> Scalar:
    # 0 * log(0) is 0.
    return call("where", call("eq", target, 0), 0, target * call("log", target)) - target * input


kl_div = ExpressionLoss(_kl_div, "kl_div", "KlDivBackward0", promote="float")
kl_div_of_logs = ExpressionLoss(
    lambda input, target: call("exp", target) * (target - input), "kl_div_of_logs", "KlDivBackward0", promote="float"
)


def _bce(input: Scalar, target: Scalar) -> Scalar:
    # max(x, 0) - x * t + log(1 + exp(-|x|)): no overflow for any x
    return call("maximum", input, 0) - input * target + call("log1p", call("exp", -call("abs", input)))


bce_with_logits = ExpressionLoss(
    _bce, "binary_cross_entropy_with_logits", "BinaryCrossEntropyWithLogitsBackward0", promote="float"
)


# The inner product over dimensions, in one pass; and what distances are norms of.
inner = CustomReduction(lambda x, y: x * y, "sum", None, "inner", "SumBackward1")


@elementwise(promote="float", method=False, grad_name="AddBackward0")
def difference(input: Scalar, other: Scalar, *, eps: float) -> Scalar:
    """`input - other + eps`."""
    return input - other + eps


@elementwise(
    name="bce_with_logits_pos_weight",
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
    promote="float",
    method=False,
    precision=FLOAT32,
)
def bce_with_logits_pos_weight(input: Scalar, target: Scalar, pos_weight: Scalar) -> Scalar:
    """Binary cross-entropy with positive examples weighted by `pos_weight`."""
    scale = (pos_weight - 1) * target + 1
    tail = call("log1p", call("exp", -call("abs", input))) + call("maximum", -input, 0)
    return (1 - target) * input + scale * tail


@array_op(name="nll_loss_rows", public=False, grad_name="NllLossBackward0", precision=FLOAT32)
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
    losses = where(keep, neg(mul(backend.gather(input, safe[:, None], 1)[:, 0], w)), 0)
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
    rows = input_shape[0]
    g = div(g, result2) if reduction == "mean" else g
    keep = ne(target, ignore_index)
    # Where all are ignored, the mean divides by 0.
    row = where(keep, neg(mul(expand(g, size=(rows,)), result1)), 0)
    column = unsqueeze(where(keep, target, 0), dim=1)
    return scatter_add_zeros(unsqueeze(row, dim=1), column, shape=input_shape, dim=1, unique=True), None, None


@nll_loss.composite_of
def _nll_composite(input: Any, target: Any, weight: Any, reduction: str, ignore_index: int) -> Any:
    return negative_log_likelihood("nll_loss", input, target, weight, reduction, ignore_index, 0.0)
