"""The kernels of recurrent cells against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from gradcore.backends.cpu.recurrence import Recurrence
from gradcore.ops.recurrent import cell_of

CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]


def _run(cuda, cpu, same, random_array, name, rows, size, dtype):
    cell = cell_of(name)
    for step in (cell.forward, cell.backward):
        given = [random_array((rows, n * size), dtype) for n in step.reads]
        # As gates and states are: of larger numbers differences would be left of what cancels.
        inputs = [np.tanh(a.astype(np.float64)).astype(a.dtype) for a in given]
        outs = [np.empty((rows, n * size), inputs[0].dtype) for n in step.writes]
        found = [cuda.from_host(a) for a in outs]
        Recurrence.cell(cpu, step, inputs, outs, size)
        cuda.cell(step, [cuda.from_host(a) for a in inputs], found, size)
        for a, b in zip(found, outs):
            same(a, b, 4)


@pytest.mark.parametrize("size", [1, 3, 31, 33, 128, 1000, 1025])
@pytest.mark.parametrize("name", CELLS)
def test_sizes(cuda, cpu, same, random_array, name, size):
    _run(cuda, cpu, same, random_array, name, 2, size, "float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", CELLS)
def test_dtypes(cuda, cpu, same, random_array, name, dtype):
    for rows in (0, 1, 5):
        _run(cuda, cpu, same, random_array, name, rows, 37, dtype)


@pytest.mark.parametrize("name", CELLS)
def test_checked(checked, cuda, cpu, same, random_array, name):
    _run(cuda, cpu, same, random_array, name, 3, 131, "float32")


def test_what_is_written_may_be_read(checked, cuda, random_array):
    """As the loop over time does with what it hands down."""
    step, size = cell_of("lstm").backward, 40
    inputs = [cuda.from_host(random_array((2, n * size), "float32")) for n in step.reads]
    apart = [cuda.empty((2, n * size), np.dtype(np.float32)) for n in step.writes]
    cuda.cell(step, inputs, apart, size)
    cuda.cell(step, inputs, [apart[0], inputs[2]], size)
    np.testing.assert_array_equal(cuda.to_host(inputs[2]), cuda.to_host(apart[1]))
