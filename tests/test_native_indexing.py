"""Sums at indexed places: the native kernels and NumPy's ways beside `np.add.at`, on several threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cpu.native import indexing
from gradcore.backends.cpu.native.backend import NativeBackend
from gradcore.backends.cpu.threads import get_num_threads, set_num_threads

DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64)]
BACKENDS = {"native": NativeBackend(), "numpy": CpuBackend()}
needs_kernels = pytest.mark.skipif(indexing._kernels(DTYPES[0]) is None, reason="no compiler for native kernels")
EVERY = slice(None)
SCATTERED = [
    ((6,), 0, 50),
    ((4, 5, 6), 1, 9),
    ((70_000,), 0, 50_000),
    ((300, 50), 0, 900),
    ((3, 60), 1, 20_000),
    ((100, 9), 1, 700),
]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> CpuBackend:
    return BACKENDS[request.param]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Integers, whose sums are exact in any order, and no more than 16-bit floats hold."""
    return rng.integers(-2, 3, shape).astype(dtype)


def keys(rng: np.random.Generator) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Shapes and keys: elements, long rows, another dimension, several, masks."""

    def indices(size: int, shape: tuple[int, ...]) -> np.ndarray:
        return rng.integers(-size, size, shape)

    yield (7,), (indices(7, (40,)),)
    yield (50_000,), indices(50_000, (60_000,))
    yield (9, 100), (indices(9, (50,)),)
    yield (9, 1000), (indices(9, (5, 10)),)
    yield (400, 33), (indices(400, (2000,)).astype(np.int32),)
    yield (5, 6, 7), (EVERY, indices(6, (11,)))
    yield (64, 30, 40), (EVERY, indices(30, (50,)))
    yield (5, 6, 7), (EVERY, EVERY, indices(7, (3, 4)))
    yield (5, 6, 7), (indices(5, (4,)), indices(6, (3, 1)))
    yield (5, 6, 7), (EVERY, indices(6, (12,)), indices(7, (12,)))
    yield (5, 6, 7), (indices(5, (9,)), EVERY, indices(7, (9,)))
    yield (5, 6), (rng.random((5, 6)) < 0.5,)
    yield (3, 0), (indices(3, (4,)),)
    yield (3, 4), (np.empty((0,), np.int64),)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_index_add(backend: CpuBackend, dtype: np.dtype) -> None:
    rng = np.random.default_rng(0)
    for shape, key in keys(rng):
        target = draw(rng, shape, dtype)
        values = draw(rng, target[key].shape, dtype)
        expected = target.astype(np.float64)
        np.add.at(expected, key, values.astype(np.float64))
        backend.index_add(target, key, values)
        np.testing.assert_array_equal(target.astype(np.float64), expected)
        backend.index_add(target, key, np.ones((), dtype))  # a value for all
        np.add.at(expected, key, 1.0)
        np.testing.assert_array_equal(target.astype(np.float64), expected)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("shape, axis, count", SCATTERED)
def test_scatter(backend: CpuBackend, dtype: np.dtype, shape: tuple[int, ...], axis: int, count: int) -> None:
    rng = np.random.default_rng(0)
    target = draw(rng, shape, dtype)
    index = rng.integers(0, shape[axis], shape[:axis] + (count,) + shape[axis + 1 :])
    values = draw(rng, index.shape, dtype)
    expected = target.astype(np.float64)
    np.add.at(expected, backend._along(target, index, axis), values.astype(np.float64))
    backend.scatter(target, index, values, axis, "sum")
    if dtype.name in ("float16", "bfloat16"):
        expected = expected.astype(dtype).astype(np.float64)
    np.testing.assert_array_equal(target.astype(np.float64), expected)


@needs_kernels
@pytest.mark.parametrize("shape, n", [((1000,), 100_000), ((100, 64), 3000), ((40, 7), 9000)])
def test_the_order_of_a_sum_is_that_of_the_index(shape: tuple[int, ...], n: int) -> None:
    rng, before = np.random.default_rng(0), get_num_threads()
    index = rng.integers(0, shape[0], n)
    values = rng.standard_normal((n, *shape[1:])).astype(np.float32)
    expected = np.zeros(shape, np.float32)
    np.add.at(expected, index, values)
    for count in (1, 2, 5):
        set_num_threads(count)
        found = np.zeros(shape, np.float32)
        try:
            BACKENDS["native"].index_add(found, (index,), values)
        finally:
            set_num_threads(before)
        np.testing.assert_array_equal(found, expected)


def test_an_index_out_of_range_is_an_error(backend: CpuBackend) -> None:
    for bad in (5, -6):
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 5"):
            backend.index_add(np.zeros(5), (np.array([0, bad]),), np.ones(2))
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 5"):
            backend.index_add(np.zeros((5, 3)), (np.array([0, bad]),), np.ones((2, 3)))
