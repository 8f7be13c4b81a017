"""Softmax and cross-entropy kernels against the CPU."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

SHAPES = [(3, 10), (5, 64), (7, 33), (300, 4), (9, 1), (2, 1000), (3, 1024), (2, 5000), (1, 40000), (0, 4), (4, 0)]


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_softmax(cuda, cpu, same, dtype, shape, log, random_array):
    x, g, d = random_array(shape, dtype), random_array(shape, dtype), dtype_of(dtype)
    y = cpu.softmax(x, log, d)
    dx = cpu.softmax_backward(g, y, log, d)
    # Held in registers, and in two passes.
    for longest in (None, 0):
        same(cuda._rows.softmax(cuda.from_host(x), log, d, longest), y)
        same(cuda._rows.softmax_backward(cuda.from_host(g), cuda.from_host(y), log, d, longest), dx, 10)


@pytest.mark.parametrize("longest", [None, 0])
@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log_softmax"])
def test_softmax_of_infinities(cuda, cpu, same, log, longest):
    x = np.zeros((5, 12), np.float32)
    x[0, :11] = -np.inf
    x[1] = -np.inf
    x[2, 3] = np.nan
    x[3, 4] = np.inf
    x[4] = np.arange(12) * 100
    with np.errstate(all="ignore"):
        expected = cpu.softmax(x, log, x.dtype)
    same(cuda._rows.softmax(cuda.from_host(x), log, x.dtype, longest), expected)


def test_softmax_into_another_dtype(cuda, same, cpu, random_array):
    x = random_array((4, 24), "float16")
    same(cuda.softmax(cuda.from_host(x), False, dtype_of("float32")), cpu.softmax(x, False, dtype_of("float32")), 10)


def test_unaligned_rows(cuda, same, cpu, random_array):
    x = random_array((66,))
    view = cuda.from_host(x)[2:].reshape(2, 32)
    same(cuda.softmax(view, False, x.dtype), cpu.softmax(x[2:].reshape(2, 32), False, x.dtype))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("shape", [(6, 10), (5, 64), (300, 4), (3, 1), (2, 5000)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_cross_entropy(cuda, cpu, same, dtype, shape, weighted, smoothing, random_array, rng):
    x, g = random_array(shape, dtype), random_array(shape[:1], dtype)
    target = rng.integers(0, shape[1], shape[0])
    target[-1] = -100
    weight = abs(random_array(shape[1:], dtype)) if weighted else None
    there = [cuda.from_host(a) if a is not None else None for a in (x, target, weight)]
    expected = cpu.cross_entropy(x, target, weight, -100, smoothing)
    found = cuda.cross_entropy(*there, -100, smoothing)
    for f, e in zip(found, expected):
        same(f, e, 10)
    dx = cpu.cross_entropy_backward(g, x, target, weight, expected[1], -100, smoothing)
    same(cuda.cross_entropy_backward(cuda.from_host(g), *there, found[1], -100, smoothing), dx, 10)


def test_ignored_rows_may_hold_infinities(cuda):
    x = np.full((2, 8), -np.inf, np.float32)
    x[1] = 0
    there = cuda.from_host(x), cuda.from_host(np.array([-100, 3]))
    loss, lse, weight = cuda.cross_entropy(*there, None, -100, 0.0)
    assert cuda.to_host(loss)[0] == 0 and cuda.to_host(weight).tolist() == [0, 1]
    grad = cuda.cross_entropy_backward(cuda.from_host(np.ones(2, np.float32)), *there, None, lse, -100, 0.0)
    assert not cuda.to_host(grad)[0].any()


@pytest.mark.parametrize("shape", [(3, 10), (5, 64), (2, 3000)], ids=str)
def test_every_access_is_in_bounds(cuda, cpu, same, checked, shape, random_array, rng):
    x = random_array(shape)
    target = rng.integers(0, shape[1], shape[0])
    for longest in (None, 0):
        y = cuda._rows.softmax(cuda.from_host(x), False, x.dtype, longest)
        same(y, cpu.softmax(x, False, x.dtype))
        cuda._rows.softmax_backward(y, y, False, x.dtype, longest)
    there = cuda.from_host(x), cuda.from_host(target), cuda.from_host(abs(x[0]))
    loss, lse, _ = cuda.cross_entropy(*there, -100, 0.1)
    same(loss, cpu.cross_entropy(x, target, abs(x[0]), -100, 0.1)[0], 10)
    cuda.cross_entropy_backward(loss, *there, lse, -100, 0.1)
