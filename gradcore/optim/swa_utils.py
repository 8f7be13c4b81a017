"""Averages of a model's weights over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from ..autograd.grad_mode import no_grad
from ..autograd.inplace import note_changes
from ..backends import Backend, backend_of
from ..dtypes import int64
from ..expr import Scalar
from ..nn import Module
from ..nn.modules.batchnorm import _BatchNorm
from ..ops.updates import MultiTensorUpdate
from ..tensor import Tensor
from ..tensor.creation import tensor
from .lr_scheduler.base import LRScheduler, for_each_group
from .multi_tensor import arrays
from .optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Any, Any, Any], None]


@MultiTensorUpdate
def moved(average: Scalar, current: Scalar, *, weight: Scalar) -> tuple[Scalar, ...]:
    """`average + weight * (current - average)`."""
    return (average + weight * (current - average),)


def _move(averages: Any, current: Any, weight: float) -> None:
    """Move averages towards what is current, in one launch for each device and dtype."""
    floating: dict[Backend, tuple[list[Tensor], list[Tensor]]] = {}
    for a, c in zip(averages, current, strict=True):
        if a.is_floating_point():
            for kept, t in zip(floating.setdefault(backend_of(a._array), ([], [])), (a, c)):
                kept.append(t)
        else:
            a.copy_(a + (c - a) * weight)
    for backend, (there, new) in floating.items():
        note_changes(there)
        moved(backend, [arrays(there), arrays(new)], weight=weight)


def _checked(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return decay


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """Exponential moving averages of lists of tensors: `decay * average + (1 - decay) * current`.

    Raises:
        ValueError: `decay` is not between 0 and 1.
    """
    weight = 1 - _checked(decay)

    @no_grad()
    def ema_update(ema_param_list: Any, current_param_list: Any, _: Any) -> None:
        _move(ema_param_list, current_param_list, weight)

    return ema_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """Equal averages of lists of tensors."""

    @no_grad()
    def swa_update(averaged_param_list: Any, current_param_list: Any, num_averaged: Any) -> None:
        _move(averaged_param_list, current_param_list, 1 / (int(num_averaged) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average of one tensor: `decay * average + (1 - decay) * current`.

    Raises:
        ValueError: `decay` is not between 0 and 1.
    """
    _checked(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Average:
    """The equal average of one tensor."""

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model with averages of its weights: equal ones (stochastic weight averaging, Izmailov et al., UAI
    2018), or, with `multi_avg_fn=get_ema_multi_avg_fn(decay)`, exponential moving averages.

    Args:
        device: where the averages are; None: where the weights are.
        avg_fn: `(average, current, number of averages) -> average`, for each tensor.
        multi_avg_fn: `(averages, current, number)`, which changes lists of averages in place.
        use_buffers: average the buffers, too, instead of copying them.

    Raises:
        AssertionError: both functions are given.

    >>> import gradcore as torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))
    >>> for value in (0.0, 4.0):
    ...     _ = model.weight.data.fill_(value)
    ...     ema.update_parameters(model)
    >>> ema.module.weight.item()
    1.0
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the weights of `model` into the averages."""

        def averaged(m: Module) -> list[Tensor]:
            buffers: Iterable[Tensor] = m.buffers() if self.use_buffers else ()
            return [t.detach() for t in chain(m.parameters(), buffers)]

        averages = averaged(self.module)
        current = [c.to(a.device) for a, c in zip(averages, averaged(model))]
        if int(self.n_averaged) == 0:
            for a, c in zip(averages, current):
                a.copy_(c)
        elif self.avg_fn is not None:
            for a, c in zip(averages, current):
                a.copy_(self.avg_fn(a, c, self.n_averaged.to(a.device)))
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, current, self.n_averaged)
        if not self.use_buffers:
            for a, c in zip(self.module.buffers(), model.buffers(), strict=True):
                a.detach().copy_(c.detach())
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's batch norms anew, as means over the batches of `loader`.

    Args:
        loader: batches, or tuples and lists that begin with one.
        device: where to move the batches; None: they stay.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    momenta, training = [m.momentum for m in norms], model.training
    model.train()
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
    for batch in loader:
        batch = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(batch if device is None else batch.to(device))
    for m, momentum in zip(norms, momenta):
        m.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """Moves the rate to `swa_lr` in `anneal_epochs` steps, by a cosine ("cos") or in a line ("linear"), and keeps it.

    Raises:
        ValueError: an option is invalid.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        for rate, group in zip(for_each_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far the rate has moved after so many steps."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[float]:
        self._check_caller()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, share = self._share(step - 1), self._share(step)
        new = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            # Where the rate came from: what others have made of it is kept.
            start = end if before == 1 else (float(group["lr"]) - before * end) / (1 - before)
            new.append(end * share + start * (1 - share))
        return new
