"""The kernels of the CTC loss against the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from gradcore.backends.ctc import CtcInputs


def problem(rng, steps: int, batch: int, classes: int, longest: int, dtype: str) -> CtcInputs:
    scores = rng.standard_normal((steps, batch, classes))
    y = (scores - np.log(np.exp(scores).sum(2, keepdims=True))).astype(dtype)
    labels = rng.integers(1, classes, (batch, longest))
    lengths = rng.integers(0, steps + 1, batch), rng.integers(0, longest + 1, batch)
    lengths[0][-1], lengths[1][-1] = steps, longest
    return CtcInputs(y, labels, *lengths, 0)


def compare(cuda, cpu, same, given: CtcInputs, zero_infinity: bool) -> None:
    losses, alpha = cpu.ctc_loss(given)
    *arrays, blank = given
    there = CtcInputs(*map(cuda.from_host, arrays), blank)
    losses_there, alpha_there = cuda.ctc_loss(there)
    same(losses_there, losses, 10)
    grad = np.arange(1, len(losses) + 1).astype(losses.dtype)
    dx = cpu.ctc_loss_backward(grad, given, losses, alpha, zero_infinity)
    found = cuda.ctc_loss_backward(cuda.from_host(grad), there, losses_there, alpha_there, zero_infinity)
    same(found, dx, 100)


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("longest", [0, 1, 2, 15, 16, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_sequences(cuda, cpu, same, rng, dtype, longest, zero_infinity):
    compare(cuda, cpu, same, problem(rng, 30, 5, 7, longest, dtype), zero_infinity)


@pytest.mark.parametrize(("steps", "batch", "classes"), [(1, 1, 2), (3, 2, 700), (4, 0, 5), (0, 2, 5)])
def test_shapes(cuda, cpu, same, rng, steps, batch, classes):
    y, labels, inputs, outputs, blank = problem(rng, steps, max(batch, 1), classes, 3, "float64")
    given = CtcInputs(y[:, :batch], labels[:batch], inputs[:batch], outputs[:batch], blank)
    compare(cuda, cpu, same, given, True)


def test_more_places_than_threads(cuda, cpu, same, rng):
    compare(cuda, cpu, same, problem(rng, 150, 2, 5, 140, "float64"), True)


def test_every_access(cuda, cpu, same, rng, checked):
    compare(cuda, cpu, same, problem(rng, 6, 3, 4, 20, "float32"), False)
