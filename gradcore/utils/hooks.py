"""What belongs to hooks: their handles, and how to have them left out when a tensor is pickled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..autograd.hooks import RemovableHandle

__all__ = ["RemovableHandle", "unserializable_hook"]

F = TypeVar("F", bound=Callable[..., Any])


def unserializable_hook(f: F) -> F:
    """Mark a hook (a decorator): pickling a tensor that has it leaves it out without a warning."""
    f.__gradcore_unserializable__ = True  # type: ignore[attr-defined]
    return f
