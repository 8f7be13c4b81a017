"""One function, run on gradcore and on PyTorch: same values, dtypes, shapes and errors."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE

import gradcore as gc

_MODULES = {m.__name__: m for m in (copy, math, operator, pickle)} | {"np": np}


def cases(text: str) -> Any:
    """Parametrize `case` by the expressions in `text`, which semicolons separate; `evaluate` runs one."""
    return pytest.mark.parametrize("case", [part.strip() for part in text.split(";") if part.strip()])


def evaluate(case: str, **names: Any) -> Any:
    """The value of an expression of these names, and of NumPy and some modules of the standard library."""
    return eval(case, {**_MODULES, **names})


class Raised:
    """What a function did that returned nothing."""

    def __init__(self, error: Exception):
        self.error = error

    def __repr__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """The result, or what was raised; warnings are not the matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except Exception as error:
            return Raised(error)


def values_of(tensor: Any) -> np.ndarray:
    """A tensor's values as NumPy; 16-bit floats as float32."""
    host = tensor.detach().cpu()
    return np.asarray((host.float() if host.dtype.itemsize == 2 and host.is_floating_point() else host).numpy())


def short(name: Any) -> str:
    """`float32` for either library's dtype of that name."""
    return str(name).split(".")[-1]


def assert_same(ours: Any, theirs: Any, *, exact: bool = False, where: str = "result") -> None:
    """Fail unless a result of ours is what PyTorch's is, in type, shape, dtype and values."""
    if isinstance(theirs, Raised):
        assert isinstance(ours, Raised), f"{where}: PyTorch raised {theirs!r}, gradcore returned {ours!r}"
        kind = type(theirs.error)
        assert isinstance(ours.error, kind), f"{where}: PyTorch raised {theirs!r}, gradcore {ours!r}"
        return
    assert not isinstance(ours, Raised), f"{where}: PyTorch returned {theirs!r}, gradcore raised {ours!r}"
    if isinstance(theirs, (tuple, list)) and isinstance(ours, (tuple, list)):
        assert len(ours) == len(theirs), f"{where}: {ours!r} is not {theirs!r}"
        for i, (a, b) in enumerate(zip(ours, theirs)):
            assert_same(a, b, exact=exact, where=f"{where}[{i}]")
    elif isinstance(ours, gc.Tensor):
        assert short(ours.dtype) == short(theirs.dtype), f"{where}: dtype {ours.dtype}, expected {theirs.dtype}"
        assert tuple(ours.shape) == tuple(theirs.shape), f"{where}: {ours.shape}, expected {theirs.shape}"
        assert ours.requires_grad == theirs.requires_grad, f"{where}: requires_grad {ours.requires_grad}"
        rtol, atol = (0.0, 0.0) if exact else TOLERANCE.get(ours.dtype, (0, 0))
        np.testing.assert_allclose(values_of(ours), values_of(theirs), rtol, atol, err_msg=where)
    elif isinstance(ours, (gc.dtype, gc.device)):
        assert short(ours) == short(theirs), f"{where}: {ours!r} is not {theirs!r}"
    elif isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray) and ours.dtype == theirs.dtype, where
        np.testing.assert_array_equal(ours, theirs, err_msg=where)
    elif isinstance(theirs, str):
        assert ours == theirs.replace("torch", "gradcore"), where
    else:
        assert type(ours) is type(theirs), f"{where}: {ours!r} is not {theirs!r}"
        np.testing.assert_equal(ours, theirs, err_msg=where)


def agree(function: Callable[..., Any], oracle: Any, device: str = "cpu", *, exact: bool = False) -> None:
    """Fail unless `function(module, device)` does the same with gradcore on `device` and with PyTorch on the CPU."""
    ours, theirs = outcome(function, gc, device), outcome(function, oracle, "cpu")
    assert_same(ours, theirs, exact=exact)
