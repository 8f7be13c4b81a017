"""Random numbers: seeds and states, ranges and moments, and dropout's two passes."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
from parity import agree, cases, evaluate

import gradcore as gc

F = gc.nn.functional
FLOATS = ("float16", "bfloat16", "float32", "float64")
DRAWS = {
    "rand": lambda d: gc.rand(50, device=d),
    "randn": lambda d: gc.randn(50, device=d),
    "randint": lambda d: gc.randint(0, 1000, (50,), device=d),
    "randperm": lambda d: gc.randperm(50, device=d),
    "rand_like": lambda d: gc.rand_like(gc.ones(50, device=d)),
    "randn_like": lambda d: gc.randn_like(gc.ones(50, device=d)),
    "randint_like": lambda d: gc.randint_like(gc.ones(50, device=d), 1000),
    "uniform_": lambda d: gc.ones(50, device=d).uniform_(),
    "normal_": lambda d: gc.ones(50, device=d).normal_(),
    "dropout": lambda d: F.dropout(gc.ones(50, device=d)),
}


# ---------------------------------------------------------------- seeds and states
@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_gives_the_same_numbers(name: str, device: str) -> None:
    draw = DRAWS[name]
    gc.manual_seed(7)
    first, second = draw(device).tolist(), draw(device).tolist()
    gc.manual_seed(7)
    assert draw(device).tolist() == first and draw(device).tolist() == second
    assert first != second
    gc.manual_seed(8)
    assert draw(device).tolist() != first


def test_draws_differ_from_each_other(device: str) -> None:
    """No two draws of one stream share numbers, whatever their sizes and kinds."""
    gc.manual_seed(0)
    seen: set[float] = set()
    for n in (1, 2, 5, 100, 1000):
        values = set(gc.rand(n, device=device, dtype=gc.float64).tolist())
        assert len(values) == n and not values & seen
        seen |= values


def test_states(device: str) -> None:
    gc.manual_seed(3)
    gc.rand(5, device=device)
    state = gc.get_rng_state()
    expected = gc.randn(5, device=device).tolist()
    gc.rand(100, device=device)
    gc.set_rng_state(state)
    assert gc.randn(5, device=device).tolist() == expected
    with pytest.raises(TypeError, match="expected a Tensor from get_state"):
        gc.set_rng_state(3)  # type: ignore[arg-type]
    gc.set_rng_state(state)
    assert gc.randn(5, device=device).tolist() == expected


def test_generators_are_independent(device: str) -> None:
    one, other = gc.Generator().manual_seed(1), gc.Generator().manual_seed(1)
    gc.manual_seed(5)
    untouched = gc.rand(4, device=device).tolist()
    gc.manual_seed(5)
    a = gc.rand(4, generator=one, device=device).tolist()
    assert gc.rand(4, device=device).tolist() == untouched
    assert gc.rand(4, generator=other, device=device).tolist() == a
    state = one.get_state()
    b = gc.randn(3, generator=one, device=device).tolist()
    assert gc.randn(3, generator=one.set_state(state), device=device).tolist() == b
    for draw in (
        lambda g: gc.randint(9, (20,), generator=g, device=device),
        lambda g: gc.randperm(20, generator=g, device=device),
        lambda g: gc.ones(9, device=device).uniform_(generator=g),
        lambda g: gc.ones(9, device=device).normal_(generator=g),
    ):  # fmt: skip
        assert draw(one.manual_seed(2)).tolist() == draw(other.manual_seed(2)).tolist()


def test_seeds(oracle: Any) -> None:
    for seed in (0, 1, -1, 2**63 - 1, 2**64 - 1, -(2**63)):
        agree(lambda m, d: m.manual_seed(seed).initial_seed(), oracle)
        agree(lambda m, d: m.initial_seed(), oracle)
    for seed in (2**64, -(2**63) - 1, "a"):
        agree(lambda m, d: m.manual_seed(seed), oracle)
    assert gc.manual_seed(4) is gc.default_generator and gc.initial_seed() == 4
    seed = gc.seed()
    assert gc.initial_seed() == seed != gc.seed()
    gc.cuda.manual_seed_all(4)
    assert gc.initial_seed() == 4


def test_threads_draw_different_numbers() -> None:
    gc.manual_seed(0)
    drawn: list[float] = []

    def draw() -> None:
        for _ in range(50):
            drawn.append(gc.rand(1, dtype=gc.float64).item())

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(drawn)) == 200


# ---------------------------------------------------------------- distributions
N = 40_000


def check_moments(x: np.ndarray, mean: float, std: float, kurtosis: float) -> None:
    """Mean and standard deviation within five standard errors, for a distribution of that kurtosis."""
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() - std) < 5 * std * math.sqrt((kurtosis - 1) / 4 / x.size)


def uncorrelated(x: np.ndarray) -> None:
    """Neighbours, and elements a warp or a block apart, have nothing to do with each other."""
    centred = (x - x.mean()) / x.std()
    for lag in (1, 2, 4, 32, 256):
        assert abs((centred[:-lag] * centred[lag:]).mean()) < 5 / math.sqrt(x.size)


@pytest.mark.parametrize("name", FLOATS)
def test_uniform(name: str, device: str) -> None:
    dtype = getattr(gc, name)
    for x in (gc.rand(N, dtype=dtype, device=device), gc.zeros(N, dtype=dtype, device=device).uniform_()):
        assert x.dtype is dtype
        values = x.double().cpu().numpy()
        assert values.min() >= 0 and values.max() < 1
        # Rounding down to few bits lowers the mean by half a step.
        coarse = {"float16": 2.0**-12, "bfloat16": 2.0**-9}.get(name, 0)
        check_moments(values + coarse, 0.5, 1 / math.sqrt(12), 1.8)
        uncorrelated(values)
        histogram = np.histogram(values, 16, (0, 1))[0]
        assert ((histogram - N / 16) ** 2 / (N / 16)).sum() < 50  # chi-squared with 15 degrees of freedom
    scaled = gc.zeros(N, dtype=dtype, device=device).uniform_(-2, 3).double().cpu().numpy()
    assert scaled.min() >= -2 and scaled.max() <= 3 and abs(scaled.mean() - 0.5) < 0.05


@pytest.mark.parametrize("name", FLOATS)
def test_normal(name: str, device: str) -> None:
    dtype = getattr(gc, name)
    values = gc.randn(N, dtype=dtype, device=device).double().cpu().numpy()
    check_moments(values, 0, 1, 3)
    uncorrelated(values)
    assert np.isfinite(values).all() and 3.5 < np.abs(values).max() < 6.5
    assert abs((values**3).mean()) < 5 * math.sqrt(15 / N) and abs((values**4).mean() - 3) < 5 * math.sqrt(96 / N)
    assert abs((np.abs(values) < 1).mean() - 0.6827) < 0.012
    moved = gc.zeros(N, dtype=dtype, device=device).normal_(5, 0.5).double().cpu().numpy()
    assert abs(moved.mean() - 5) < 0.02 and abs(moved.std() - 0.5) < 0.02


@pytest.mark.parametrize("name", ["int64", "int32", "uint8", "int8", "float32"])
def test_integers(name: str, device: str) -> None:
    dtype = getattr(gc, name)
    x = gc.randint(3, 13, (N,), dtype=dtype, device=device)
    assert x.dtype is dtype
    counts = np.bincount(x.cpu().long().numpy(), minlength=13)
    assert counts[:3].sum() == 0 and len(counts) == 13 and counts.sum() == N
    assert ((counts[3:] - N / 10) ** 2 / (N / 10)).sum() < 40  # chi-squared with 9 degrees of freedom
    uncorrelated(x.double().cpu().numpy())
    assert gc.randint(0, 1, (5,), dtype=dtype, device=device).tolist() == [0] * 5
    if name != "uint8":
        assert set(gc.randint(-3, 0, (200,), dtype=dtype, device=device).tolist()) == {-3, -2, -1}
    wide = gc.randint(0, 2**40, (1000,), device=device)
    assert wide.max().item() > 2**39 and wide.min().item() < 2**36 and len(set(wide.tolist())) == 1000


def test_permutations(device: str) -> None:
    for n in (0, 1, 2, 1000):
        p = gc.randperm(n, device=device)
        assert p.dtype is gc.int64 and sorted(p.tolist()) == list(range(n))
    assert gc.randperm(5, dtype=gc.int32, device=device).dtype is gc.int32
    counts = np.zeros((4, 4))
    for _ in range(600):
        counts[np.arange(4), gc.randperm(4, device=device).cpu().numpy()] += 1
    assert ((counts - 150) ** 2 / 150).sum() < 60


ARGUMENTS = """
    m.randint(5, (2,)).shape; m.randint(0, 5, (2,), device=d).dtype; m.randint(5, 3); m.randint(5);
    m.randint(5, 5, (2,)); m.randint(high=5, size=(2,)).shape; m.randint(0, 5, size=[2]).shape;
    m.randint(low=0, high=5, size=(2,)).shape; m.randint(0, 5, ()).shape; m.randint(0, 300, (2,), dtype=m.uint8);
    m.randint(-1, 3, (2,), dtype=m.uint8); m.randint(3, 1, (2,)); m.randint(0, 5, (-2,));
    m.randint(0, 1, (3,), dtype=m.float16, device=d); m.randperm(-1); m.randperm(300, dtype=m.uint8);
    m.randperm(5, dtype=m.float32, device=d).dtype; m.randperm(1, device=d); m.rand(2, dtype=m.int64);
    m.randn(2, dtype=m.int64); m.rand(0, 3, device=d).shape; m.rand(()).shape;
    m.rand(2, requires_grad=True).is_leaf; m.randn(2, requires_grad=True, device=d).requires_grad;
    m.randint(3, (2,), requires_grad=True); m.randint_like(m.zeros(3), 5).dtype;
    m.randint_like(m.zeros(3, dtype=m.int8, device=d), 2, 5).dtype; m.ones(2, device=d).normal_(0, 0);
    m.ones(2).uniform_(2, 2); m.ones(2).uniform_(1, 0); m.ones(2).normal_(0, -1);
    m.ones(2, dtype=m.int64).uniform_(); m.Generator('nowhere'); m.Generator().initial_seed();
