"""What PyTorch's operator database leaves out: modules, options, errors, special values and distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from parity import agree, assert_same, cases, evaluate, outcome

import gradcore as gc

inf, nan = math.inf, math.nan

MODULES = """
    ReLU6(); LeakyReLU(); LeakyReLU(0.2); ELU(); ELU(0.7); SELU(); CELU(2.0); Hardtanh(); Hardtanh(-0.5, 2.0);
    Hardswish(); Mish(); LogSigmoid(); Softsign(); GLU(); GLU(0); Softmin(1); PReLU(); PReLU(4, 0.1)
"""


@cases(MODULES)
def test_activation_modules(case: str, oracle: Any) -> None:
    def run(m: Any, device: str) -> Any:
        module = evaluate(case, **vars(m.nn))
        x = (m.arange(24.0).reshape(6, 4) - 12).requires_grad_()
        y = module(x)
        y.sum().backward()
        return y, x.grad, repr(module), [p.grad for p in module.parameters()]

    agree(run, oracle)


@cases("ReLU6; LeakyReLU; ELU; SELU; CELU; Hardtanh; Hardswish; Hardsigmoid; Mish; SiLU; ReLU")
def test_modules_in_place(case: str, oracle: Any) -> None:
    def run(m: Any, device: str) -> Any:
        module = getattr(m.nn, case)(inplace=True)
        x = m.linspace(-4, 4, 9)
        # (Two of PyTorch's do not tell.)
        return (module(x) is x), x, "" if case in ("Hardswish", "Hardsigmoid") else repr(module)

    agree(run, oracle)


LOSSES = """
    SmoothL1Loss(); SmoothL1Loss(beta=0.3); SmoothL1Loss(beta=0.0); HuberLoss(delta=0.3); BCELoss(); KLDivLoss();
    KLDivLoss(reduction="batchmean"); KLDivLoss(log_target=True); CosineSimilarity(); PairwiseDistance()
