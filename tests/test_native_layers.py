"""Native kernels of convolutions and pooling against NumPy, for every dtype and on several threads."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends import Sliding, Windows
from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cpu.native.backend import NativeBackend
from gradcore.backends.cpu.native.calls import kernels
from gradcore.backends.cpu.threads import get_num_threads, set_num_threads

DTYPES = ["float16", "bfloat16", "float32", "float64"]
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-14}

CONVOLUTIONS = (
    (Sliding((3,), (1,), (1,), (1,)), (33,), (33,)),
    (Sliding((1, 1), (1, 1), (0, 0), (1, 1)), (7, 5), (7, 5)),
    (Sliding((1, 1), (2, 3), (0, 0), (1, 1)), (7, 5), (4, 2)),
    (Sliding((4, 3), (1, 2), (2, 1), (1, 2)), (6, 9), (7, 4)),
    (Sliding((2, 3), (3, 1), (0, 2), (2, 1)), (9, 5), (3, 7)),
    (Sliding((2, 2, 2), (2, 1, 1), (1, 0, 1), (1, 1, 2)), (4, 5, 3), (3, 4, 3)),
    (Sliding((5, 5), (1, 1), (4, 4), (3, 3)), (5, 5), (1, 1)),  # most of the kernel meets nothing
    (Sliding((1, 2), (10, 7), (2, 3), (1, 1)), (1, 4), (1, 2)),  # the input is stepped over
)

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
@pytest.mark.parametrize("images, groups, channels, out", [(1, 1, 3, 9), (7, 3, 2, 5), (33, 4, 1, 1), (2, 2, 70, 18)])
def test_convolutions(dtype: str, images: int, groups: int, channels: int, out: int) -> None:
    numpy, ours = CpuBackend(), NativeBackend()
    for sliding, size, places in CONVOLUTIONS:
        x, weight = (
            array((images, groups * channels, *size), dtype),
            array((groups * out, channels, *sliding.kernel), dtype),
        )
        grad = array((images, groups * out, *places), dtype)
        near(ours, numpy, "convolution", x, weight, array((groups * out,), dtype), sliding, places, groups)
        near(ours, numpy, "convolution", x, weight, None, sliding, places, groups)
        near(ours, numpy, "convolution_input", grad, weight, None, sliding, size, groups)
        near(ours, numpy, "convolution_input", grad, weight, array((groups * channels,), dtype), sliding, size, groups)
        near(ours, numpy, "convolution_weight", grad, x, sliding, groups)


def near(ours: CpuBackend, numpy: CpuBackend, name: str, *arguments: Any) -> None:
    """Equal but for the rounding of sums, relative to the largest."""
    found, expected = getattr(ours, name)(*arguments), getattr(numpy, name)(*arguments)
    assert found.dtype == expected.dtype
    limit = 20 * TOLERANCE[found.dtype.name] * np.abs(expected.astype(float)).max()
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=0, atol=limit)


@pytest.mark.parametrize("images", [1, 5])
def test_threads_have_no_part_in_convolutions(images: int) -> None:
    sliding, ours, before = Sliding((3, 3), (1, 1), (1, 1), (1, 1)), NativeBackend(), get_num_threads()
    x, grad = array((images, 32, 20, 20), "float32"), array((images, 40, 20, 20), "float32")
    for groups in (1, 4):
        weight = array((40, 32 // groups, 3, 3), "float32")
        results = []
        for threads in (1, 2, 5):
            set_num_threads(threads)
            try:
                results.append(
                    (
                        ours.convolution(x, weight, None, sliding, (20, 20), groups),
                        ours.convolution_input(grad, weight, None, sliding, (20, 20), groups),
                        ours.convolution_weight(grad, x, sliding, groups),
                    )
                )
            finally:
                set_num_threads(before)
        for others in results[1:]:
            for one, other in zip(results[0], others):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("out", [1, 8])
def test_infinity_stays_in_the_windows_that_have_it(out: int) -> None:
    sliding, ours = Sliding((3, 3), (1, 1), (1, 1), (1, 1)), NativeBackend()
    x, weight = np.ones((3, 1, 6, 6), np.float32), np.ones((out, 1, 3, 3), np.float32)
    x[1, 0, 0, 5] = np.inf
    found = np.isfinite(ours.convolution(x, weight, None, sliding, (6, 6), 1))
    expected = np.ones((3, out, 6, 6), bool)
    expected[1, :, :2, 4:] = False
    np.testing.assert_array_equal(found, expected)
    # No place of the output meets the upper right corner with the kernel's last row or first column.
    grad = np.isfinite(ours.convolution_weight(np.ones((3, out, 6, 6), np.float32), x, sliding, 1))
    expected = np.zeros((out, 1, 3, 3), bool)
    expected[:, :, 2] = expected[..., 0] = True
    np.testing.assert_array_equal(grad, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planes", [1, 3000])
def test_windows(dtype: str, planes: int) -> None:
    numpy, ours = CpuBackend(), NativeBackend()
    for windows in (
        (Windows(7, (0, 1, 3), (2, 4, 7), (3, 3, 4)),),
        (Windows(5, (0, 1, 2), (3, 4, 5), (3, 3, 3)), Windows(6, (0, 2, 4), (2, 4, 6), (2, 2, 2))),
        (Windows(9, (0, 4), (5, 9), (5, 5)), Windows(11, (0,), (11,), (11,))),  # whole lines
        (Windows(2, (0,), (2,), (2,)), Windows(7, (0,), (7,), (7,)), Windows(6, (0,), (6,), (6,))),
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 16), (5, 7, 100), (64, 32, 64), (2, 3, 20_000), (9, 4, 1)])
def test_channels(dtype: str, shape: tuple[int, int, int]) -> None:
    numpy, ours = CpuBackend(), NativeBackend()
    x, grad = array(shape, dtype) + array(shape, dtype).dtype.type(3), array(shape, dtype)[::-1].copy()
    moments = numpy.channel_moments(x, 0.1)
    for found, expected in zip(ours.channel_moments(x, 0.1), moments):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=2e-6 if found.dtype == np.float32 else 1e-13)
    scale = np.abs(grad.astype(float)).sum((0, 2)).max()
    outer, channels, inner = shape
    for each in (1, channels):
        parts = [a.reshape(outer, channels // each, each, inner) for a in (grad, x)]
        statistics = [a[: channels // each] for a in (moments[0], moments[2])]
        _same_sums(numpy, ours, scale, *parts, *statistics)


def _same_sums(numpy: CpuBackend, ours: CpuBackend, scale: float, *arguments: np.ndarray) -> None:
    for found, expected in zip(ours.channel_sums(*arguments), numpy.channel_sums(*arguments), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=scale * (2e-6 if found.dtype == np.float32 else 1e-13))
