"""Limiting gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache, reduce
from math import inf
from types import GeneratorType
from typing import Any

from ...autograd.grad_mode import no_grad
from ...autograd.inplace import note_changes
from ...autograd.tape import wrap
from ...backends import Backend, backend_of
from ...dtypes import promote_types
from ...expr import Program, Scalar, call, trace
from ...ops.updates import MultiTensorUpdate
from ...tensor.creation import tensor
from ...tensor.functions import FUNCTIONS
from ...tensor.tensor import Tensor


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


@cache
def _power(order: float) -> Program:
    """What is added up for a norm of this order, from 1: a power of the magnitude; of which infinity takes the most."""
    powers = {1.0: lambda x: call("abs", x), 2.0: lambda x: x * x, inf: lambda x: call("abs", x)}
    return trace(powers.get(order, lambda x: call("pow", call("abs", x), order)))


@MultiTensorUpdate
def scaled(grad: Scalar, *, scale: Scalar) -> tuple[Scalar, ...]:
    """`grad * scale`."""
    return (grad * scale,)


def _by_device(tensors: Iterable[Tensor]) -> dict[Backend, list[Tensor]]:
    found: dict[Backend, list[Tensor]] = {}
    for t in tensors:
        found.setdefault(backend_of(t._array), []).append(t)
    return found


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of the tensors taken together as one vector, zero-dimensional, on the device of the first.

    On a GPU it is computed in two launches, whatever the number of tensors, and the host does not wait.

    Args:
        norm_type: the order; may be `inf`.
        error_if_nonfinite: raise RuntimeError if the norm is not finite.
        foreach: has no effect; for compatibility.
    """
    listed = _listed(tensors)
    if not listed:
        return tensor(0.0)
    order = float(norm_type)
    first = listed[0].device
    if order >= 1 and all(t.is_floating_point() for t in listed):
        combine = "max" if order == inf else "sum"
        parts = []
        for backend, there in _by_device(listed).items():
            total = backend.multi_tensor_reduce("norm", _power(order), combine, [t._array for t in there])
            parts.append((wrap(total) if order == inf else wrap(total) ** (1 / order)).to(first))
        dtype = reduce(promote_types, [t.dtype for t in listed])
    else:
        parts, dtype = [t.norm(order).to(first) for t in listed], None
    total = parts[0] if len(parts) == 1 else FUNCTIONS["stack"](parts).norm(order)
    total = total if dtype is None else total.to(dtype)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients in place by `max_norm / total_norm` if that is less than 1; `foreach` has no effect."""
    grads = [p.grad for p in _listed(parameters) if p.grad is not None]
    # Multiplying by 1 costs less than asking the device whether it is needed.
    scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for backend, there in _by_device(grads).items():
        note_changes(there)
        scaled(backend, [[g._array for g in there]], scale=scale.to(there[0].device))


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
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm([p.grad for p in listed if p.grad is not None], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every element of the gradients to [-clip_value, clip_value], in place; `foreach` has no effect."""
    limit = float(clip_value)
    for p in _listed(parameters):
        if p.grad is not None:
            p.grad.clamp_(min=-limit, max=limit)
