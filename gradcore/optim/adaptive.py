"""Optimizers that scale each element's step by the gradients it has seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..expr import Scalar, call
from ..ops.updates import MultiTensorUpdate
from .multi_tensor import Group, MultiTensorOptimizer, check_options, check_ranges, descent, number
from .optimizer import options


@MultiTensorUpdate
def rmsprop(
    param: Scalar,
    grad: Scalar,
    square_avg: Scalar,
    momentum_buffer: Scalar | None = None,
    grad_avg: Scalar | None = None,
    *,
    lr: Scalar,
    alpha: Scalar,
    rate: Scalar,
    eps: Scalar,
    momentum: Scalar | None,
    weight_decay: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `RMSprop`; `rate` is `1 - alpha`."""
    grad = descent(param, grad, weight_decay, maximize)
    square_avg = alpha * square_avg + rate * (grad * grad)
    state = [square_avg]
    variance = square_avg
    if grad_avg is not None:
        grad_avg = grad_avg + rate * (grad - grad_avg)
        variance = square_avg - grad_avg * grad_avg
    step = grad / (call("sqrt", variance) + eps)
    if momentum_buffer is not None and momentum is not None:
        step = momentum * momentum_buffer + step
        state.append(step)
    return (param - lr * step, *state, *([] if grad_avg is None else [grad_avg]))


class RMSprop(MultiTensorOptimizer):
    """RMSprop (Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012): steps over the root of a running
    mean of squared gradients.

    With g the gradient plus `weight_decay * p` (negated if `maximize`), v becomes `alpha * v + (1 - alpha) * g^2` and
    the step is `g / (sqrt(v) + eps)`; `centered` subtracts the square of g's running mean from v (Graves,
    arXiv:1308.0850), and `momentum` adds up the steps. `foreach` and `capturable` are accepted and have no effect;
    `differentiable=True` is refused.
    """

    _update = rmsprop

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_ranges(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        check_options("RMSprop", differentiable=differentiable)
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {
            "square_avg": 0.0,
            "momentum_buffer": 0.0 if group["momentum"] > 0 else None,
            "grad_avg": 0.0 if group["centered"] else None,
        }

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "lr": number(group["lr"]),
            "alpha": group["alpha"],
            "rate": 1 - group["alpha"],
            "eps": group["eps"],
            "momentum": group["momentum"] or None,
            "weight_decay": group["weight_decay"] or None,
            "maximize": group["maximize"],
        }


@MultiTensorUpdate
def adagrad(
    param: Scalar,
    grad: Scalar,
    sum: Scalar,
    *,
    lr: Scalar,
    eps: Scalar,
    weight_decay: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `Adagrad`."""
    grad = descent(param, grad, weight_decay, maximize)
    sum = sum + grad * grad
    return param - lr * (grad / (call("sqrt", sum) + eps)), sum


class Adagrad(MultiTensorOptimizer):
    """Adagrad (Duchi, Hazan & Singer, JMLR 2011): steps over the root of the sum of squared gradients.

    In step t the rate is `lr / (1 + (t - 1) * lr_decay)`; the sum starts at `initial_accumulator_value`. `foreach` and
    `fused` are accepted and have no effect; `differentiable=True` is refused.
    """

    _update = adagrad

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_ranges(
            lr=lr,
            eps=eps,
            weight_decay=weight_decay,
            lr_decay=lr_decay,
            initial_accumulator_value=initial_accumulator_value,
        )
        check_options("Adagrad", foreach=foreach, fused=fused, differentiable=differentiable)
        super().__init__(params, options(locals()))
        # As in PyTorch, the sums are there before the first step.
        for group in self.param_groups:
            self._states(group["params"], self._buffers(group), group)

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"sum": float(group["initial_accumulator_value"])}

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "lr": number(group["lr"]) / (1 + (step - 1) * group["lr_decay"]),
            "eps": group["eps"],
            "weight_decay": group["weight_decay"] or None,
            "maximize": group["maximize"],
        }


@MultiTensorUpdate
def adadelta(
    param: Scalar,
    grad: Scalar,
    square_avg: Scalar,
    acc_delta: Scalar,
    *,
    lr: Scalar,
    rho: Scalar,
    rate: Scalar,
    eps: Scalar,
    weight_decay: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `Adadelta`; `rate` is `1 - rho`."""
    grad = descent(param, grad, weight_decay, maximize)
    square_avg = rho * square_avg + rate * (grad * grad)
    delta = call("sqrt", acc_delta + eps) / call("sqrt", square_avg + eps) * grad
    return param - lr * delta, square_avg, rho * acc_delta + rate * (delta * delta)


class Adadelta(MultiTensorOptimizer):
    """Adadelta (Zeiler, arXiv:1212.5701): steps as large as earlier ones, relative to the gradients.

    `foreach` and `capturable` are accepted and have no effect; `differentiable=True` is refused.
    """

    _update = adadelta

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_ranges(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        check_options("Adadelta", differentiable=differentiable)
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "lr": number(group["lr"]),
            "rho": group["rho"],
            "rate": 1 - group["rho"],
            "eps": group["eps"],
            "weight_decay": group["weight_decay"] or None,
            "maximize": group["maximize"],
        }


@MultiTensorUpdate
def rprop(
    param: Scalar,
    grad: Scalar,
    prev: Scalar,
    step_size: Scalar,
    *,
    smaller: Scalar,
    larger: Scalar,
    least: Scalar,
    most: Scalar,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `Rprop`."""
    grad = descent(param, grad, None, maximize)
    turned = grad * prev < 0
    factor = call("where", turned, smaller, call("where", grad * prev > 0, larger, 1))
    step_size = call("minimum", call("maximum", step_size * factor, least), most)
    grad = call("where", turned, 0, grad)
    return param - call("sign", grad) * step_size, grad, step_size


class Rprop(MultiTensorOptimizer):
    """Rprop (Riedmiller & Braun, ICNN 1993): steps by the sign of the gradient alone, for whole data sets.

    Each element's step, `lr` at first, becomes `etas[1]` times larger while its gradient keeps its sign; where the sign
    changes, `etas[0]` times smaller, and the element stays for once. `step_sizes` are the least and the largest step.
    `foreach` is accepted and has no effect; `differentiable=True` is refused.
    """

    _update = rprop

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_ranges(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        check_options("Rprop", differentiable=differentiable)
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"prev": 0.0, "step_size": float(group["lr"])}

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "smaller": float(group["etas"][0]),
            "larger": float(group["etas"][1]),
            "least": float(group["step_sizes"][0]),
            "most": float(group["step_sizes"][1]),
            "maximize": group["maximize"],
        }
