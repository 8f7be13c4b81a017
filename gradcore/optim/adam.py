"""Adam and its kin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Backend, backend_of
from ..expr import Scalar, call
from ..ops.updates import MultiTensorUpdate
from ..tensor.creation import ones_like
from ..tensor.functions import where
from .multi_tensor import (
    Group,
    MultiTensorOptimizer,
    check_options,
    check_ranges,
    decayed,
    descent,
    moments,
    number,
    shrunk,
)
from .optimizer import options


@MultiTensorUpdate
def adam(
    param: Scalar,
    grad: Scalar,
    exp_avg: Scalar,
    exp_avg_sq: Scalar,
    max_exp_avg_sq: Scalar | None = None,
    *,
    step_size: Scalar,
    rate1: Scalar,
    beta2: Scalar,
    rate2: Scalar,
    floor: Scalar,
    weight_decay: Scalar | None,
    shrink: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `Adam`.

    With root = sqrt(1 - beta2^t), `step_size` is lr root / (1 - beta1^t) and `floor` eps root: one operation fewer.
    """
    param = shrunk(param, shrink)
    grad = descent(param, grad, weight_decay, maximize)
    exp_avg, exp_avg_sq = moments(grad, exp_avg, exp_avg_sq, rate1, beta2, rate2)
    if max_exp_avg_sq is None:
        return param - step_size * (exp_avg / (call("sqrt", exp_avg_sq) + floor)), exp_avg, exp_avg_sq
    largest = call("maximum", max_exp_avg_sq, exp_avg_sq)
    return param - step_size * (exp_avg / (call("sqrt", largest) + floor)), exp_avg, exp_avg_sq, largest


class Adam(MultiTensorOptimizer):
    """Adam (Kingma & Ba, ICLR 2015): steps along a running mean of gradients, over the root of that of their squares.

    With g the gradient plus `weight_decay * p` (negated if `maximize`), m and v become `beta1 * m + (1 - beta1) * g`
    and `beta2 * v + (1 - beta2) * g^2`; in step t the parameter p becomes
    `p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)`. With `amsgrad` (Reddi et al., ICLR 2018) the largest
    v so far takes the place of v; with `decoupled_weight_decay`, p is multiplied by `1 - lr * weight_decay` instead of
    being added to the gradient (Loshchilov & Hutter, ICLR 2019).

    All parameters of a group, device, dtype and age are updated by one call of the backend, one launch on a GPU.
    With `capturable` the count of steps stays on the device, and what depends on it is computed there. `foreach` and
    `fused`, which choose between implementations in PyTorch, are accepted and have no effect; `differentiable=True` is
    refused.
    """

    _update = adam

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        check_ranges(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        check_options(type(self).__name__, foreach=foreach, fused=fused, differentiable=differentiable)
        betas = float(betas[0]), float(betas[1])
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0, "max_exp_avg_sq": 0.0 if group["amsgrad"] else None}

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        lr, decay = number(group["lr"]), group["weight_decay"]
        root = (1 - beta2**step) ** 0.5
        return {
            "step_size": lr / (1 - beta1**step) * root,
            "rate1": 1 - beta1,
            "beta2": beta2,
            "rate2": 1 - beta2,
            "floor": group["eps"] * root,
            **decayed(lr, decay, group["decoupled_weight_decay"]),
            "maximize": group["maximize"],
        }


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019), 0.01 by default; otherwise as `Adam`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state; weight decay stays decoupled, whatever the saved options say."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


