"""What schedules of the learning rate have in common."""

from __future__ import annotations

import warnings
from typing import Any

from ...tensor import Tensor
from ..optimizer import Group, Optimizer

_HOW = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
_EPOCH = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available. Please open an issue if you are unable to "
    "replicate your use case: https://github.com/pytorch/pytorch/issues/new/choose."
)


def checked(optimizer: Any) -> Optimizer:
    """The optimizer; TypeError if it is none."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """An option of a schedule for each of the groups, given for all or as a list."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, param_groups "
            f"has {count}."
        )
    return list(value)


def set_option(group: Group, name: str, value: Any) -> None:
    """Set an option of a group; one that is a tensor is changed in place."""
    if isinstance(group.get(name), Tensor):
        group[name].fill_(float(value))
    else:
        group[name] = value


def rates(optimizer: Optimizer) -> list[float]:
    """The rates of the groups."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def warn_of_epoch() -> None:
    """Warn that a schedule is told its epoch."""
    warnings.warn(_EPOCH, UserWarning, stacklevel=3)


class LRScheduler:
    """The base class of schedules; a subclass defines `get_lr`.

    Args:
        optimizer: whose groups' `lr` is set; it is kept as `initial_lr` there.
        last_epoch: the number of steps made, to resume; -1 to start.
    """

    _is_initial = False
    _get_lr_called_within_step = False
    # What `state_dict` leaves out.
    _left_out: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self.optimizer = checked(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with last_epoch "
                    ">= 0.\nThis typically happens when:\n1. You're trying to resume training from a checkpoint but "
                    "haven't properly loaded the optimizer state\n2. You're using last_epoch >= 0 for a fresh training "
                    "run (not recommended)"
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        optimizer._scheduled_step = vars(optimizer).get("step")
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rates of the groups for step `last_epoch`; called by `step`."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates of the groups as this schedule last set them."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Set the next rates; with `epoch`, which is deprecated, those of that step."""
        if self._step_count == 1:
            if vars(self.optimizer).get("step") is not self.optimizer._scheduled_step:
                warnings.warn(
                    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. "
                    "Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`. " + _HOW,
                    UserWarning,
                    stacklevel=2,
                )
            elif not self.optimizer._stepped:
                warnings.warn(
                    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you "
                    "should call them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure "
                    "to do this will result in PyTorch skipping the first value of the learning rate schedule. " + _HOW,
                    UserWarning,
                    stacklevel=2,
                )
        self._step_count += 1
        if epoch is not None:
            warn_of_epoch()
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        closed_form = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set_rates(closed_form or self.get_lr)

    def _set_rates(self, compute: Any) -> None:
        self._get_lr_called_within_step = True
        try:
            new = compute()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, new, strict=True):
            set_option(group, "lr", rate)
        self._last_lr = rates(self.optimizer)

    def _check_caller(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name not in self._left_out}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; the optimizer's is loaded separately."""
        self.__dict__.update(state_dict)
