"""Undoing broadcasting: what the engine does to a gradient that is larger than its tensor."""

from __future__ import annotations

from typing import Any

from .reductions import sum as sum_op
from .shape import reshape


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` summed over the dimensions that broadcasting `shape` to its shape added or stretched."""
    extra = len(g.shape) - len(shape)
    dims = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    if not dims:
        return g if tuple(g.shape) == shape else reshape(g, shape=shape)
    g = sum_op(g, dim=dims, keepdim=True)
    return reshape(g, shape=shape) if extra else g


def broadcastable(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether `small` broadcasts to exactly `large`."""
    if len(small) > len(large):
        return False
    return all(n in (1, m) for n, m in zip(small[::-1], large[::-1]))
