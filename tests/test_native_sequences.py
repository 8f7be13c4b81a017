"""Cumulative sums, the CTC loss and the first elements of rows by native kernels against NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cpu.native import sequences
from gradcore.backends.cpu.native.backend import NativeBackend
from gradcore.backends.cpu.threads import get_num_threads, set_num_threads
from gradcore.backends.ctc import CtcInputs

DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]
SUMMED = [
    ((7,), 0),
    ((9, 33), 1),
    ((3, 50, 1), 1),
    ((3, 20, 70), 1),
    ((500, 3), 0),
    ((70_000,), 0),
    ((40, 1500), 1),
    ((4, 100, 200), 1),
    ((3, 0), 1),
]
numpy, ours = CpuBackend(), NativeBackend()

pytestmark = pytest.mark.skipif(sequences._scan(DTYPES[0]) is None, reason="no compiler for native kernels")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("shape", "axis"), SUMMED)
def test_cumsum(dtype: np.dtype, reverse: bool, shape: tuple[int, ...], axis: int) -> None:
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)  # whose sums are exact
    x[..., ::7] = 0.5
    order = (slice(None),) * axis + (slice(None, None, -1 if reverse else 1),)
    expected = x.astype(np.float64)[order].cumsum(axis)[order]
    for backend in (numpy, ours):
        found = backend.cumsum(x, axis, dtype, reverse)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected.astype(dtype))
        if axis:  # of operands that lie otherwise
            turned = backend.cumsum(np.asfortranarray(x), axis, dtype, reverse)
            np.testing.assert_array_equal(turned, expected.astype(dtype))


def test_long_sums_are_made_in_double() -> None:
    x = np.full((3, 1_000_000), 0.1, np.float32)
    found = ours.cumsum(x, 1, x.dtype, False)
    np.testing.assert_allclose(found[0, -1], 1_000_000 * float(x[0, 0]), rtol=1e-7)


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("longest", [0, 1, 2, 15, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ctc(dtype: str, longest: int, zero_infinity: bool) -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((50, 9, 7))
    scores[3, 2, 4] = -np.inf
    y = (scores - np.log(np.exp(scores).sum(2, keepdims=True))).astype(dtype)
    labels = rng.integers(1, 7, (9, longest))
    labels[0] = 3  # the same again and again
    given = CtcInputs(y, labels, rng.integers(0, 51, 9), rng.integers(0, longest + 1, 9), 0)
    given.input_lengths[-1], given.label_lengths[-1] = 50, longest
    losses, alpha = numpy.ctc_loss(given)
    grad = np.arange(1, 10).astype(dtype)
    expected = numpy.ctc_loss_backward(grad, given, losses, alpha, zero_infinity)
    limit = 1e-4 if dtype == "float32" else 1e-12
    before = get_num_threads()
    for threads in (1, 3):
        set_num_threads(threads)
        try:
            found, ours_alpha = ours.ctc_loss(given)
            dx = ours.ctc_loss_backward(grad, given, found, ours_alpha, zero_infinity)
        finally:
            set_num_threads(before)
        np.testing.assert_allclose(found, losses, rtol=limit)
        np.testing.assert_allclose(dx, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(("rows", "n", "k"), [(1, 1, 1), (3, 17, 17), (5, 65, 3), (4, 1000, 64), (60, 1025, 10)])
def test_topk(dtype: np.dtype, largest: bool, rows: int, n: int, k: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-50, 50, (rows, n)).astype(dtype)  # with equal elements, of which the first come first
    x[0, ::5] = np.nan
    x[-1, : n // 2] = np.inf
    x[-1, n // 2] = -np.inf
    keys = x.astype(np.float64)
    expected = np.argsort(np.where(np.isnan(keys), -np.inf, -keys) if largest else keys, axis=1, kind="stable")
    if largest:  # NaN comes before infinity
        order = [
            sorted(range(n), key=lambda i: (not np.isnan(row[i]), -row[i] if row[i] == row[i] else 0)) for row in keys
        ]
        expected = np.array(order)
    values, places = ours.topk(x, k, 1, largest)
    np.testing.assert_array_equal(places, expected[:, :k])
    np.testing.assert_array_equal(values.astype(float), np.take_along_axis(x, places, 1).astype(float))
