"""Random numbers on CUDA: the generator's known answers, ranges, moments and reproducibility."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import philox
import pytest

from gradcore import expr
from gradcore.expr import trace

F32 = np.dtype(np.float32)
SHAPE = (100, 100)


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def test_philox_known_answers(cuda):
    # Random123's kat_vectors: philox4x32, 10 rounds.
    for seed, offset, words in [
        (0, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        # counter (0, 0, 0x13198a2e, 0x03707344), key (0xa4093822, 0x299f31d0) has no published answer: see below.
    ]:
        found = cuda.to_host(cuda.uniform((4,), F32, seed, offset))
        np.testing.assert_array_equal(found, np.array([w >> 8 for w in words], np.float32) * np.float32(2**-24))


def test_philox_against_its_definition(cuda):
    seed, offset = 0x299F31D0A4093822, 0x0370734413198A2E
    found = cuda.to_host(cuda.uniform((3, 6), F32, seed, offset)).ravel()
    np.testing.assert_array_equal(found, philox.uniform(seed, offset, 0, 18))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform(cuda, dtype):
    found = cuda.to_host(cuda.uniform(SHAPE, dtype_of(dtype), 7, 3)).astype(np.float64)
    assert found.min() >= 0 and found.max() < 1
    # The mean of n uniform numbers has a standard deviation of 1 / sqrt(12 n); half precision rounds down by 2**-9.
    assert abs(found.mean() - 0.5) < 5 / np.sqrt(12 * found.size) + 2**-9
    assert abs(found.var() - 1 / 12) < 0.005


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_normal(cuda, dtype):
    found = cuda.to_host(cuda.normal(SHAPE, dtype_of(dtype), 7, 3)).astype(np.float64)
    assert abs(found.mean()) < 5 / np.sqrt(found.size)
    assert abs(found.std() - 1) < 0.05
    assert np.isfinite(found).all() and 3 < abs(found).max() < 6


@pytest.mark.parametrize("low, high", [(-3, 4), (0, 2), (0, 2**40), (5, 6)])
def test_integers(cuda, low, high):
    found = cuda.to_host(cuda.integers(low, high, (5000,), np.dtype(np.int64), -1, 3))
    assert found.dtype == np.int64 and found.min() >= low and found.max() < high
    counts = np.histogram(found, bins=min(8, high - low), range=(low, high))[0]
    expected = found.size / counts.size
    assert abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_integers_too_wide(cuda):
    with pytest.raises(ValueError, match="wider than"):
        cuda.integers(0, 2**60, (3,), np.dtype(np.int64), 0, 0)


def test_the_same_seed_and_offset_give_the_same_numbers(cuda):
    first = cuda.to_host(cuda.uniform((1001,), F32, 1, 2))
    np.testing.assert_array_equal(cuda.to_host(cuda.uniform((1001,), F32, 1, 2)), first)
    assert (cuda.to_host(cuda.uniform((1001,), F32, 1, 3)) != first).any()
    assert (cuda.to_host(cuda.uniform((1001,), F32, 2, 2)) != first).any()


def test_numbers_go_by_the_element_not_by_the_kernel(cuda):
    """Dropout's mask is drawn again in the backward pass, by another kernel and on other layouts."""
    program = trace(lambda seed, offset, x: expr.uniform(seed, offset) + 0 * x)
    plain = cuda.to_host(cuda.uniform((12, 20), F32, 5, 6))
    for x in (
        cuda.from_host(np.zeros((12, 20), np.float32)),
        cuda.from_host(np.zeros((20, 12), np.float32)).T,
        cuda.from_host(np.zeros(20, np.float32)),
        cuda.from_host(np.zeros((12, 21), np.float32))[:, 1:],
    ):
        (found,) = cuda.elementwise(program, [5, 6, x], F32, [F32], (12, 20))
        np.testing.assert_array_equal(cuda.to_host(found), plain)


def test_permutation(cuda, cpu):
    found = cuda.to_host(cuda.permutation(50, np.dtype(np.int64), 3, 4))
    assert sorted(found.tolist()) == list(range(50))
    np.testing.assert_array_equal(found, cpu.permutation(50, np.dtype(np.int64), 3, 4))
