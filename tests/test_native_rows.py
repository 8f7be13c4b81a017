"""The native kernels over rows and the native optimizers, against their NumPy versions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from updates import OPTIMIZERS, run, update_of

from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cpu.native import library, multi_tensor, norms, rows
from gradcore.backends.cpu.native.backend import NativeBackend
from gradcore.backends.cpu.native.calls import GRAIN, kernels
from gradcore.backends.cpu.threads import get_num_threads, set_num_threads

pytestmark = pytest.mark.skipif(library.problem() is not None, reason=f"no native kernels: {library.problem()}")

LENGTHS = [1, 3, 15, 16, 17, 31, 32, 33, 1000, 1025, 4097]
DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]
SINGLE, DOUBLE = DTYPES[:2]

native, plain = NativeBackend(), CpuBackend()
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)


def close(found: Any, expected: Any, factor: float = 8, least: float = 0) -> None:
    """Equal dtypes and shapes, equal special values, and differences of some roundings of the largest element.

    Where the result is a small difference, the roundings are those of what is at `least` as large.
    """
    if expected is None:
        assert found is None
        return
    assert found.dtype == expected.dtype and found.shape == expected.shape
    eps = float(ml_dtypes.finfo(expected.dtype).eps)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    finite = np.abs(b[np.isfinite(b)])
    np.testing.assert_allclose(a, b, rtol=0, atol=factor * eps * finite.max(initial=least))


def draw(rng: np.random.Generator, shape: Any, dtype: np.dtype, scale: float = 2) -> np.ndarray:
    return (scale * rng.standard_normal(shape)).astype(dtype)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def threads() -> Iterator[Any]:
    before = get_num_threads()
    yield set_num_threads
    set_num_threads(before)


@by_dtype
def test_kernels_are_built(dtype: np.dtype) -> None:
    # The other tests would pass without a single kernel.
    assert rows._softmax(dtype) and rows._cross_entropy(dtype) and norms._kernels(dtype)
    for name in OPTIMIZERS:
        update, state, settings = update_of(name)
        assert multi_tensor._kernels(update.program([True, True, *state], settings), 2 + sum(state), dtype)
    assert rows._softmax(np.dtype(np.int32)) is None


# ---------------------------------------------------------------- softmax
@by_dtype
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("columns", LENGTHS)
def test_softmax(rng: np.random.Generator, dtype: np.dtype, log: bool, columns: int) -> None:
    x, grad = draw(rng, (5, columns), dtype), draw(rng, (5, columns), dtype)
    y = plain.softmax(x, log, dtype)
    close(native.softmax(x, log, dtype), y)
    close(native.softmax_backward(grad, y, log, dtype), plain.softmax_backward(grad, y, log, dtype))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("shape", [(0, 7), (7, 0), (0, 0)])
def test_softmax_of_nothing(log: bool, shape: Any) -> None:
    x = np.empty(shape, np.float32)
    assert native.softmax(x, log, SINGLE).shape == shape
    assert native.softmax_backward(x, x, log, SINGLE).shape == shape


@pytest.mark.parametrize("log", [False, True])
def test_softmax_into_another_dtype(rng: np.random.Generator, log: bool) -> None:
    x = draw(rng, (3, 20), np.dtype(np.float16))
    close(native.softmax(x, log, SINGLE), plain.softmax(x, log, SINGLE))


SPECIAL = [
    [np.nan, 0, 1],
    [np.inf, 0, 1],
    [np.inf, np.inf, 1],
    [-np.inf, 0, 1],
    [-np.inf, -np.inf, -np.inf],
    [np.nan, np.inf, -np.inf],
    [1e4, -1e4, 0],
    [-1e4, -1e4, -1e4],
    [-0.0, 0.0, -0.0],
]


@by_dtype
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("columns", [3, 16, 40])
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("fill", [0.0, -np.inf])
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_softmax_of_special_values(dtype: np.dtype, log: bool, columns: int, place: str, fill: float) -> None:
    x = np.full((len(SPECIAL), columns), fill, dtype)
    x[:, slice(3) if place == "first" else slice(columns - 3, None)] = SPECIAL
    y = plain.softmax(x, log, dtype)
    close(native.softmax(x, log, dtype), y)
    np.testing.assert_array_equal(np.isnan(native.softmax(x, log, dtype)), np.isnan(y))
    grad = np.ones_like(x)
    expected = plain.softmax_backward(grad, y, log, dtype)
    np.testing.assert_array_equal(np.isnan(native.softmax_backward(grad, y, log, dtype)), np.isnan(expected))


def test_exponentials_are_within_an_ulp() -> None:
    # The sum of exponentials is 1 but for what is far below its last bit.
    x = np.linspace(-105, -18, 200001, dtype=np.float32)
    found = native.softmax(np.stack([np.zeros_like(x), x], 1), False, SINGLE)
    exact = np.exp(x.astype(np.float64))
    assert (found[:, 0] == 1).all()
    assert (np.abs(found[:, 1] - exact) <= np.spacing(exact.astype(np.float32))).all()
    # Of log-softmax's gradient of (0, -1) exp(y) is left.
    y = np.linspace(-18, 0, 200001, dtype=np.float32)
    grad = np.tile(np.array([0, -1], np.float32), (len(y), 1))
    found = native.softmax_backward(grad, np.stack([y, np.full_like(y, -200)], 1), True, SINGLE)[:, 0]
    exact = np.exp(y.astype(np.float64))
    assert (np.abs(found - exact) <= np.spacing(exact.astype(np.float32))).all()


def test_sums_are_as_exact_as_pairwise(rng: np.random.Generator) -> None:
    x = np.zeros((1, 1 << 20), np.float32)
    assert abs(float(native.softmax(x, True, SINGLE)[0, 0]) + 20 * np.log(2)) < 2e-6
    grad = rng.random((1, 1 << 20), np.float32)
    found = native.softmax_backward(grad, np.full_like(grad, -100), True, SINGLE)  # exp(-100) takes away nothing
    np.testing.assert_array_equal(found, grad)
    flat = np.full_like(grad, 1.0)
    dot = grad[0, 0] - native.softmax_backward(grad, flat, False, SINGLE)[0, 0]
    exact = grad.astype(np.float64).sum()
    assert abs(dot - exact) <= 2 * np.spacing(np.float32(exact))


# ---------------------------------------------------------------- cross-entropy
@by_dtype
@pytest.mark.parametrize("columns", LENGTHS)
@pytest.mark.parametrize("weighted,smoothing", list(product([False, True], [0.0, 0.1])))
def test_cross_entropy(
    rng: np.random.Generator, dtype: np.dtype, columns: int, weighted: bool, smoothing: float
) -> None:
    x, target = draw(rng, (6, columns), dtype), rng.integers(0, columns, 6)
    weight = rng.random(columns).astype(dtype) if weighted else None
    target[2] = ignored = -100 if columns == 1 else int(target[1])
    options = (ignored, smoothing)
    losses, lse, weights = native.cross_entropy(x, target, weight, *options)
    expected = plain.cross_entropy(x, target, weight, *options)
    close(losses, expected[0], least=4)
    close(lse, expected[1])
    close(weights, np.ones_like(lse) if expected[2] is None else expected[2])
    grad = draw(rng, 6, dtype)
    found = native.cross_entropy_backward(grad, x, target, weight, lse, *options)
    close(found, plain.cross_entropy_backward(grad, x, target, weight, lse, *options), least=1)
    for reduction in ("none", "sum", "mean"):
        loss, lse, total = native.cross_entropy_loss(x, target, weight, reduction, *options)
        expected = plain.cross_entropy_loss(x, target, weight, reduction, *options)
        for a, b in zip((loss, lse, total), expected):
            close(a, b, 20, least=4)
        g, divisor = np.full_like(loss, 0.5), total if reduction == "mean" else None
        found = native.cross_entropy_loss_backward(g, x, target, weight, lse, divisor, *options)
        close(found, plain.cross_entropy_loss_backward(g, x, target, weight, lse, divisor, *options), 20, least=1)


@pytest.mark.parametrize("bad", [4, -1, -101, 2**62, -(2**63)])
@pytest.mark.parametrize("rows", [3, GRAIN])
def test_cross_entropy_target_out_of_range(bad: int, rows: int) -> None:
    x, target = np.zeros((rows, 4), np.float32), np.zeros(rows, np.int64)
    target[rows // 2], target[-1] = bad, 77
    message = rf"cross_entropy\(\): Target {bad} is out of bounds \(the input has 4 classes\)"
    for backend in (plain, native):
        with pytest.raises(IndexError, match=message):
            backend.cross_entropy(x, target, None, -100, 0.0)
        with pytest.raises(IndexError, match=message):
            backend.cross_entropy_loss(x, target, None, "mean", -100, 0.0)
        with pytest.raises(IndexError, match=message):
            backend.cross_entropy_backward(x[:, 0], x, target, None, x[:, 0].copy(), -100, 0.0)
    target[rows // 2] = -100
    with pytest.raises(IndexError, match="Target 77"):
        native.cross_entropy(x, target, None, -100, 0.0)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_cross_entropy_of_special_values() -> None:
    x = np.array(SPECIAL, np.float32)
    for smoothing, chosen in product((0.0, 0.2), range(3)):
        target = np.full(len(x), chosen)
        found = native.cross_entropy(x, target, None, -100, smoothing)
        expected = plain.cross_entropy(x.astype(np.float64), target, None, -100, smoothing)
        for row in range(len(x)):
            close(found[0][row : row + 1], expected[0][row : row + 1].astype(np.float32))
            close(found[1][row : row + 1], expected[1][row : row + 1].astype(np.float32))
    # An ignored row counts for nothing, whatever it holds; if all are, their mean is 0 / 0.
    loss, lse, total = native.cross_entropy_loss(x, np.full(len(x), -100), None, "mean", -100, 0.1)
    assert np.isnan(loss) and total == 0
    dx = native.cross_entropy_loss_backward(np.ones((), np.float32), x, np.full(len(x), -100), None, lse, None, -100, 0)
    assert not dx.any()


def test_cross_entropy_of_nothing() -> None:
    x, target = np.empty((0, 5), np.float32), np.empty(0, np.int64)
    losses, lse, _ = native.cross_entropy(x, target, None, -100, 0.0)
    assert losses.shape == lse.shape == (0,)
    loss, _, total = native.cross_entropy_loss(x, target, None, "sum", -100, 0.0)
    assert loss == total == 0
    assert native.cross_entropy_backward(losses, x, target, None, lse, -100, 0.0).shape == (0, 5)


def test_cross_entropy_of_strided_operands(rng: np.random.Generator) -> None:
    x, target = draw(rng, (4, 9), SINGLE), rng.integers(0, 9, 8)[::2]
    weight, grad = rng.random(18).astype(np.float32)[::2], draw(rng, 8, SINGLE)[::-2]
    found, expected = (b.cross_entropy(x, target, weight, -100, 0.1) for b in (native, plain))
    close(found[0], expected[0])
    lse = expected[1]
    found, expected = (b.cross_entropy_backward(grad, x, target, weight, lse, -100, 0.1) for b in (native, plain))
    close(found, expected)


# ---------------------------------------------------------------- norms
@by_dtype
@pytest.mark.parametrize("columns", LENGTHS)
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("affine", ["none", "weight", "bias", "both"])
def test_layer_norm(rng: np.random.Generator, dtype: np.dtype, columns: int, centered: bool, affine: str) -> None:
    x, grad = draw(rng, (70, columns), dtype) + dtype.type(3), draw(rng, (70, columns), dtype)
    weight = draw(rng, columns, dtype) if affine in ("weight", "both") else None
    bias = draw(rng, columns, dtype) if affine in ("bias", "both") else None
    eps = 1e-3
    y, mean, rstd = native.layer_norm(x, weight, bias, eps, dtype, centered)
    expected = plain.layer_norm(x, weight, bias, eps, dtype, centered)
    close(y, expected[0], 40)
    close(mean, expected[1])
    close(rstd, expected[2], 40)
    _, mean, rstd = expected
    for needs in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
        found = native.layer_norm_backward(grad, x, mean, rstd, weight, needs)
        for a, b in zip(found, plain.layer_norm_backward(grad, x, mean, rstd, weight, needs)):
            close(a, b, 100 if columns == 1 else 40)


@pytest.mark.parametrize("shape", [(0, 7), (7, 0)])
def test_layer_norm_of_nothing(shape: Any) -> None:
    x, weight = np.empty(shape, np.float32), np.ones(shape[1], np.float32)
    found, expected = (b.layer_norm(x, weight, weight, 1e-5, SINGLE) for b in (native, plain))
    for a, b in zip(found, expected):
        close(a, b)
    needs = (True, True, True)
    for a, b in zip(*(b.layer_norm_backward(x, x, *expected[1:], weight, needs) for b in (native, plain))):
        close(a, b)


def test_layer_norm_of_mixed_dtypes(rng: np.random.Generator) -> None:
    half = np.dtype(np.float16)
    x, weight = draw(rng, (4, 33), half), draw(rng, 33, SINGLE)
    found, expected = (b.layer_norm(x, weight, weight, 1e-5, half) for b in (native, plain))
    for a, b in zip(found, expected):
        close(a, b)
    found, expected = (b.layer_norm_backward(x, x, *expected[1:], weight, (True,) * 3) for b in (native, plain))
    for a, b in zip(found, expected):
        close(a, b)


# ---------------------------------------------------------------- threads
@pytest.mark.parametrize("dtype", [SINGLE, np.dtype(np.float16)], ids=lambda d: d.name)
def test_results_do_not_depend_on_threads(rng: np.random.Generator, threads: Any, dtype: np.dtype) -> None:
    x, grad, target = draw(rng, (301, 513), dtype), draw(rng, (301, 513), dtype), rng.integers(0, 513, 301)
    weight = draw(rng, 513, dtype)

    def results() -> list[Any]:
        y = native.softmax(x, False, dtype)
        out = [y, native.softmax(x, True, dtype), native.softmax_backward(grad, y, False, dtype)]
        out += native.cross_entropy_loss(x, target, abs(weight), "mean", -100, 0.1)
        out += [native.cross_entropy_backward(grad[:, 0].copy(), x, target, None, out[-2], -100, 0.1)]
        normal = native.layer_norm(x, weight, weight, 1e-5, dtype)
        out += normal
        out += native.layer_norm_backward(grad, x, *normal[1:], weight, (True,) * 3)
        params, state = [x.copy(), weight.copy()], [abs(grad), abs(weight)]
        run(native, "adamw", [params, [grad, weight], [a.copy() for a in state], state, state])
        return out + params

    threads(1)
    alone = results()
    for count in (2, 3, 7):
        threads(count)
        for a, b in zip(alone, results()):
            np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- optimizers
SHAPES: list[Any] = [(3, 5), (), (0,), (17,), (4, 1, 33), (GRAIN + 5,), (2,)]


def lists(rng: np.random.Generator, dtype: np.dtype, count: int) -> list[list[np.ndarray]]:
    """For each of two backends the same parameters, gradients and (not negative) states."""
    made = [[np.asarray(draw(rng, s, dtype)) for s in SHAPES] for _ in range(2)]
    made += [[np.asarray(abs(draw(rng, s, dtype))) for s in SHAPES] for _ in range(count - 2)]
    return made


def copies(columns: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    return [[a.copy() for a in column] for column in columns]


@by_dtype
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates(rng: np.random.Generator, dtype: np.dtype, name: str) -> None:
    columns = lists(rng, dtype, 5)
    if "centered" in name:  # the mean of squares is no less than the square of the mean
        columns[4] = [np.asarray(a * a / 2, dtype) for a in columns[2]]
    found, expected = copies(columns), copies(columns)
    for backend, given in ((native, found), (plain, expected)):
        for step in (1, 2, 10):
            run(backend, name, given, step)
    for a, b in zip(sum(found, []), sum(expected, [])):
        close(a, b, 16)


def test_uninitialized_momenta_are_set() -> None:
    params, momenta = [np.ones(40, np.float32)], [np.full(40, np.nan, np.float32)]
    run(native, "sgd momentum", [params, [np.ones(40, np.float32)], momenta], 1)
    assert (params[0] == np.float32(0.9)).all() and (momenta[0] == 1).all()


@pytest.mark.parametrize("odd", ["strides", "dtypes"])
def test_optimizers_take_what_kernels_do_not(rng: np.random.Generator, odd: str) -> None:
    # A transposed parameter, or a gradient of another dtype: NumPy's version makes the step, and makes it once.
    def arrays() -> list[np.ndarray]:
        if odd == "strides":
            return [np.arange(6, dtype=np.float32), np.arange(12, dtype=np.float32).reshape(3, 4).T]
        return [np.arange(6, dtype=np.float32), np.arange(12, dtype=np.float64)]

    found, expected = arrays(), arrays()
    grads = [np.ones(a.shape, np.float32) for a in found]
    for backend, params in ((native, found), (plain, expected)):
        states = [[np.zeros_like(p) for p in params] for _ in range(3)]
        run(backend, "adamw", [params, grads, *states], 1)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)
    run(native, "sgd", [[], []])


# ---------------------------------------------------------------- the way into a kernel
def test_calls_check_their_arguments() -> None:
    softmax = rows._softmax(SINGLE).softmax  # type: ignore[union-attr]
    x = np.zeros((2, 3), np.float32)
    for function in (softmax.short, softmax.long):
        with pytest.raises(TypeError, match="wrong number of arguments"):
            function(x)
        with pytest.raises(TypeError, match="takes arrays, numbers and None"):
            function(x, [1, 2], 0, 2, 3, False)
        with pytest.raises(TypeError):
            function(x, x, 0, "2", 3, False)
        assert function(x, x.copy(), 0, 2, 3, False) is None


def test_no_compiler_means_numpy(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradcore.backends import hostcc

    def refuse(text: str, fused: bool = False) -> Any:
        raise hostcc.HostCompilerError("no compiler")

    monkeypatch.setattr(library, "load", refuse)
    assert kernels("softmax.cpp", ("softmax",), SINGLE) is None
    for module, name in ((rows, "_softmax"), (rows, "_cross_entropy"), (norms, "_kernels"), (multi_tensor, "_kernels")):
        monkeypatch.setattr(module, name, lambda *key: None)
    x, target = draw(rng, (4, 5), SINGLE), np.arange(4)
    np.testing.assert_array_equal(native.softmax(x, True, SINGLE), plain.softmax(x, True, SINGLE))
    np.testing.assert_array_equal(
        native.softmax_backward(x, x, True, SINGLE), plain.softmax_backward(x, x, True, SINGLE)
    )
    for backward in (False, True):
        results = []
        for b in (native, plain):
            loss, lse, total = b.cross_entropy_loss(x, target, None, "mean", -100, 0.1)
            results.append(loss)
            if backward:
                results[-1] = b.cross_entropy_loss_backward(loss, x, target, None, lse, total, -100, 0.1)
        np.testing.assert_array_equal(*results)
    y, mean, rstd = native.layer_norm(x, None, None, 1e-5, SINGLE)
    assert native.layer_norm_backward(x, x, mean, rstd, None, (True, False, False))[0].shape == y.shape
    param, moment = [x.copy()], [np.zeros_like(x)]
    run(native, "adamw", [param, [x], moment, [np.zeros_like(x)], None], 1)
    assert (param[0] != x).all() and moment[0].any()