"""


@cases(ARGUMENTS)
def test_arguments(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, m=m, d=d), oracle, device)


# ---------------------------------------------------------------- dropout
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_statistics(p: float, device: str) -> None:
    y = F.dropout(gc.ones(N, device=device), p).cpu().numpy()
    kept = y != 0
    assert abs(kept.mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / N)
    np.testing.assert_allclose(y[kept], 1 / (1 - p), rtol=1e-6)
    uncorrelated(y.astype(float))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("shape", [(1000,), (10, 100), (7, 11, 13), ()], ids=str)
def test_dropout_drops_the_same_in_both_passes(shape: tuple[int, ...], name: str, device: str) -> None:
    """Nothing is kept of the mask: the backward pass draws it again, for any strides and as often as it is asked."""
    for make in (
        lambda x: x,
        lambda x: x.transpose(0, -1) if x.ndim > 1 else x,
        lambda x: x[..., ::2] if x.ndim else x,
    ):
        x = gc.ones(*([shape] if shape else [()]), dtype=getattr(gc, name), device=device, requires_grad=True)
        y = F.dropout(make(x), 0.4)
        gc.rand(10, device=device)  # draws in between change nothing
        for _ in range(2):
            (gradient,) = gc.autograd.grad(y, x, gc.ones_like(y), retain_graph=True)
            assert gc.equal(make(gradient), y.detach())


def test_dropout_of_values(device: str) -> None:
    x = gc.arange(1.0, 101.0, device=device, requires_grad=True)
    y = F.dropout(x, 0.5)
    kept = y.detach() != 0
    assert gc.equal(y.detach(), gc.where(kept, x.detach() * 2, gc.tensor(0.0, device=device)))
    (y * y).sum().backward()
    assert gc.equal(x.grad, gc.where(kept, 8 * x.detach(), gc.tensor(0.0, device=device)))
    inplace = gc.ones(100, device=device)
    assert F.dropout(inplace, 0.5, inplace=True) is inplace and set(inplace.tolist()) == {0.0, 2.0}


def test_dropout_arguments(device: str, oracle: Any) -> None:
    for case in (
        lambda m, d: m.nn.functional.dropout(m.ones(3, device=d), 1.5),
        lambda m, d: m.nn.functional.dropout(m.ones(3, device=d), -0.5),
        lambda m, d: m.nn.functional.dropout(m.ones(3, device=d), 1.0),
        lambda m, d: m.nn.functional.dropout(m.ones(3, device=d), 0.0),
        lambda m, d: m.nn.functional.dropout(m.ones(3, device=d), 0.5, False),
        lambda m, d: m.nn.functional.dropout(m.ones(0, device=d)),
        lambda m, d: m.nn.functional.dropout(m.ones(3, dtype=m.int64, device=d), 0.5),
    ):  # fmt: skip
        agree(case, oracle, device)
    layer = gc.nn.Dropout(0.5)
    x = gc.ones(100, device=device)
    assert set(layer(x).tolist()) == {0.0, 2.0} and layer.eval()(x) is x
