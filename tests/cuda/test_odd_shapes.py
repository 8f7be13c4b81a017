"""Every structured kernel on sizes around those of warps, blocks and vectors, and on views that are not aligned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from updates import run

from gradcore.backends import Sliding, Windows
from gradcore.backends.attention import AttentionInputs
from gradcore.backends.base import IDENTITY, Backend, Reduction
from gradcore.backends.ctc import CtcInputs
from gradcore.expr import trace

SIZES = (0, 1, 3, 31, 32, 33, 1000, 1024, 1025, 4097)
F32 = np.dtype(np.float32)
ADD = trace(lambda x, y: x + y)
SQUARES = trace(lambda x: x * x)
PRODUCTS = trace(lambda x, y: (x, x * y, y + 1))
SUM = Reduction(IDENTITY, "sum")
# Given a backend and what makes its arrays, yields results.
Kernel = Callable[[Backend, Any, int], Iterator[Any]]


class Maker:
    """The same arrays, one after another, for any backend; off an aligned address if asked."""

    def __init__(self, backend: Backend, shifted: bool):
        self._backend, self._shift = backend, int(shifted)
        self._rng = np.random.default_rng(0)

    def __call__(self, *shape: int) -> Any:
        return self.of(self._rng.standard_normal(shape).astype(F32))

    def integers(self, below: int, *shape: int) -> Any:
        return self.of(self._rng.integers(0, below, shape))

    def of(self, array: np.ndarray) -> Any:
        room = np.concatenate([np.zeros(self._shift, array.dtype), array.reshape(-1)])
        return self._backend.from_host(room)[self._shift :].reshape(array.shape)


def softmax(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    x, grad = make(5, n), make(5, n)
    for log in (False, True):
        y = b.softmax(x, log, F32)
        yield y
        yield b.softmax_backward(grad, y, log, F32)


def cross_entropy(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    if n:
        x, target, weight, grad = make(5, n), make.integers(n, 5), make(n), make(5)
        loss, lse, _ = b.cross_entropy(x, target, weight, -100, 0.1)
        yield from (loss, lse, b.cross_entropy_backward(grad, x, target, weight, lse, -100, 0.1))


def layer_norm(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    x, grad, weight, bias = make(5, n), make(5, n), make(n), make(n)
    for centered in (True, False):
        y, mean, rstd = b.layer_norm(x, weight, bias if centered else None, 1e-5, F32, centered)
        yield y
        yield from b.layer_norm_backward(grad, x, mean, rstd, weight, (True, True, True))


def channels(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    for shape in ((3, 2, n), (n, 33, 1), (1, n, 3)):
        if 0 not in shape:
            x, grad = make(*shape), make(*shape)
            yield from b.channel_moments(x, 0.1)
            yield from b.sums(PRODUCTS, (grad, x), F32, F32, shape, (0, 2))


def reductions(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    for shape, axes in (((5, n), (1,)), ((n, 5), (0,)), ((3, n, 2), (0, 2)), ((n,), (0,))):
        x = make(*shape)
        yield b.reduce(SUM, (x,), F32, F32, shape, axes, False)
        if n and len(axes) == 1:
            yield from b.arg_reduce(x, axes[0], "max")


def elementwise(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    x = make(3, n)
    for y in (make(3, n), make(n), make(3, 1), 2.0):
        yield b.elementwise(ADD, (x, y), F32, [F32], x.shape)[0]


def unfold(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    sliding = Sliding((3,), (1,), (1,), (1,))
    columns = b.unfold(make(2, 3, n), sliding, (n,))
    yield from (columns, b.fold(make(*columns.shape), sliding, (2, 3, n), (n,)))


def pooling(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    if not n:  # the op itself makes what is empty
        return
    windows = (Windows(n, tuple(range(n)), tuple(min(i + 3, n) for i in range(n)), (3,) * n),)
    x, grad = make(4, n), make(4, n)
    yield from (b.mean_pool(x, windows), b.mean_pool_backward(grad, windows))
    y, places = b.max_pool(x, windows)
    yield from (y, places, b.max_pool_backward(grad, places, windows))


def attention(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    for queries, keys in ((n, 3), (3, n)) if n else ():
        q, k, v, mask = make(2, queries, 5), make(2, keys, 5), make(2, keys, 3), make(2, queries, keys)
        for given, causal in ((mask, False), (None, True)):
            inputs = AttentionInputs(q, k, v, given, causal, 0.5)
            out, lse = b.attention(inputs)
            yield from (out, lse)
            yield from b.attention_backward(make(2, queries, 3), inputs, out, lse)


def ctc(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    longest = min(n, 33)
    if n > 1:
        y = b.softmax(make(70 * 2, n), True, F32).reshape(70, 2, n)
        labels, lengths = make.of(1 + np.arange(2 * longest).reshape(2, longest) % (n - 1)), np.array([70, 69])
        given = CtcInputs(y, labels, make.of(lengths), make.of(np.array([longest, longest // 2])), 0)
        losses, alpha = b.ctc_loss(given)
        yield from (losses, b.ctc_loss_backward(make(2), given, losses, alpha, True))


def segments(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    for count, width in ((7, n), (n, 3)):
        x = make(4, width)
        b.index_add(x, make.integers(4, count), make(count, width))
        yield x
    for combine in ("sum", "prod", "max", "last"):
        x = make(4, n)
        b.scatter(x, make.integers(4, 4, n), make(4, n), 0, combine)
        yield x


def multi_tensor(b: Backend, make: Maker, n: int) -> Iterator[Any]:
    columns = [[make(n), make(3, n)] for _ in range(3)]
    run(b, "sgd momentum", columns)
    yield from sum(columns, [])
    yield b.multi_tensor_reduce("norm", SQUARES, "sum", columns[0]) if n else columns[0][0]


KERNELS: list[Kernel] = [
    *(softmax, cross_entropy, layer_norm, channels, reductions, elementwise),
    *(unfold, pooling, attention, ctc, segments, multi_tensor),
]


def compare(cuda: Any, cpu: Any, same: Any, kernel: Kernel, n: int, shifted: bool) -> None:
    expected = kernel(cpu, Maker(cpu, False), n)
    for found, other in zip(kernel(cuda, Maker(cuda, shifted), n), expected, strict=True):
        same(found, other, 40)


@pytest.mark.parametrize("shifted", [False, True], ids=["aligned", "unaligned"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
def test_sizes(cuda, cpu, same, kernel, n, shifted):
    compare(cuda, cpu, same, kernel, n, shifted)


@pytest.mark.parametrize("shifted", [False, True], ids=["aligned", "unaligned"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
def test_every_access(cuda, cpu, same, checked, kernel, shifted):
    compare(cuda, cpu, same, kernel, 33, shifted)
