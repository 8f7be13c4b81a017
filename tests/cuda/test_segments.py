"""Values combined at indexed places: kernels/segments.cu against NumPy."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

import gradcore as gc
from gradcore.backends.cpp.types import FLOAT64
from gradcore.backends.cuda import indexing
from gradcore.cuda import allow_atomics

UFUNC = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def indices(kind: str, n: int, rows: int) -> np.ndarray:
    generator = np.random.default_rng(n)
    return {
        "spread": generator.integers(0, rows, n),
        "one": np.full(n, rows - 1),
        "two": np.where(np.arange(n) % 7 == 3, 0, rows // 2),
        "sorted": np.sort(generator.integers(0, rows, n)),
    }[kind]


@pytest.mark.parametrize("kind", ["spread", "one", "two", "sorted"])
@pytest.mark.parametrize("width", [1, 3, 4, 31, 32, 33, 1000, 1025])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 65, 300])
def test_rows_of_any_width_and_frequency(cuda, same, kind, width, n):
    index, values = indices(kind, n, 9), np.random.default_rng(1).integers(-4, 5, (n, width)).astype(np.float32)
    there, expected = cuda.from_host(np.ones((9, width), np.float32)), np.ones((9, width), np.float32)
    cuda.index_add(there, cuda.from_host(index), cuda.from_host(values))
    np.add.at(expected, index, values)
    same(there, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int64", "bool"])
def test_dtypes_and_vectors(cuda, same, dtype):
    values = np.random.default_rng(1).integers(0, 2, (200, 16)).astype(getattr(ml_dtypes, dtype, dtype))
    index = indices("two", 200, 5)
    there = cuda.from_host(np.zeros((5, 16), values.dtype))
    cuda.index_add(there, cuda.from_host(index), cuda.from_host(values))
    expected = np.zeros((5, 16), np.int64)
    np.add.at(expected, index, values.astype(np.int64))
    same(there, expected.astype(values.dtype))


@pytest.mark.parametrize("combine", ["sum", "prod", "max", "min", "last"])
@pytest.mark.parametrize(("shape", "axis"), [((40,), 0), ((3, 40, 5), 1), ((40, 7), 0), ((7, 40), 1)], ids=str)
def test_along_a_dimension(cuda, cpu, same, combine, shape, axis):
    generator = np.random.default_rng(3)
    size = tuple(6 if d == axis else n for d, n in enumerate(shape))
    target, values = generator.uniform(0.5, 1.5, size), generator.uniform(0.5, 1.5, shape)
    index = generator.integers(0, 6, shape)
    there = cuda.from_host(target)
    cuda.scatter(there, cuda.from_host(index), cuda.from_host(values), axis, combine)
    cpu.scatter(target, index, values, axis, combine)
    same(there, target, 10)


@pytest.mark.parametrize("combine", ["max", "min", "sum"])
def test_nan_goes_through(cuda, combine):
    there = cuda.from_host(np.zeros(3, np.float32))
    values = np.array([1, np.nan, 2, 3], np.float32)
    cuda.scatter(there, cuda.from_host(np.array([0, 0, 0, 1])), cuda.from_host(values), 0, combine)
    assert np.isnan(cuda.to_host(there)).tolist() == [True, False, False]


def test_unaligned_target(cuda, same):
    memory = cuda.from_host(np.zeros(1 + 4 * 8, np.float32))
    there = memory[1:].reshape(4, 8)
    cuda.index_add(there, cuda.from_host(np.array([3, 3])), cuda.from_host(np.ones((2, 8), np.float32)))
    expected = np.zeros(33, np.float32)
    expected[25:] = 2
    same(memory, expected)


def test_nothing_is_touched_that_no_index_names(cuda, same, checked):
    index = np.array([2**40, 1, -1, 4, 1, 2**33])
    there = cuda.from_host(np.zeros((4, 5), np.float32))
    cuda.scatter(there.reshape(-1), cuda.from_host(index * 5), cuda.from_host(np.ones(6, np.float32)), 0, "last")
    expected = np.zeros((4, 5), np.float32)
    expected[1, 0] = 1
    same(there, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
@pytest.mark.parametrize("width", [1, 4, 33, 1000])
@pytest.mark.parametrize("kind", ["spread", "one"])
def test_atomic_additions(cuda, same, kind, width, dtype):
    """Where they are allowed; dtypes that have none are sorted."""
    index, values = indices(kind, 100, 9), np.random.default_rng(1).standard_normal((100, width)).astype(dtype)
    values = (values * 10).round() if dtype == "float16" else values
    expected = np.ones((9, width), values.dtype)
    there = cuda.from_host(expected)
    with allow_atomics():
        cuda.index_add(there, cuda.from_host(index), cuda.from_host(values))
    np.add.at(expected, index, values)
    same(there, expected, 10)


def test_atomic_additions_in_bounds(cuda, same, checked):
    there = cuda.from_host(np.zeros((4, 5), np.float32))
    with allow_atomics():
        index = cuda.from_host(np.array([2**40, 1, 4, 1, 2**33]))
        cuda.scatter(there.reshape(-1), index, cuda.from_host(np.ones(5, np.float32)), 0, "sum")
    expected = np.zeros(20, np.float32)
    expected[[1, 4]] = 2, 1
    same(there.reshape(-1), expected)


def test_when_atomics_are_used(cuda):
    """Never, unless allowed and not forbidden."""

    def atomic() -> bool:
        segments = indexing.Segments(cuda.xp, cuda.compiler, cuda._elementwise)
        segments.add(cuda.from_host(np.ones(3)), cuda.from_host(np.array([1])), cuda.from_host(np.ones(1)))
        return FLOAT64 in segments._kernels

    assert not atomic() and not gc.are_deterministic_algorithms_enabled()
    with gc.cuda.allow_atomics():
        assert atomic()
        with gc.cuda.allow_atomics(False):
            assert not atomic()
        try:
            gc.use_deterministic_algorithms(True, warn_only=True)
            assert gc.are_deterministic_algorithms_enabled()
            assert not atomic()
        finally:
            gc.use_deterministic_algorithms(False)
        assert atomic()
    assert not atomic()


def test_chunks_keep_both_levels_short():
    for n in (1, 100, 10**4, 10**6, 10**8, 2**33):
        chunk = indexing.chunk_length(n)
        assert chunk >= 32 and chunk <= max(32, math.sqrt(n)) and n / chunk <= max(1024, 8 * math.sqrt(n))
