"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd.tape import wrap
from ..backends import Backend, backend_of
from ..expr import Scalar
from ..ops.updates import MultiTensorUpdate
from .multi_tensor import Group, MultiTensorOptimizer, check_options, descent, number
from .optimizer import options


@MultiTensorUpdate
def sgd(
    param: Scalar,
    grad: Scalar,
    momentum_buffer: Scalar | None = None,
    *,
    lr: Scalar,
    momentum: Scalar | None,
    rate: Scalar | None,
    weight_decay: Scalar | None,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> tuple[Scalar, ...]:
    """A step of `SGD`; `rate` is `1 - dampening`."""
    grad = descent(param, grad, weight_decay, maximize)
    if momentum_buffer is None or momentum is None:
        return (param - lr * grad,)
    kept = grad if first else momentum * momentum_buffer + (grad if rate is None else rate * grad)
    return param - lr * (grad + momentum * kept if nesterov else kept), kept


class SGD(MultiTensorOptimizer):
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

    _update = sgd

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
        super().__init__(params, options(locals()))

    def _buffers(self, group: Group) -> dict[str, float | None]:
        return {"momentum_buffer": 0.0 if group["momentum"] else None}

    def _settings(self, group: Group, step: int, states: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "lr": number(group["lr"]),
            "momentum": group["momentum"] or None,
            "rate": 1 - group["dampening"] if group["dampening"] else None,
            "weight_decay": group["weight_decay"] or None,
            "nesterov": group["nesterov"],
            "maximize": group["maximize"],
            "first": step == 1,
        }

    # There is no count to keep: only whether there was a step before.
    def _key(self, p: Any) -> int:
        return int(p in self.state and self.state[p].get("momentum_buffer") is not None)

    def _states(self, params: list[Any], buffers: dict[str, float | None], group: Group) -> list[dict[str, Any]]:
        if buffers["momentum_buffer"] is None:
            return []
        states = [self.state[p] for p in params]
        for p, state in zip(params, states):
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = wrap(backend_of(p._array).empty(p._array.shape, p._array.dtype))
        return states

    def _counted(self, backend: Backend, key: int, params: list[Any], states: list[dict[str, Any]]) -> int:
        return key + 1
