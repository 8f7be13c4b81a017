"""Native kernels of convolutions and pooling against NumPy, for every dtype and on several threads."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends import Sliding, Windows
from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cpu.native.backend import NativeBackend
from gradcore.backends.cpu.native.calls import kernels

DTYPES = ["float16", "bfloat16", "float32", "float64"]
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-14}

pytestmark = pytest.mark.skipif(
    kernels("pooling.cpp", ("max_pool",), np.dtype(np.float32)) is None, reason="no compiler for native kernels"
)


def array(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    tolerance = TOLERANCE.get(found.dtype.name, 0)
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", [1, 3, 40])
def test_columns(dtype: str, images: int) -> None:
    numpy, ours = CpuBackend(), NativeBackend()
    for sliding, size, out in (
        (Sliding((3,), (1,), (1,), (1,)), (33,), (33,)),
        (Sliding((4, 3), (1, 2), (2, 1), (1, 2)), (6, 9), (7, 4)),
        (Sliding((2, 3), (3, 1), (0, 2), (2, 1)), (9, 5), (3, 7)),
        (Sliding((2, 2, 2), (2, 1, 1), (1, 0, 1), (1, 1, 2)), (4, 5, 3), (3, 4, 3)),
        (Sliding((5, 5), (1, 1), (4, 4), (3, 3)), (3, 4), (1, 1)),  # most of the kernel meets nothing
    ):
        x = array((images, 5, *size), dtype)
        columns = numpy.unfold(x, sliding, out)
        same(ours.unfold(x, sliding, out), columns)
        given = array(columns.shape, dtype)
        if dtype.startswith("float") and dtype != "float16":
            same(ours.fold(given, sliding, x.shape, out), numpy.fold(given, sliding, x.shape, out))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planes", [1, 3000])
def test_windows(dtype: str, planes: int) -> None:
    numpy, ours = CpuBackend(), NativeBackend()
    for windows in (
        (Windows(7, (0, 1, 3), (2, 4, 7), (3, 3, 4)),),
        (Windows(5, (0, 1, 2), (3, 4, 5), (3, 3, 3)), Windows(6, (0, 2, 4), (2, 4, 6), (2, 2, 2))),
        (Windows(8, (1, 2, 0, 1), (5, 6, 7, 8), (2, 2, 3, 3), 2), Windows(3, (0, 1), (2, 3), (2, 2))),
        (Windows(2, (0,), (2,), (2,)), Windows(3, (0, 0), (2, 3), (2, 3)), Windows(4, (0, 2), (2, 4), (2, 2))),
    ):
        x = array((planes, *(w.size for w in windows)), dtype)
        x[0].flat[1:3] = np.nan
        x[-1] = 0.5  # ties: the first
        grad = array((planes, *(len(w.starts) for w in windows)), dtype)
        same(ours.mean_pool(x, windows), numpy.mean_pool(x, windows))
        same(ours.mean_pool_backward(grad, windows), numpy.mean_pool_backward(grad, windows))
        values, places = numpy.max_pool(x, windows)
        found = ours.max_pool(x, windows)
        same(found[0], values)
        np.testing.assert_array_equal(found[1], places)
        same(ours.max_pool_backward(grad, places, windows), numpy.max_pool_backward(grad, places, windows))
