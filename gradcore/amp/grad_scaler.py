"""`GradScaler`: losses scaled up, so that gradients in float16 do not vanish."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from .. import cuda
from ..autograd.grad_mode import no_grad
from ..autograd.inplace import note_changes
from ..backends import Backend, backend_of
from ..dtypes import float16, float32
from ..expr import Scalar, call, trace
from ..ops.updates import MultiTensorUpdate
from ..optim.multi_tensor import MultiTensorOptimizer
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from ..tensor.creation import full


class OptState(Enum):
    """How far an optimizer is since the last `update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


@MultiTensorUpdate
def unscaled(grad: Scalar, *, inverse: Scalar) -> tuple[Scalar, ...]:
    """`grad * inverse`."""
    return (grad * inverse,)


@MultiTensorUpdate
def adjusted(
    scale: Scalar, found_inf: Scalar, tracker: Scalar, *, growth: Scalar, backoff: Scalar, interval: Scalar
) -> tuple[Scalar, ...]:
    """The next scale, which never becomes infinite, and the number of steps since it last changed."""
    count, grown = tracker + 1, scale * growth
    due = call("eq", count, interval)
    larger = call("where", call("isfinite", grown), grown, scale)
    return (
        call("where", found_inf > 0, scale * backoff, call("where", due, larger, scale)),
        call("where", found_inf > 0, 0, call("where", due, 0, count)),
    )


nonfinite = trace(lambda x: call("where", call("isfinite", x), 0, 1))


class _State:
    """An optimizer since the last `update`."""

    def __init__(self) -> None:
        self.stage = OptState.READY
        # By device, a number there that is not 0 if a gradient is infinite or NaN.
        self.found: dict[Backend, Tensor] = {}


class GradScaler:
    """Multiplies the loss by a scale, divides the gradients by it, and leaves out steps whose gradients overflowed.

    The scale grows while all is well and shrinks when a gradient is infinite or NaN. Scale, counter and what was found
    lie on the device of the loss; gradients are unscaled and checked in one launch for each dtype. `step` waits once
    for the device, to know whether to go on; not for optimizers with `capturable`, which skip the step there.

    Args:
        device: "cuda" or "cpu".
        init_scale: the scale at first.
        growth_factor: what to multiply it by after `growth_interval` steps in a row without infinities.
        backoff_factor: what to multiply it by after a step with some.
        enabled: False makes it do nothing: `step` is `optimizer.step()`, `scale` returns what it gets.

    Raises:
        AssertionError: the factors are on the wrong side of 1.

    >>> import gradcore as torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=256.0)
    >>> with torch.autocast("cpu", dtype=torch.float16):
    ...     loss = model(torch.ones(4, 2)).square().mean()
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> scaler.get_scale()
    256.0
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn("GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            enabled = False
        self._device = device
        self._enabled = enabled
        if enabled and growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if enabled and backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        # What scale and counter are when they are made, on the device of the first loss.
        self._init_scale, self._init_growth_tracker = init_scale, 0
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._states: defaultdict[int, _State] = defaultdict(_State)

    # ---------------------------------------------------------------- the three calls of a training step
    def scale(self, outputs: Any) -> Any:
        """Tensors, in iterables nested at will, times the scale.

        Raises:
            ValueError: there is something else among them.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = full((), self._init_scale, dtype=float32, device=outputs.device)
                self._growth_tracker = full((), self._init_growth_tracker, dtype=float32, device=outputs.device)
            return outputs * self._scale.to(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, before `step` does, to clip or look at them.

        Raises:
            RuntimeError: they are unscaled already, or the step was made.
            ValueError: there are gradients in float16: the weights of mixed precision are float32.
        """
        if not self._enabled:
            return
        scale, _ = self._made("unscale_")
        state = self._states[id(optimizer)]
        if state.stage is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state.stage is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        grads: dict[Backend, list[Tensor]] = defaultdict(list)
        for p in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
            if p.grad.dtype is float16:
                raise ValueError("Attempting to unscale FP16 gradients.")
            grads[backend_of(p.grad._array)].append(p.grad)
        with no_grad():
            inverse = scale.double().reciprocal().float()
            for backend, there in grads.items():
                found = state.found[backend] = full((), 0.0, dtype=float32, device=backend.device)
                note_changes(there)
                arrays = [g._array for g in there]
                unscaled(backend, [arrays], flag=(nonfinite, found._array), inverse=inverse.to(backend.device))
        state.stage = OptState.UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`unscale_` the gradients, unless that was done, and `optimizer.step(*args, **kwargs)` if all are finite.

        Returns:
            What the optimizer's step returned; None if it was left out.

        Raises:
            RuntimeError: a step was made already since the last `update`, or there is a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._made("step")
        state = self._states[id(optimizer)]
        if state.stage is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state.stage is OptState.READY:
            self.unscale_(optimizer)
        if not state.found:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if isinstance(optimizer, MultiTensorOptimizer) and optimizer.capturable():
            optimizer.found_inf = {backend: self._found([state], backend.device) for backend in state.found}
            try:
                result = optimizer.step(*args, **kwargs)
            finally:
                optimizer.found_inf = None
        elif not any(found.item() for found in state.found.values()):
            result = optimizer.step(*args, **kwargs)
        state.stage = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adjust the scale, after the steps of all optimizers; or set it to `new_scale`."""
        if not self._enabled:
            return
        scale, tracker = self._made("update")
        if new_scale is None:
            if not any(state.found for state in self._states.values()):
                raise AssertionError("No inf checks were recorded prior to update.")
            found = self._found(self._states.values(), scale.device)
            columns = [[t._array] for t in (scale, found, tracker)]
            adjusted(
                backend_of(scale._array),
                columns,
                growth=float(self._growth_factor),
                backoff=float(self._backoff_factor),
                interval=float(self._growth_interval),
            )
        elif isinstance(new_scale, Tensor):
            if new_scale.device.type != self._device or new_scale.numel() != 1 or new_scale.requires_grad:
                raise AssertionError(
                    "new_scale should be a float or a 1-element tensor on the scaler's device with requires_grad=False."
                )
            scale.copy_(new_scale.reshape(()))
        else:
            scale.fill_(new_scale)
        self._states.clear()

    def _made(self, caller: str) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._growth_tracker is None:
            raise AssertionError(
                f"Attempted {caller} but _scale is None.  This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale, self._growth_tracker

    @staticmethod
    def _found(states: Iterable[_State], device: Any) -> Tensor:
        """What was found on all devices, on one."""
        found = [t.to(device) for state in states for t in state.found.values()]
        total = found[0]
        for other in found[1:]:
            total = total + other
        return total

    # ---------------------------------------------------------------- state
    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale, 1.0 if it is not enabled; waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale)

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else int(self._growth_tracker)

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps without infinities the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many steps without infinities the scale grows."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors, interval and counter as numbers; nothing if it is not enabled. Waits for the device."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; does nothing if it is not enabled.

        Raises:
            RuntimeError: it is that of a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale, self._init_growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._scale is not None and self._growth_tracker is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        if self._states:
            raise AssertionError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        numbers = {"_init_scale": self.get_scale(), "_init_growth_tracker": self._get_growth_tracker()}
        return {**self.__dict__, **numbers, "_scale": None, "_growth_tracker": None}