@MultiTensorUpdate
def nadam(
    param: Scalar,
    grad: Scalar,
    exp_avg: Scalar,
    exp_avg_sq: Scalar,
    *,
    grad_size: Scalar,
    mean_size: Scalar,
    rate1: Scalar,
    beta2: Scalar,
    rate2: Scalar,
    floor: Scalar,
    weight_decay: Scalar | None,
    shrink: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `NAdam`."""
    param = shrunk(param, shrink)
    grad = descent(param, grad, weight_decay, maximize)
    exp_avg, exp_avg_sq = moments(grad, exp_avg, exp_avg_sq, rate1, beta2, rate2)
    step = (grad_size * grad + mean_size * exp_avg) / (call("sqrt", exp_avg_sq) + floor)
    return param - step, exp_avg, exp_avg_sq


class NAdam(MultiTensorOptimizer):
    """Adam with Nesterov's momentum (Dozat, ICLR 2016 workshop).

    The weight of the momentum in step t is `mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)`. `foreach` is accepted
    and has no effect; `differentiable=True` is refused.
    """

    _update = nadam
    _scalars = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_ranges(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_options("NAdam", differentiable=differentiable)
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def _key(self, p: Any) -> Any:
        # The product of the weights belongs to a parameter, as its count of steps does, and changes with it alone as
        # long as the options stay.
        count = super()._key(p)
        product = self.state[p].get("mu_product") if p in self.state else None
        return count, 1.0 if product is None or product.device.type != "cpu" else product.item()

    def _states(self, params: list[Any], buffers: dict[str, float | None], group: Group) -> list[dict[str, Any]]:
        states = super()._states(params, buffers, group)
        for state in states:
            if "mu_product" not in state:
                state["mu_product"] = ones_like(state["step"])
        return states

    def _counted(self, backend: Backend, key: Any, params: list[Any], states: list[dict[str, Any]]) -> Any:
        return super()._counted(backend, key[0], params, states)

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        lr, decay = number(group["lr"]), group["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
        following = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
        for state in states:
            skip = self._skip(backend_of(state["mu_product"]._array))
            state["mu_product"].mul_(mu if skip is None else where(skip > 0, 1.0, mu))
        product = number(states[0]["mu_product"])
        root = (1 - beta2**step) ** 0.5
        return {
            "grad_size": lr * (1 - mu) / (1 - product) * root,
            "mean_size": lr * following / (1 - product * following) * root,
            "rate1": 1 - beta1,
            "beta2": beta2,
            "rate2": 1 - beta2,
            "floor": group["eps"] * root,
            **decayed(lr, group["weight_decay"], group["decoupled_weight_decay"]),
            "maximize": group["maximize"],
        }


@MultiTensorUpdate
def radam(
    param: Scalar,
    grad: Scalar,
    exp_avg: Scalar,
    exp_avg_sq: Scalar,
    *,
    step_size: Scalar,
    rectified: Scalar,
    rate1: Scalar,
    beta2: Scalar,
    rate2: Scalar,
    eps: Scalar,
    weight_decay: Scalar | None,
    shrink: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `RAdam`; `rectified` is 0 as long as the variance of the adaptive rate is not known."""
    param = shrunk(param, shrink)
    grad = descent(param, grad, weight_decay, maximize)
    exp_avg, exp_avg_sq = moments(grad, exp_avg, exp_avg_sq, rate1, beta2, rate2)
    adaptive = call("where", rectified > 0, rectified / (call("sqrt", exp_avg_sq) + eps), 1)
    return param - step_size * exp_avg * adaptive, exp_avg, exp_avg_sq


class RAdam(MultiTensorOptimizer):
    """Rectified Adam (Liu et al., ICLR 2020): without the adaptive rate until enough squares were seen to trust it.

    `foreach` is accepted and has no effect; `differentiable=True` is refused.
    """

    _update = radam

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_ranges(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        check_options("RAdam", differentiable=differentiable)
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        lr = number(group["lr"])
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        # (Below 0 under the root, which gives NaN or an error, where the rate is not adaptive anyway.)
        known = (length > 5) * 1.0
        apart = (length - 4) * (length - 2) * known / ((longest - 4) * (longest - 2) * (length * known + (1 - known)))
        return {
            "step_size": lr / (1 - beta1**step),
            "rectified": (apart * longest * (1 - beta2**step)) ** 0.5,
            "rate1": 1 - beta1,
            "beta2": beta2,
            "rate2": 1 - beta2,
            "eps": group["eps"],
            **decayed(lr, group["weight_decay"], group["decoupled_weight_decay"]),
            "maximize": group["maximize"],
        }


@MultiTensorUpdate
def adamax(
    param: Scalar,
    grad: Scalar,
    exp_avg: Scalar,
    exp_inf: Scalar,
    *,
    step_size: Scalar,
    rate1: Scalar,
    beta2: Scalar,
    eps: Scalar,
    weight_decay: Scalar | None,
    maximize: bool,
) -> tuple[Scalar, ...]:
    """A step of `Adamax`."""
    grad = descent(param, grad, weight_decay, maximize)
    exp_avg = exp_avg + rate1 * (grad - exp_avg)
    exp_inf = call("maximum", beta2 * exp_inf, call("abs", grad) + eps)
    return param - step_size * (exp_avg / exp_inf), exp_avg, exp_inf


class Adamax(MultiTensorOptimizer):
    """Adam by the largest gradient instead of the mean of squares (Kingma & Ba, ICLR 2015, section 7.1).

    `foreach` is accepted and has no effect; `differentiable=True` is refused.
    """

    _update = adamax

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_ranges(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        check_options("Adamax", differentiable=differentiable)
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "step_size": number(group["lr"]) / (1 - beta1**step),
            "rate1": 1 - beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": group["weight_decay"] or None,
            "maximize": group["maximize"],
        }
