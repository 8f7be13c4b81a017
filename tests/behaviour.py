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


def does(function: Callable[[Any, str], Any], device: str = "cpu") -> Any:
    """The plain result of `function(gradcore, device)`, which must be that of PyTorch, where that is installed."""
    ours = plain(function(gc, device))
    if torch is not None:
        theirs = plain(function(torch, "cpu"))
        assert matches(ours, theirs), f"{ours!r}, PyTorch: {theirs!r}"
    return ours


def fails(
    function: Callable[[Any, str], Any], device: str = "cpu", *, wording: bool = True, letters: int | None = None
) -> str:
    """What `function(gradcore, device)` raises: "RuntimeError: message".

    PyTorch must raise the same type of error and, if `wording`, the same message, or as many letters of it.
    """
    ours = outcome(function, gc, device)
    assert isinstance(ours, Raised), f"nothing was raised: {ours!r}"
    if torch is not None:
        theirs = outcome(function, torch, "cpu")
        assert isinstance(theirs, Raised), f"{ours!r}, PyTorch: {theirs!r}"
        assert type(ours.error).__name__ == type(theirs.error).__name__, f"{ours!r}, PyTorch: {theirs!r}"
        assert not wording or plain(ours)[:letters] == plain(theirs)[:letters], f"{ours!r}, PyTorch: {theirs!r}"
    return str(plain(ours))


def leaf(m: Any, device: str, values: Any, **options: Any) -> Any:
    """A leaf that requires grad."""
    return m.tensor(values, device=device, requires_grad=True, **options)


def weighted_grad(m: Any, y: Any, *inputs: Any) -> Any:
    """The gradients of the sum of y's elements weighted 1, 2, 3, ..."""
    weights = m.arange(1, y.numel() + 1, dtype=y.dtype, device=y.device).reshape(y.shape)
    return m.autograd.grad((y * weights).sum(), inputs, retain_graph=True)
