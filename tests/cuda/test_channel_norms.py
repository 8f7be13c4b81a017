"""Batch, group and instance norm on CUDA: how often they read their input, and how exact they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.backends.cuda import driver

SHAPE = (4, 600, 6, 6)
NORMS: dict[str, Callable[..., Any]] = {
    "batch": lambda x, w, b: gc.nn.functional.batch_norm(x, None, None, w, b, training=True),
    "group": lambda x, w, b: gc.nn.functional.group_norm(x, 300, w, b),
    "instance": lambda x, w, b: gc.nn.functional.instance_norm(x, weight=w, bias=b),
}


@pytest.fixture
def launches(cuda, monkeypatch) -> list[tuple[Any, ...]]:
    """The arguments of the launches made from now on."""
    if not driver.emulated():
        pytest.skip("launches are counted on the emulated device")
    from gradcore.backends.emulator.module import Kernel

    found: list[tuple[Any, ...]] = []
    launch = Kernel.__call__

    def record(self: Any, grid: Any, block: Any, args: tuple[Any, ...], **options: Any) -> None:
        found.append(args)
        launch(self, grid, block, args, **options)

    monkeypatch.setattr(Kernel, "__call__", record)
    return found


# For each norm the launches of a backward pass that are not as large as the input: means of groups, sums over images.
@pytest.mark.parametrize(("norm", "small"), [("batch", 0), ("group", 2), ("instance", 1)])
def test_passes_over_memory(launches, norm, small):
    """Forward reads the input twice; backward reads it and the gradient twice. Everything else is small."""
    x = gc.randn(*SHAPE, device="cuda").requires_grad_()
    parameters = [gc.randn(SHAPE[1], device="cuda").requires_grad_() for _ in range(2)]
    grad = gc.randn(*SHAPE, device="cuda")
    NORMS[norm](x, *parameters).backward(grad)  # numbers that are copied to the device once
    x.grad = None

    def large(args: tuple[Any, ...]) -> int:
        return sum(getattr(a, "size", 0) == x.numel() for a in args)

    launches.clear()
    y = NORMS[norm](x, *parameters)
    # The input for the statistics; the input, and the result.
    assert [large(args) for args in launches] == [1, 2]
    launches.clear()
    gc.autograd.grad(y, [x, *parameters], grad)
    # The input and the gradient for their sums; both, and the gradient of the input.
    assert sorted(large(args) for args in launches) == [0] * small + [2, 3]


@pytest.mark.parametrize("shape", [(3, 2, 500), (700, 40, 1), (2, 300, 5)], ids=str)
def test_moments_far_from_zero(cuda, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 4096
    x[0, :, 0] = -1e4  # the first element is no help
    mean, variance, rstd = map(cuda.to_host, cuda.channel_moments(cuda.from_host(x), 0.5))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var((0, 2)), rtol=1e-4)
    np.testing.assert_allclose(rstd, (exact.var((0, 2)) + 0.5) ** -0.5, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4, 500), (70, 33, 1)], ids=str)
def test_dtypes_against_the_cpu(dtype, shape):
    kind = getattr(gc, dtype)
    x, grad = gc.randn(*shape, dtype=gc.float64), gc.randn(*shape, dtype=gc.float64)
    w, b = gc.randn(shape[1], dtype=gc.float64), gc.randn(shape[1], dtype=gc.float64)

    def run(device: str, kind: Any) -> list[Any]:
        given = [t.to(device, getattr(gc, dtype)).to(kind).requires_grad_() for t in (x, w, b)]
        y = NORMS["batch"](*given)
        y.backward(grad.to(device, getattr(gc, dtype)).to(kind))
        return [y.detach(), *(t.grad for t in given)]

    precision = gc.finfo(kind).eps
    for found, expected in zip(run("cuda", kind), run("cpu", gc.float64)):
        assert found.dtype is kind
        error = (found.cpu().double() - expected).abs().max() / expected.abs().max()
        assert error < 8 * precision, (float(error), precision)
