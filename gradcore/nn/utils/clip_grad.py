"""Limiting gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from types import GeneratorType
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor.creation import tensor
from ...tensor.functions import FUNCTIONS
from ...tensor.tensor import Tensor


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale the gradients, taken together as one vector, so that its norm is at most `max_norm`.

    Args:
        parameters: the tensors whose gradients are scaled in place.
        norm_type: the order of the norm; may be `inf`.
        error_if_nonfinite: raise RuntimeError, and leave the gradients alone, if their norm is not finite.
        foreach: has no effect; for compatibility.

    Returns:
        The norm before scaling, a zero-dimensional tensor.
    """
    listed = _listed(parameters)
    if not listed and isinstance(parameters, GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    grads = [p.grad for p in listed if p.grad is not None]
    if not grads:
        return tensor(0.0)
    order = float(norm_type)
    first = grads[0].device
    total = FUNCTIONS["stack"]([g.norm(order).to(first) for g in grads]).norm(order)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    # Multiplying by 1 costs less than asking the device whether it is needed.
    scale = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(scale.to(g.device))
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every element of the gradients to [-clip_value, clip_value], in place; `foreach` has no effect."""
    limit = float(clip_value)
    for p in _listed(parameters):
        if p.grad is not None:
            p.grad.clamp_(min=-limit, max=limit)
