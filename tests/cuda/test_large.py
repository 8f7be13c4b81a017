"""Arrays of more than 2**31 elements: every kernel finds its way in them.

Only the first and the last block of each launch run, and an array of this size takes up memory where it is touched
alone. The last elements are then compared with the CPU's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import philox
import pytest
from updates import run

from gradcore.backends import Sliding, Windows
from gradcore.backends.attention import AttentionInputs
from gradcore.backends.base import IDENTITY, BadIndex, Reduction
from gradcore.backends.ctc import CtcInputs
from gradcore.backends.cuda import CudaBackend, driver
from gradcore.expr import trace

F32 = np.dtype(np.float32)
ROWS, COLUMNS = 2**21 + 1, 1024
BEYOND = 2**31 + 5
ADD = trace(lambda x, y: x + y)
SUM = Reduction(IDENTITY, "sum")
# Found and expected; what is found may be a few roundings off.
Pairs = Iterator[tuple[Any, np.ndarray]]


class Large:
    """Makes arrays that are zero but for their last elements."""

    def __init__(self, cuda: CudaBackend, cpu: Any):
        self.cuda, self.cpu = cuda, cpu
        self._rng = np.random.default_rng(0)

    def ending(self, shape: tuple[int, ...], last: np.ndarray) -> Any:
        """An array that is zero, but ends, in each of its dimensions, with these."""
        nbytes = math.prod(shape) * last.dtype.itemsize
        x = (self.cuda.xp.empty if nbytes > 1 << 30 else self.cuda.xp.zeros)(shape, last.dtype)
        x[tuple([slice(-n, None) for n in last.shape])] = self.cuda.from_host(last)
        return x

    def array(self, shape: tuple[int, ...], end: tuple[int, ...] | None = None) -> tuple[Any, np.ndarray]:
        """An array, and its end, of a given shape; or its last line."""
        last = self._rng.standard_normal(end or (1, *shape[1:])).astype(F32)
        return self.ending(shape, last), last


def elementwise(large: Large) -> Pairs:
    x, last = large.array((BEYOND,), (3,))
    yield large.cuda.elementwise(ADD, (x, 1.0), F32, [F32], x.shape)[0][-3:], last + 1
    x, last = large.array((2**11 + 1, 2**20))
    row = np.arange(2**20, dtype=F32)
    found = large.cuda.elementwise(ADD, (x, large.cuda.from_host(row)), F32, [F32], x.shape)[0]
    yield found[-1, -9:], (last + row)[0, -9:]
    column = large.ending((2**20, 1), np.full((1, 1), 7, F32))
    found = large.cuda.elementwise(ADD, (x.T, column), F32, [F32], x.T.shape)[0]
    yield found[-1:, -1:].reshape(1), last[0, -1:] + 7


def random(large: Large) -> Pairs:
    found = large.cuda.uniform((2**34 + 8,), F32, 5, 6)
    yield found[-6:], philox.uniform(5, 6, 2**34 + 2, 6)


def reduce(large: Large) -> Pairs:
    for shape in ((2**11 + 1, 2**20), (2**30, 3)):
        x, last = large.array(shape)
        yield large.cuda.reduce(SUM, (x,), F32, F32, shape, (1,), False)[-1:], last.sum(1)
        for found, expected in zip(large.cuda.arg_reduce(x, 1, "max"), (last.max(1), last.argmax(1))):
            yield found[-1:], expected
    x, last = large.array((3, 2**30), (2, 9))
    yield large.cuda.reduce(SUM, (x,), F32, F32, x.shape, (0,), False)[-9:], last.sum(0)


def rows(large: Large) -> Pairs:
    x, last = large.array((ROWS, COLUMNS))
    g, grad = large.array((ROWS, COLUMNS))
    for longest in (None, 0):
        y = large.cuda._rows.softmax(x, False, F32, longest)
        result = large.cpu.softmax(last, False, F32)
        yield y[-1:], result
        dx = large.cuda._rows.softmax_backward(g, y, False, F32, longest)
        yield dx[-1:], large.cpu.softmax_backward(grad, result, False, F32)
    target, each = np.array([COLUMNS - 1]), np.ones(1, F32)
    there = large.ending((ROWS,), target)
    found = large.cuda.cross_entropy(x, there, None, -100, 0.1)
    expected = large.cpu.cross_entropy(last, target, None, -100, 0.1)
    yield found[0][-1:], expected[0]
    dx = large.cuda.cross_entropy_backward(large.ending((ROWS,), each), x, there, None, found[1], -100, 0.1)
    yield dx[-1:], large.cpu.cross_entropy_backward(each, last, target, None, expected[1], -100, 0.1)


def norms(large: Large) -> Pairs:
    x, last = large.array((ROWS, COLUMNS))
    g, grad = large.array((ROWS, COLUMNS))
    for longest in (None, 0):
        found = large.cuda._norms.layer_norm(x, None, None, 1e-5, F32, True, longest)
        expected = large.cpu.layer_norm(last, None, None, 1e-5, F32)
        for f, e in zip(found, expected):
            yield f[-1:], e
        needs = (True, False, False)
        (dx, _, _) = large.cuda._norms.layer_norm_backward(g, x, *found[1:], None, needs, longest)
        yield dx[-1:], large.cpu.layer_norm_backward(grad, last, *expected[1:], None, needs)[0]


def segments(large: Large) -> Pairs:
    x = large.cuda.xp.empty((ROWS, COLUMNS), F32)
    index, values = np.array([ROWS - 1, 3, ROWS - 1]), np.arange(3.0 * COLUMNS, dtype=F32).reshape(3, COLUMNS)
    large.cuda.index_add(x, large.cuda.from_host(index), large.cuda.from_host(values))
    yield x[-1], values[0] + values[2]
    yield x[3], values[1]
    x = large.cuda.xp.empty((BEYOND,), F32)  # more rows than a 32-bit key has room for
    index = np.array([BEYOND - 2, 1, BEYOND - 2])
    large.cuda.scatter(x, large.cuda.from_host(index), large.cuda.from_host(np.ones(3, F32)), 0, "sum")
    yield x[-2:-1], np.full(1, 2, F32)
    values_there = large.cuda.xp.empty((3, 2**30), F32)
    values_there[2, :9] = large.cuda.from_host(values[0, :9])  # of the first block
    x = large.cuda.xp.empty((1, 2**30), F32)
    large.cuda.index_add(x, large.cuda.from_host(np.zeros(3, np.int64)), values_there)
    yield x[0, :9], values[0, :9]


def convolution(large: Large) -> Pairs:
    sliding, images, size = Sliding((3,), (1,), (1,), (1,)), 2**20 + 1, (2**11,)
    x, last = large.array((images, 1, *size))
    columns = large.cuda.unfold(x, sliding, size)
    expected = large.cpu.unfold(last, sliding, size)
    for found, e in zip(columns, expected):
        yield found[-9:], e[-9:]
    for line, e in zip(columns, expected):
        line[-size[0] :] = large.cuda.from_host(e)
    folded = large.cuda.fold(columns, sliding, x.shape, size)
    yield folded[-1, 0, -9:], large.cpu.fold(expected, sliding, last.shape, size)[0, 0, -9:]


def pooling(large: Large) -> Pairs:
    n = COLUMNS
    windows = (Windows(n, tuple(range(n)), tuple(min(i + 3, n) for i in range(n)), (3,) * n),)
    x, last = large.array((ROWS, n))
    yield large.cuda.mean_pool(x, windows)[-1, -9:], large.cpu.mean_pool(last, windows)[0, -9:]
    yield large.cuda.mean_pool_backward(x, windows)[-1, -9:], large.cpu.mean_pool_backward(last, windows)[0, -9:]
    y, places = large.cuda.max_pool(x, windows)
    values, expected = large.cpu.max_pool(last, windows)
    yield y[-1, -9:], values[0, -9:]
    yield places[-1, -9:], expected[0, -9:]
    places[-1] = large.cuda.from_host(expected[0])
    dx = large.cuda.max_pool_backward(x, places, windows)
    yield dx[-1, -9:], large.cpu.max_pool_backward(last, expected, windows)[0, -9:]


def attention(large: Large) -> Pairs:
    heads, n = 2**21 + 1, 32
    q, last = large.array((heads, n, n))
    own = np.arange(n * n).reshape(1, n, n) % 3 > 0
    for mask, part in ((None, None), (large.ending((heads, n, n), own), own)):
        whole = AttentionInputs(q, q, q, mask, False, 0.125)
        end = AttentionInputs(last, last, last, part, False, 0.125)
        found, expected = large.cuda.attention(whole), large.cpu.attention(end)
        gradients = large.cuda.attention_backward(q, whole, *found)
        others = large.cpu.attention_backward(last, end, *expected)
        for f, e in zip((*found, *gradients), (*expected, *others)):
            yield f[-1:], e


def ctc(large: Large) -> Pairs:
    steps, batch, classes = 3, 2**17 + 1, 2**13
    own = np.log(np.full((steps, 1, classes), 1 / classes, F32))
    y = large.ending((steps, batch, classes), own)
    labels, inputs, outputs = np.array([[classes - 1, 5]]), np.array([steps]), np.array([2])
    there = CtcInputs(y, *(large.ending((batch, *a.shape[1:]), a) for a in (labels, inputs, outputs)), 0)
    here = CtcInputs(own, labels, inputs, outputs, 0)
    losses, alpha = large.cuda.ctc_loss(there)
    expected = large.cpu.ctc_loss(here)
    yield losses[-1:], expected[0]
    ones = np.ones(1, F32)
    dx = large.cuda.ctc_loss_backward(large.ending((batch,), ones), there, losses, alpha, False)
    last = large.cpu.ctc_loss_backward(ones, here, *expected, False)
    yield dx[-1, -1], last[-1, 0]


def multi_tensor(large: Large) -> Pairs:
    (p, param), (g, grad) = large.array((BEYOND,), (5,)), large.array((BEYOND,), (5,))
    run(large.cuda, "sgd", [[p], [g]])
    run(large.cpu, "sgd", [[param], [grad]])
    yield p[-5:], param


KERNELS: list[Callable[[Large], Pairs]] = [
    *(elementwise, random, reduce, rows, norms, segments, convolution, pooling, attention, ctc, multi_tensor)
]


@pytest.fixture
def large(cuda, cpu) -> Iterator[Large]:
    if not driver.emulated():
        pytest.skip("blocks of a grid can be left out on the emulated device alone")
    from gradcore.backends.emulator import using

    with using(edges=1):
        yield Large(cuda, cpu)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
def test_more_than_32_bits(large, same, kernel):
    for found, expected in kernel(large):
        same(found, expected, 20)


def test_checks_of_indices(large):
    index = large.cuda.xp.empty((BEYOND,), np.int64)
    index[2**31] = 7  # of the first block
    with pytest.raises(BadIndex, match="take.*index 7 is out of bounds for dimension 0 with size 5"):
        large.cuda.check_index("take", index, 5, 0)
        large.cuda.synchronize()
