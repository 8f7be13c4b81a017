"""Clearing gradients, for modules and optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .creation import zeros_like


def zero_gradients(tensors: Iterable[Any], set_to_none: bool) -> None:
    """Drop the gradients of `tensors`, or make them zeros, without history."""
    for t in tensors:
        gradient = t._grad
        if gradient is None:
            continue
        if set_to_none:
            t._grad = None
        elif gradient._node is not None:
            # Made under create_graph: its memory may belong to the graph.
            t._grad = zeros_like(gradient)
        else:
            gradient.requires_grad_(False).zero_()
