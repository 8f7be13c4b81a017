"""How error messages call a value."""

from __future__ import annotations

from typing import Any

from .tensor import Tensor


def typename(obj: Any) -> str:
    """The type of a value, with its module: `gradcore.FloatTensor`, `int`, `gradcore.nn.modules.linear.Linear`.

    >>> typename(1)
    'int'
    """
    if isinstance(obj, Tensor):
        return str(obj.type())
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = named.__module__ or ""
    return named.__qualname__ if module in ("", "builtins") else f"{module}.{named.__qualname__}"
