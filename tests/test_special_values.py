"""NaN, infinities, zeros and ties: values and gradients where formulas alone would not say what they are."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from parity import agree

import gradcore as gc

inf, nan = math.inf, math.nan

UNARY = {
    name: (lambda m, x, name=name: getattr(m, name)(x))
    for name in """relu abs neg sign square sqrt rsqrt exp expm1 log log2 log10 log1p sin cos tan asin acos atan sinh
    cosh tanh sigmoid reciprocal floor ceil round trunc""".split()
} | {
    "clamp": lambda m, x: x.clamp(-1, 1),
    "clamp min": lambda m, x: x.clamp(min=0),
    "clamp max": lambda m, x: x.clamp(max=0),
    "clamp crossed": lambda m, x: x.clamp(1, -1),
    "pow 2": lambda m, x: x**2,
    "pow 3": lambda m, x: x**3,
    "pow 0": lambda m, x: x**0,
    "pow 1": lambda m, x: x**1,
    "pow 0.5": lambda m, x: x**0.5,
    "pow -1": lambda m, x: x**-1,
    "pow -0.5": lambda m, x: x**-0.5,
    "pow 2.5": lambda m, x: x**2.5,
    "2 pow": lambda m, x: 2**x,
    "0 pow": lambda m, x: 0**x,
    "1 / x": lambda m, x: 1 / x,
    "x % 2": lambda m, x: x % 2,
    "where": lambda m, x: m.where(x > 0, x, 0.0),
    "where both": lambda m, x: m.where(x > 0, m.sqrt(x), x * 2),
    "softmax": lambda m, x: x.softmax(0),
    "log_softmax": lambda m, x: x.log_softmax(0),
    "sum": lambda m, x: x.sum(),
    "mean": lambda m, x: x.mean(),
    "prod": lambda m, x: x.prod(),
    "max": lambda m, x: x.max(),
    "min": lambda m, x: x.min(),
    "max dim": lambda m, x: x.max(0)[0],
    "min dim": lambda m, x: x.min(0)[0],
    "amax": lambda m, x: x.amax(0),
    "amin": lambda m, x: x.amin(0),
    "var": lambda m, x: x.var(),
    "std": lambda m, x: x.std(),
    "norm": lambda m, x: x.norm(),
    "norm 1": lambda m, x: x.norm(1),
    "norm 3": lambda m, x: x.norm(3),
    "norm inf": lambda m, x: x.norm(inf),
    "norm -inf": lambda m, x: x.norm(-inf),
    "norm dim": lambda m, x: x.reshape(-1, 1).norm(dim=1),
    "mse": lambda m, x: m.nn.functional.mse_loss(x, m.zeros_like(x)),
    "bce": lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(x, m.ones_like(x)),
}
BINARY = {
    "maximum": lambda m, x, y: m.maximum(x, y),
    "minimum": lambda m, x, y: m.minimum(x, y),
    "add": lambda m, x, y: x + y,
    "sub": lambda m, x, y: x - y,
    "mul": lambda m, x, y: x * y,
    "div": lambda m, x, y: x / y,
    "pow": lambda m, x, y: x**y,
    "clamp": lambda m, x, y: m.clamp(x, y, y + 1),
    "where": lambda m, x, y: m.where(x > y, x, y),
    "remainder": lambda m, x, y: x % y.detach(),
}
VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, inf, -inf, nan, 1e30, -1e30, 1e-30]
LISTS = [[v] for v in VALUES] + [
    [0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 3.0, 2.0], [1.0, 1.0], [2.0, 1.0, 2.0], [-2.0, 2.0], [1.0, nan, 2.0],
    [nan, nan], [inf, 1.0], [-inf, 1.0], [-inf, -inf], [inf, inf], [inf, -inf], [inf, 0.0], [1000.0, 0.0],
    [1e30, 1e30], [-1e4, 1e4],
]  # fmt: skip


# Chosen differently: amax of NaN gives NaN its gradient, as max does, where PyTorch divides 0 by 0; the loss at an
# infinite score is infinite, not 0 * inf; var of a single NaN has no gradient; -0.0 and -inf have no root, as -1 has
# none; the gradient of prod is the product of the others, where PyTorch divides the product by the element.
DIFFERENT = {
    "amax": math.isnan,
    "amin": math.isnan,
    "bce": math.isinf,
    "prod": lambda v: not math.isfinite(v),
    "pow -0.5": lambda v: math.copysign(1, v) < 0,
}


def gradients(m: Any, function: Any, device: str, *data: Any, dtype: str = "float64") -> Any:
    inputs = [m.tensor(d, dtype=getattr(m, dtype), device=device).requires_grad_() for d in data]
    out = function(m, *inputs)
    out.sum().backward()
    return (out.detach(), *[x.grad for x in inputs])


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name: str, device: str, oracle: Any) -> None:
    for data in LISTS:
        if any(map(DIFFERENT.get(name, lambda v: False), data)) or (name in ("var", "std") and len(data) == 1):
            continue
        try:
            agree(lambda m, d: gradients(m, UNARY[name], d, data), oracle, device)
        except AssertionError as error:
            raise AssertionError(f"{name} of {data}: {error}") from None


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_tensors(name: str, device: str, oracle: Any) -> None:
    first, second = (a.ravel().tolist() for a in np.meshgrid(VALUES, VALUES))
    agree(lambda m, d: gradients(m, BINARY[name], d, first, second), oracle, device)


def test_expected(device: str) -> None:
    """What the tests above compare, written out for the cases that people rely on."""
    for name, data, value, gradient in (
        ("relu", [-1.0, 0.0, 2.0, nan], [0, 0, 2, nan], [0, 0, 1, 1]),
        ("sqrt", [0.0, 4.0], [0, 2], [inf, 0.25]),
        ("abs", [0.0, -2.0], [0, 2], [0, -1]),
        ("norm", [0.0, 0.0], 0, [0, 0]),
        ("prod", [0.0, 3.0, 2.0], 0, [6, 0, 0]),
        ("prod", [0.0, 0.0, 2.0], 0, [0, 0, 0]),
        ("max", [1.0, 1.0], 1, [0.5, 0.5]),
        ("max", [1.0, nan], nan, [0, 1]),
        ("max dim", [1.0, 1.0], 1, [1, 0]),
        ("clamp", [-1.0, 0.0, 1.0, 2.0], [-1, 0, 1, 1], [1, 1, 1, 0]),
        ("where", [-1.0, 4.0, nan], [0, 4, 0], [0, 1, 0]),
        ("clamp", [nan, -inf, inf], [nan, -1, 1], [0, 0, 0]),
        ("softmax", [-inf, 1.0], [0, 1], [0, 0]),
        ("log_softmax", [1000.0, 0.0], [0, -1000], [-1, 1]),
        ("sigmoid", [-1e4, 1e4], [0, 1], [0, 0]),
        ("bce", [-1e4, 1e4], 5000, [-0.5, 0]),
    ):
        out, grad = gradients(gc, UNARY[name], device, data)
        np.testing.assert_allclose(out.cpu().numpy(), value, err_msg=name)
        np.testing.assert_allclose(grad.cpu().numpy(), gradient, err_msg=name)


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min"])
def test_positions(name: str, device: str, oracle: Any) -> None:
    for data in LISTS:
        agree(lambda m, d: getattr(m.tensor(data, device=d), name)(0), oracle, device)
        agree(lambda m, d: getattr(m.tensor(data, device=d), name)(), oracle, device)
        agree(lambda m, d: getattr(m.tensor([data, data], device=d).to(m.float16), name)(1), oracle, device)
    assert gc.tensor([1.0, nan, 3.0, nan], device=device).argmax().item() == 1
    assert gc.tensor([2, 5, 5], device=device).argmax().item() == 1


def test_sums_of_many(device: str) -> None:
    """Rounding errors do not pile up, and one NaN or infinity is not lost."""
    x = gc.full((1000, 100), 0.1, device=device)
    assert abs(x.sum().item() - 10000) < 0.05 and abs(x.mean().item() - 0.1) < 1e-6
    assert gc.full((3000,), 1.0, dtype=gc.float16, device=device).sum().item() == 3000
    assert gc.full((3000,), 1.0, dtype=gc.bfloat16, device=device).sum().item() in (2992, 3008)
    x[500, 50] = nan
    assert math.isnan(x.sum().item()) and math.isnan(x.max().item()) and math.isnan(x.norm().item())


def test_integers_at_their_limits(device: str, oracle: Any) -> None:
    for name in ("uint8", "int8", "int32", "int64"):
        limits = gc.iinfo(getattr(gc, name))
        data = [limits.min, limits.max, 0]
        for function in (
            lambda x: x.max(), lambda x: x.min(), lambda x: x.abs(), lambda x: x.sum(), lambda x: x.prod(),
            lambda x: x.argmin(), lambda x: -x, lambda x: x.relu(), lambda x: x.clamp(0, 100), lambda x: x // -1,
            lambda x: x.sign(), lambda x: x * x,
        ):  # fmt: skip
            agree(lambda m, d: function(m.tensor(data, dtype=getattr(m, name), device=d)), oracle, device)


floats = st.sampled_from([0.0, 1.0, -1.0, inf, -inf, nan]) | st.floats(-100, 100, width=32)


NAMED = ["sum", "max", "min", "softmax", "log_softmax", "prod", "relu", "clamp", "max dim", "norm inf"]


@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.lists(floats, min_size=1, max_size=6), name=st.sampled_from(NAMED))
def test_any_values(data: list[float], name: str, device: str, oracle: Any) -> None:
    assume(not any(map(DIFFERENT.get(name, lambda v: False), data)))
    agree(lambda m, d: gradients(m, UNARY[name], d, data, dtype="float32"), oracle, device)
