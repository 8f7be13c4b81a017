"""Batches in page-locked memory."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .collate import converted


def pin_memory(data: Any) -> Any:
    """Put the tensors in a batch, and whatever else has a method `pin_memory`, into page-locked memory."""
    if isinstance(data, Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    return converted(data, pin_memory)