"""


@cases(LOSSES)
def test_losses_of_two(case: str, oracle: Any) -> None:
    def run(m: Any, device: str) -> Any:
        x = (m.arange(1, 13).reshape(3, 4) / 13.0).requires_grad_()
        loss = evaluate(case, **vars(m.nn))(x, m.linspace(0.9, 0.05, 12).reshape(3, 4))
        loss.sum().backward()
        return loss, x.grad

    agree(run, oracle)


@cases("CosineEmbeddingLoss(0.1); MarginRankingLoss(0.2); TripletMarginLoss(); TripletMarginLoss(2.0, 1.0, swap=True)")
def test_losses_of_three(case: str, oracle: Any) -> None:
    def run(m: Any, device: str) -> Any:
        a, b, c = (m.sin(m.arange(12.0) * k).reshape(3, 4).requires_grad_() for k in (1, 2, 3))
        third = c if "Triplet" in case else m.tensor([1, -1, 1])
        if "Ranking" in case:
            third = m.where(c > 0, 1.0, -1.0)
        loss = evaluate(case, **vars(m.nn))(a, b, third)
        loss.backward()
        return loss, a.grad, b.grad

    agree(run, oracle)


def test_ctc_loss_module(oracle: Any, device: str) -> None:
    def run(m: Any, device: str) -> Any:
        x = m.sin(m.arange(60.0, device=device) * 0.7).reshape(5, 3, 4).requires_grad_()
        targets = m.tensor([[1, 2, 3], [1, 1, 2], [3, 3, 3]], device=device)
        loss = m.nn.CTCLoss(zero_infinity=True)(x.log_softmax(2), targets, (5, 5, 3), (3, 2, 3))
        loss.backward()
        return loss.cpu(), x.grad.cpu()

    agree(run, oracle, device)


@cases(
    """
    F.leaky_relu(i); F.elu(i); F.hardswish(i); F.logsigmoid(i); F.glu(x, 0); F.glu(i); F.prelu(x, m.ones(2, 2));
    F.prelu(x, m.ones(2)); F.hardtanh(x, 1.0, 0.0); F.celu(x, 0.0); F.smooth_l1_loss(x, x, beta=-1.0);
    F.huber_loss(x, x, delta=0.0); F.binary_cross_entropy(x, x[0]); F.binary_cross_entropy(x * 3, x);
    F.binary_cross_entropy(x, x.double()); F.kl_div(x, x, reduction="all"); F.cosine_similarity(i, i);
    F.triplet_margin_loss(x, x, x, margin=0.0); F.margin_ranking_loss(x, x, x[0]); m.lerp(x, x.double(), 0.5);
    m.addcdiv(i, i, i); m.maximum(x, 2); m.eq(2, x); m.logical_and(x, 1); m.clamp_min(1, x);
    x.cumsum(2); i.logsumexp(3); m.median((x > 0)); m.median(x, 5); m.bincount(x); m.bincount(i); m.bincount(-i[0]);
    m.bincount(i[0], x[0, :2]); m.linalg.norm(x, "no"); m.linalg.norm(x[0], "fro"); m.linalg.norm(x, 2, (0, 0));
    m.linalg.norm(i); m.linalg.norm(x, 3); m.linalg.vector_norm(m.ones(0), inf); m.norm(x.double(), dtype=m.float32);
    x.bernoulli_(2.0); m.bernoulli(x + 3); m.bernoulli(i); x.random_(5, 3); x.exponential_(0.0); i.exponential_();
    x.log_normal_(0.0, 0.0); x.geometric_(1.0); x.cauchy_(0.0, 0.0); i.uniform_(); m.normal(x, -1.0);
    m.linspace(0, 1, 2.5); m.linspace(x, 1, 5); x.to(memory_format=m.channels_last); x.contiguous(memory_format=3);
    F.ctc_loss(x.view(3, 1, 3), i[:1], (4,), (1,)); F.ctc_loss(x.view(3, 1, 3), i[:1], (3,), (4,));
    F.ctc_loss(x.view(3, 1, 3), i[:1], (3, 3), (1,)); F.ctc_loss(x.view(3, 1, 3), i[:1], (3,), (1,), blank=3);
    F.ctc_loss(x.half().view(3, 1, 3), i[:1], (3,), (1,))
    """
)
def test_errors(case: str, oracle: Any) -> None:
    """What PyTorch refuses is refused, with an error of its type."""

    def run(m: Any, device: str) -> Any:
        x, i = (m.arange(9) / 9.0).reshape(3, 3), m.arange(9).reshape(3, 3)
        return evaluate(case, m=m, F=m.nn.functional, x=x, i=i, inf=inf)

    assert_same(outcome(run, gc, "cpu"), outcome(run, oracle, "cpu"))
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
        run(gc, "cpu")


def test_a_label_out_of_range(device: str) -> None:
    y = gc.zeros(4, 1, 3, device=device).log_softmax(2)
    for label in (3, -1):
        with pytest.raises(IndexError):
            gc.nn.functional.ctc_loss(y, gc.tensor([[1, label]], device=device), (4,), (2,)).item()


def test_special_values(device: str, oracle: Any) -> None:
    data = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, inf, -inf, nan, 1e4, -1e4]

    for name in "relu6 leaky_relu elu selu celu hardtanh hardswish hardsigmoid logsigmoid softsign".split():

        def run(m: Any, device: str, name: str = name) -> Any:
            x = m.tensor(data, device=device, requires_grad=True)
            y = getattr(m.nn.functional, name)(x)
            y.sum().backward()
            return y.detach().cpu(), x.grad.cpu()

        agree(run, oracle, device)

    def finite(m: Any, device: str) -> Any:
        x = m.tensor(data, device=device, requires_grad=True)
        y = x.nan_to_num(0.5)
        y.sum().backward()
        return y.detach().cpu(), x.grad.cpu(), x.detach().half().nan_to_num().cpu().float()

    agree(finite, oracle, device)
    for row in ([-inf, -inf], [inf, 1.0], [nan, 1.0], [1e4, -1e4]):
        agree(lambda m, d, row=row: m.tensor(row, device=d).logsumexp(0).cpu(), oracle, device)
    for row in ([1.0, nan, 0.0], [2.0, 2.0, 1.0, 3.0]):
        agree(lambda m, d, row=row: m.tensor(row, device=d).median().cpu(), oracle, device)
        agree(lambda m, d, row=row: m.tensor(row, device=d).median(0).values.cpu(), oracle, device)


def test_gradients_at_ties(device: str) -> None:
    x = gc.tensor([2.0, 1.0, 2.0, 3.0], device=device, requires_grad=True)
    x.median().backward()
    assert x.grad.tolist() == [0.5, 0, 0.5, 0]
    x = gc.tensor([0.5, 0.5], device=device, requires_grad=True)
    x.clamp_min(0.5).sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_prod_of_zeros_at_any_order() -> None:
    """Third derivatives of a product with two zeros, which division by the elements would lose."""
    x = gc.tensor([0.0, 0.0, 2.0, 3.0], dtype=gc.float64, requires_grad=True)
    (first,) = gc.autograd.grad(x.prod(), x, create_graph=True)
    (second,) = gc.autograd.grad(first[0], x, create_graph=True)
    (third,) = gc.autograd.grad(second[1], x)
    assert first.tolist() == [0, 0, 0, 0] and second.tolist() == [0, 6, 0, 0] and third.tolist() == [0, 0, 3, 2]


# ---------------------------------------------------------------- random numbers
def test_distributions(device: str) -> None:
    """Means and deviations of many draws, within five standard errors."""
    n = 20000
    empty = gc.empty(n, device=device)
    for name, values, mean, deviation in (
        ("bernoulli_", empty.clone().bernoulli_(0.3), 0.3, math.sqrt(0.21)),
        ("bernoulli", gc.bernoulli(gc.full((n,), 0.3, device=device)), 0.3, math.sqrt(0.21)),
        ("exponential_", empty.clone().exponential_(2.0), 0.5, 0.5),
        ("geometric_", empty.clone().geometric_(0.25), 4, math.sqrt(12)),
        ("log_normal_", empty.clone().log_normal_(0.0, 0.25).log(), 0, 0.25),
        ("cauchy_", empty.clone().cauchy_(1.0, 2.0).sub_(1).div_(2).atan(), 0, math.pi / math.sqrt(12)),
        ("random_", empty.clone().random_(2, 12), 6.5, math.sqrt(99 / 12)),
        ("normal", gc.normal(gc.full((n,), 2.0, device=device), 0.5), 2, 0.5),
    ):
        host = values.double().cpu().numpy()
        assert abs(host.mean() - mean) < 5 * deviation / math.sqrt(n), name
        assert abs(host.std() - deviation) < 0.05 * deviation, name
    whole = gc.empty(1000, dtype=gc.int64, device=device).random_()
    assert (whole >= 0).all() and whole.max() > 2**60
    assert set(gc.empty(100, dtype=gc.bool, device=device).random_().tolist()) == {True, False}


@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial(device: str, replacement: bool) -> None:
    weights = gc.tensor([[0.0, 1.0, 3.0, 0.0], [5.0, 0.0, 0.0, 5.0]], device=device)
    draws = gc.stack([weights.multinomial(1, replacement) for _ in range(400)]).cpu().numpy()[..., 0]
    assert set(np.unique(draws[:, 0])) == {1, 2} and set(np.unique(draws[:, 1])) == {0, 3}
    assert abs((draws[:, 0] == 2).mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 400)
    both = weights.multinomial(2, replacement).cpu().numpy()
    if not replacement:
        assert sorted(both[0]) == [1, 2] and sorted(both[1]) == [0, 3]
    again = gc.Generator().manual_seed(3), gc.Generator().manual_seed(3)
    first, second = (weights.multinomial(2, replacement, generator=g) for g in again)
    assert gc.equal(first, second)


def test_memory_formats(oracle: Any) -> None:
    def run(m: Any, device: str) -> Any:
        x = m.arange(120.0).reshape(2, 3, 4, 5)
        y = x.contiguous(memory_format=m.channels_last)
        z = y.clone(memory_format=m.contiguous_format)
        w = x.to(m.float64, memory_format=m.channels_last)
        return y.stride(), z.stride(), w.stride(), y, z, w, repr(m.channels_last), repr(m.strided)

    agree(run, oracle)
