"""What a piece of user code does: with gradcore, and, where it is installed, the same with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import torch
from parity import Raised, outcome, short

import gradcore as gc


def plain(result: Any) -> Any:
    """Tensors as nested lists, errors as "RuntimeError: message", names as gradcore's."""
    if isinstance(result, Raised):
        return repr(result).replace("torch", "gradcore")
    if hasattr(result, "detach"):
        return result.detach().cpu().tolist()
    if isinstance(result, (tuple, list)):
        return [plain(r) for r in result]
    if isinstance(result, dict):
        return {k: plain(v) for k, v in result.items()}
    if type(result).__name__ == "dtype":
        return short(result)
    return result.replace("torch", "gradcore") if isinstance(result, str) else result


def matches(ours: Any, theirs: Any) -> bool:
    """Whether plain results are equal, numbers up to the rounding of float32."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(matches, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return bool(ours == pytest.approx(theirs, rel=1e-5, abs=1e-6, nan_ok=True))
    return type(ours) is type(theirs) and bool(ours == theirs)


def does(function: Callable[[Any, str], Any], device: str = "cpu", *, wording: bool = True) -> Any:
    """The plain result of `function(gradcore, device)`, which must be that of PyTorch, where that is installed.

    Of errors the type is compared, and the message if `wording`.
    """
    ours = outcome(function, gc, device)
    if torch is not None:
        theirs = outcome(function, torch, "cpu")
        if isinstance(theirs, Raised) and not wording:
            assert isinstance(ours, Raised) and type(ours.error) is type(theirs.error), f"{ours!r}, PyTorch: {theirs!r}"
        else:
            assert matches(plain(ours), plain(theirs)), f"{plain(ours)!r}, PyTorch: {plain(theirs)!r}"
    return plain(ours)


def leaf(m: Any, device: str, values: Any, **options: Any) -> Any:
    """A leaf that requires grad."""
    return m.tensor(values, device=device, requires_grad=True, **options)
