"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.tape import wrap
from .optimizer import Optimizer, arrays, check_options, gradients, note_changes


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al., ICML 2013) if `momentum` is not 0.

    With g the gradient plus `weight_decay * p` (negated if `maximize`), the buffer b of each parameter starts as g and
    becomes `momentum * b + (1 - dampening) * g`; the parameter p becomes `p - lr * b`, or with `nesterov`
    `p - lr * (g + momentum * b)`.

    All parameters of a group, device and dtype are updated by one call of the backend, one launch on a GPU. `foreach`
    and `fused`, which choose between such implementations in PyTorch, are accepted and have no effect;
    `differentiable=True` is refused.

    >>> import gradcore as torch
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.5)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        if lr < 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_options("SGD", foreach=foreach, fused=fused, differentiable=differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            momentum = group["momentum"]
            for backend, first, params in self._batches(group, self._is_first if momentum else _never):
                if first:
                    for p in params:
                        self.state[p]["momentum_buffer"] = wrap(backend.empty(p._array.shape, p._array.dtype))
                note_changes(params)
                backend.sgd_step(
                    arrays(params),
                    gradients(params),
                    [self.state[p]["momentum_buffer"]._array for p in params] if momentum else None,
                    lr=float(group["lr"]),
                    momentum=momentum,
                    dampening=group["dampening"],
                    weight_decay=group["weight_decay"],
                    nesterov=group["nesterov"],
                    maximize=group["maximize"],
                    first=first,
                )
        return loss

    def _is_first(self, p: Any) -> bool:
        return self.state[p].get("momentum_buffer") is None


def _never(p: Any) -> bool:
    return False
