"""Functions that differ in the number of spatial dimensions share one documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def documented(text: str, ndim: int, **values: str) -> Callable[[Any], Any]:
    """Give a function `text` as its docstring, with the names of its `ndim` spatial dimensions and `values` put in."""
    names = {
        "ndim": ndim,
        "s": "s" if ndim > 1 else "",
        "space": ", ".join("DHW"[-ndim:] if ndim > 1 else "L"),
        "kernel": ", ".join(["kD", "kH", "kW"][-ndim:]),
    }

    def decorate(function: Any) -> Any:
        function.__doc__ = text.format(**names, **{name: value.format(**names) for name, value in values.items()})
        return function

    return decorate
