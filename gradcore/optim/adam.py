"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.tape import wrap
from ..backends import backend_of
from ..tensor.creation import tensor
from .optimizer import Optimizer, arrays, check_options, gradients, note_changes


class Adam(Optimizer):
    """Adam (Kingma & Ba, ICLR 2015): steps along a running mean of gradients, over the root of that of their squares.

    With g the gradient plus `weight_decay * p` (negated if `maximize`), m and v become `beta1 * m + (1 - beta1) * g`
    and `beta2 * v + (1 - beta2) * g^2`; in step t the parameter p becomes
    `p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)`. With `amsgrad` (Reddi et al., ICLR 2018) the largest
    v so far takes the place of v; with `decoupled_weight_decay`, p is multiplied by `1 - lr * weight_decay` instead of
    being added to the gradient (Loshchilov & Hutter, ICLR 2019).

    All parameters of a group, device, dtype and age are updated by one call of the backend, one launch on a GPU.
    `foreach`, `fused` and `capturable`, which choose between implementations in PyTorch, are accepted and have no
    effect; `differentiable=True` is refused.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        if not lr >= 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps >= 0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i in (0, 1):
            if not 0 <= betas[i] < 1:
                raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")
        if not weight_decay >= 0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        check_options(type(self).__name__, foreach=foreach, fused=fused, differentiable=differentiable)
        defaults = {
            "lr": lr,
            "betas": (float(betas[0]), float(betas[1])),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if group["amsgrad"] else [])
            beta1, beta2 = group["betas"]
            for backend, age, params in self._batches(group, self._age):
                states = [self._state_of(p, names) for p in params]
                moments = [[state[name]._array for state in states] for name in names]
                note_changes(params)
                backend.adam_step(
                    arrays(params),
                    gradients(params),
                    moments[0],
                    moments[1],
                    moments[2] if group["amsgrad"] else None,
                    lr=float(group["lr"]),
                    beta1=beta1,
                    beta2=beta2,
                    eps=group["eps"],
                    weight_decay=group["weight_decay"],
                    decoupled=group["decoupled_weight_decay"],
                    maximize=group["maximize"],
                    step=age + 1,
                )
                for state in states:
                    state["step"]._array.fill(age + 1)
        return loss

    def _age(self, p: Any) -> int:
        """How many steps `p` has made."""
        state = self.state[p]
        return int(state["step"]._array) if state else 0

    def _state_of(self, p: Any, names: list[str]) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            state["step"] = tensor(0.0)
        for name in names:
            if name not in state:
                state[name] = wrap(backend_of(p._array).full(p._array.shape, 0, p._array.dtype))
        return state


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
