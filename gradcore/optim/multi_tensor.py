"""Optimizers whose step is one update of all parameters at once, and what their updates have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..autograd.inplace import note_changes
from ..autograd.tape import wrap
from ..backends import Array, Backend, backend_of, cpu
from ..backends.cpp.types import FLOAT32
from ..expr import Scalar
from ..ops.updates import MultiTensorUpdate
from ..tensor.tensor import Tensor
from .optimizer import Group, Optimizer


class MultiTensorOptimizer(Optimizer):
    """An optimizer that updates all parameters of a group, device, dtype and age in one call of the backend, which is
    one launch on a GPU."""

    # What happens to each element.
    _update: MultiTensorUpdate
    # While `GradScaler` makes a step: by device a number there, unless which is 0 nothing may change.
    found_inf: dict[Backend, Any] | None = None

    def capturable(self) -> bool:
        """Whether a step never asks a GPU for anything, so that whether to make it can be decided there."""
        return all(group.get("capturable") and all(p.is_cuda for p in group["params"]) for group in self.param_groups)

    def _buffers(self, group: Group) -> dict[str, float | None]:
        """The tensors kept for each parameter, as the update's columns: what they are filled with first, None for one
        that is not needed."""
        raise NotImplementedError

    def _settings(self, group: Group, step: Any, states: list[dict[str, Any]]) -> dict[str, Any]:
        """The update's settings in step `step` (from 1), a number or, with `capturable`, a tensor. The parameters with
        these states are updated together."""
        raise NotImplementedError

    def _key(self, p: Any) -> Any:
        """What parameters that are updated together have in common: how many steps they have made."""
        state = self.state[p]
        if "step" not in state:
            return 0
        step = state["step"]
        if isinstance(step._array, np.ndarray):
            return int(step._array)
        count = self._counts.get(p)  # (to ask the device would be to wait for it)
        if count is None:
            count = self._counts[p] = int(step)
        return count

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            buffers = self._buffers(group)
            for backend, key, params in self._batches(group, self._key):
                states = self._states(params, buffers, group)
                step = self._counted(backend, key, params, states)
                settings = self._settings(group, step, states)
                columns = [
                    None if value is None else [state[name]._array for state in states]
                    for name, value in buffers.items()
                ]
                note_changes(params)
                skip = self._skip(backend)
                self._update(backend, [arrays(params), gradients(params), *columns], skip=skip, **settings)
        return loss

    def _skip(self, backend: Backend) -> Any:
        return None if self.found_inf is None else self.found_inf[backend]

    def _states(self, params: list[Any], buffers: dict[str, float | None], group: Group) -> list[dict[str, Any]]:
        """The states of parameters, with all that is kept."""
        states = [self.state[p] for p in params]
        needed = [(name, value) for name, value in buffers.items() if value is not None]
        for p, state in zip(params, states):
            if not state:
                backend = backend_of(p._array) if group.get("capturable") else cpu
                state["step"] = wrap(backend.full((), 0, FLOAT32))
            for name, value in needed:
                if name not in state:
                    state[name] = wrap(backend_of(p._array).full(p._array.shape, value, p._array.dtype))
        return states

    def _counted(self, backend: Backend, key: Any, params: list[Any], states: list[dict[str, Any]]) -> Any:
        """Count one step more; its number."""
        first = states[0]["step"]
        if isinstance(first._array, np.ndarray):
            for state in states:
                state["step"]._array.fill(key + 1)
            return key + 1
        one_more(backend, [[state["step"]._array for state in states]], skip=self._skip(backend))
        self._counts.update(dict.fromkeys(params, key + 1))
        return first


@MultiTensorUpdate
def one_more(count: Scalar) -> tuple[Scalar, ...]:
    """`count + 1`."""
    return (count + 1,)


def number(value: Any) -> Any:
    """An option that may be a tensor, as a number; a tensor on a GPU stays there."""
    if isinstance(value, Tensor):
        return value.detach() if value.device.type != "cpu" else value.item()
    return value


def descent(param: Scalar, grad: Scalar, weight_decay: Any, maximize: bool) -> Scalar:
    """The gradient to descend along: of the penalty `weight_decay / 2 * param^2`, too, if that is not None."""
    grad = -grad if maximize else grad
    return grad if weight_decay is None else grad + weight_decay * param


def shrunk(param: Scalar, shrink: Any) -> Scalar:
    """The parameter after decoupled weight decay."""
    return param if shrink is None else param * shrink


def decayed(lr: Any, weight_decay: float, decoupled: bool) -> dict[str, Any]:
    """The settings of an update for weight decay of either kind."""
    return {
        "weight_decay": None if decoupled else weight_decay or None,
        "shrink": 1 - lr * weight_decay if decoupled and weight_decay else None,
    }


def moments(
    grad: Scalar, exp_avg: Scalar, exp_avg_sq: Scalar, rate1: Scalar, beta2: Scalar, rate2: Scalar
) -> tuple[Scalar, Scalar]:
    """The running means of the gradient and of its square; the rates are 1 - beta."""
    return exp_avg + rate1 * (grad - exp_avg), beta2 * exp_avg_sq + rate2 * (grad * grad)


# ---------------------------------------------------------------- options
def check_ranges(
    *,
    lr: Any = 0.0,
    eps: float = 0.0,
    betas: tuple[float, ...] = (),
    weight_decay: float = 0.0,
    **others: float,
) -> None:
    """ValueError for hyperparameters out of range; the others may not be negative."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if not eps >= 0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for i, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
    if not weight_decay >= 0:
        raise ValueError(f"Invalid weight_decay value: {weight_decay}")
    for name, value in others.items():
        if not value >= 0:
            raise ValueError(f"Invalid {name} value: {value}")


def check_options(name: str, *, foreach: Any = None, fused: Any = None, differentiable: bool = False) -> None:
    """Refuse what has no meaning here, and combinations that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise NotImplementedError(
            f"{name}(differentiable=True): updates are made in place, outside autograd; write the update with tensor "
            "operations to differentiate through it"
        )


# ---------------------------------------------------------------- tensors
def arrays(tensors: Iterable[Any]) -> list[Array]:
    """The arrays of tensors."""
    return [t._array for t in tensors]


def gradients(params: Iterable[Any]) -> list[Array]:
    """The arrays of the gradients."""
    return [p._grad._array for p in params]
