"""Clearing gradients, for modules and optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def zero_gradients(tensors: Iterable[Any], set_to_none: bool) -> None:
    """Drop the gradients of `tensors`, or fill them with zeros, cut from the graph that made them."""
    for t in tensors:
        gradient = t._grad
        if gradient is None:
            continue
        if set_to_none:
            t._grad = None
        else:
            gradient.detach_().requires_grad_(False).zero_()
