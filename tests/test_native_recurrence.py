"""Recurrent layers as native kernels against NumPy, on the backends themselves."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cpu.native import library
from gradcore.backends.cpu.native.backend import NativeBackend
from gradcore.backends.cpu.native.recurrence import _kernels
from gradcore.backends.cpu.threads import get_num_threads, set_num_threads
from gradcore.backends.recurrence import Direction, Weights, layer, layer_backward
from gradcore.ops.recurrent import cell_of

pytestmark = pytest.mark.skipif(library.problem() is not None, reason=f"no native kernels: {library.problem()}")

# Steps, features and units: no multiple of a vector, and more than the panels of the product.
STEPS, FEATURES, SIZE = 9, 3, 69
DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]

native, plain = NativeBackend(), CpuBackend()


def passes(backend: Any, name: str, dtype: np.dtype, rows: int, projected: bool, reverse: bool) -> list[np.ndarray]:
    """What a layer makes of random arrays, and all gradients."""
    rng = np.random.default_rng(0)
    cell = cell_of(name)
    width, gates = 5 if projected else SIZE, cell.gates * SIZE

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(dtype)

    x, h, c = random(STEPS, rows, FEATURES), random(rows, width), random(rows, SIZE) if cell.with_cell else None
    biases = () if projected else (random(gates), random(gates))
    weights = Weights(random(gates, FEATURES), random(gates, width), *(biases or (None, None)), None)
    if projected:
        weights = weights._replace(projection=random(width, SIZE))
    direction = Direction(cell, h, c, weights, reverse)
    made = layer(backend, direction, x)
    grads = random(*made.out.shape), random(rows, width), random(rows, SIZE) if cell.with_cell else None
    needs = (True,) * 5 + (not projected,) * 2 + (projected,)
    return [*made, *layer_backward(backend, direction, grads, x, made, needs)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 15, 24])
@pytest.mark.parametrize("name", ["lstm", "lstm, projected", "gru", "rnn_tanh", "rnn_relu"])
def test_all_steps(name: str, rows: int, dtype: np.dtype) -> None:
    name, _, projected = name.partition(", ")
    assert _kernels(cell_of(name), dtype) is not None
    reverse = rows == 15
    found = passes(native, name, dtype, rows, bool(projected), reverse)
    eps = float(ml_dtypes.finfo(dtype).eps)
    for a, b in zip(found, passes(plain, name, dtype, rows, bool(projected), reverse), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            a, b = a.astype(float), b.astype(float)
            assert a.shape == b.shape and np.allclose(a, b, 16 * eps, 16 * eps)


def test_threads_have_no_part_in_it() -> None:
    before = get_num_threads()
    try:
        set_num_threads(1)
        one = passes(native, "lstm", DTYPES[0], 43, False, False)
        set_num_threads(3)
        several = passes(native, "lstm", DTYPES[0], 43, False, False)
    finally:
        set_num_threads(before)
    for a, b in zip(one[:6], several[:6], strict=True):  # the gradients of the weights are products of BLAS
        assert np.array_equal(a, b)
