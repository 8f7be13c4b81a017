"""`gradcheck` and `gradgradcheck`: they pass what is right and fail what is wrong, in PyTorch's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import does, fails

import gradcore as gc

Code = Callable[[Any, str], Any]


def double(m: Any, *values: Any) -> Any:
    return m.tensor(values, dtype=m.float64, requires_grad=True)


def function(m: Any, forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Square", (m.autograd.Function,), methods).apply  # type: ignore[no-any-return]


def square(m: Any, gradient: Callable[..., Any]) -> Callable[..., Any]:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    return function(m, forward, lambda ctx, g: gradient(g, ctx.saved_tensors[0]))


def test_what_is_right_passes(device: str) -> None:
    x = gc.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=gc.float64, device=device, requires_grad=True)
    right = square(gc, lambda g, x: 2 * g * x)
    for fast in (False, True):
        assert gc.autograd.gradcheck(right, x, fast_mode=fast) and gc.autograd.gradgradcheck(right, x, fast_mode=fast)
        assert gc.autograd.gradcheck(right, (x.detach()[:0].requires_grad_(),), fast_mode=fast)
        assert gc.autograd.gradcheck(lambda t, k: (t * k, t.sum().detach(), t.argmax()), (x, 3), fast_mode=fast)
        assert gc.autograd.gradcheck(lambda t: (t > 0).to(gc.float64), x, fast_mode=fast)  # a gradient of zero
    before = x.detach().clone()
    assert gc.autograd.gradcheck(lambda _: x.exp() * 2, x)  # which a closure may use, too
    assert gc.equal(x, before) and x._version == 0


WRONG: dict[str, Code] = {
    "factor": lambda m, d: m.autograd.gradcheck(square(m, lambda g, x: 3 * g * x), double(m, 1.0, -2.0)),
    "nothing": lambda m, d: m.autograd.gradcheck(square(m, lambda g, x: None), double(m, 1.0, -2.0)),
    "second input": lambda m, d: m.autograd.gradcheck(
        lambda k, a, b: (a * k, a * square(m, lambda g, x: g * x)(b)), (3, double(m, 1.0, 2.0), double(m, 3.0, 4.0))
    ),
    "not linear": lambda m, d: m.autograd.gradcheck(square(m, lambda g, x: 2 * x * g + 1), double(m, 0.25)),
    "not zero at zero": lambda m, d: m.autograd.gradcheck(
        square(m, lambda g, x: 2 * x * g + 1e-7), double(m, 1.0, -2.0)
    ),
    "detached": lambda m, d: m.autograd.gradcheck(lambda t: t.detach() * 2, double(m, 1.0)),
    "detached, fast": lambda m, d: m.autograd.gradcheck(lambda t: t.detach() * 2, double(m, 1.0), fast_mode=True),
    "no input": lambda m, d: m.autograd.gradcheck(lambda t: t, m.ones(1, dtype=m.float64)),
    "stride 0": lambda m, d: m.autograd.gradcheck(lambda t: t * 2, double(m, 1.0).expand(3)),
    "shape": lambda m, d: m.autograd.gradcheck(
        lambda t: t * 2 if float(t.detach()[0]) > 1 else t[:1], double(m, 1.0, 2.0)
    ),
    "dtype, fast": lambda m, d: m.autograd.gradcheck(
        lambda t: t * 2 if float(t.detach()[0]) > 1 else t.float(), double(m, 1.0, 2.0), fast_mode=True
    ),
    "wrong shape": lambda m, d: m.autograd.gradcheck(square(m, lambda g, x: g[:2]), double(m, 1.0, 2.0, 3.0)),
    "no mode": lambda m, d: m.autograd.gradcheck(lambda t: t, double(m, 1.0), check_backward_ad=False),
    "no mode of gradgradcheck": lambda m, d: m.autograd.gradgradcheck(
        lambda t: t, double(m, 1.0), check_rev_over_rev=False
    ),
    "batched without backward mode": lambda m, d: m.autograd.gradcheck(
        lambda t: t, double(m, 1.0), check_backward_ad=False, check_forward_ad=True, check_batched_grad=True
    ),
    "batched without forward mode": lambda m, d: m.autograd.gradcheck(
        lambda t: t, double(m, 1.0), check_batched_forward_grad=True
    ),
    "undefined without backward mode": lambda m, d: m.autograd.gradgradcheck(
        lambda t: t, double(m, 1.0), check_rev_over_rev=False, check_fwd_over_rev=True
    ),
    "second derivative": lambda m, d: m.autograd.gradgradcheck(
        square(m, lambda g, x: 2 * g * x.detach()), double(m, 1.0), double(m, 1.0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_fails_in_pytorchs_words(case: str) -> None:
    fails(WRONG[case])


@pytest.mark.parametrize("fast", [False, True])
def test_a_failed_check_raises_or_returns_false(fast: bool) -> None:
    x = double(gc, 1.0, -2.0, 0.5)
    for wrong, check in [
        (square(gc, lambda g, x: g * x), gc.autograd.gradcheck),
        (square(gc, lambda g, x: 2 * g * x.detach()), gc.autograd.gradgradcheck),
        (square(gc, lambda g, x: 2 * g * x + 1e-9 * gc.randn(3, dtype=gc.float64)), gc.autograd.gradcheck),
    ]:
        with pytest.raises(gc.autograd.GradcheckError):
            check(wrong, x, fast_mode=fast)
        assert check(wrong, x, fast_mode=fast, raise_exception=False) is False
    assert np.array_equal(x.detach().numpy(), [1.0, -2.0, 0.5])


def test_fast_mode_shows_the_jacobians_it_did_not_compare() -> None:
    def text(m: Any, d: str) -> Any:
        wrong = square(m, lambda g, x: 3 * g * x)
        with pytest.raises(RuntimeError) as error:
            m.autograd.gradcheck(wrong, double(m, 1.0), fast_mode=True)
        lines = str(error.value).split("\n")
        return lines[:3] + [line for line in lines if "tensor(" in line or "max per-element" in line]

    assert len(does(text)) == 6


def test_errors_that_only_add_up_in_a_projection() -> None:
    x = gc.tensor([1.0, -1.0] * 10, dtype=gc.float64, requires_grad=True)
    almost = square(gc, lambda g, x: g * (2 * x + 9e-4 * 2 * x.abs()))  # within rtol, but all errors of one sign
    assert gc.autograd.gradcheck(almost, x)
    with pytest.raises(gc.autograd.GradcheckError, match=r"would have passed in slow mode \(fast_mode=False\)"):
        gc.autograd.gradcheck(almost, x, fast_mode=True, atol=1e-8)


def test_a_gradient_that_changes_from_pass_to_pass(device: str) -> None:
    noise = iter([0.0, 0.0, 0.0, 1e-9] * 100)
    x = gc.tensor([1.0, 2.0], dtype=gc.float64, device=device, requires_grad=True)
    noisy = square(gc, lambda g, x: 2 * g * x + g * next(noise))
    with pytest.raises(gc.autograd.GradcheckError, match="Backward is not reentrant.*nondeterminism was 0.0"):
        gc.autograd.gradcheck(noisy, x)
    assert gc.autograd.gradcheck(noisy, x, nondet_tol=1e-8)


def test_dtypes_of_gradients() -> None:
    single = square(gc, lambda g, x: (2 * g * x).float())
    assert gc.autograd.gradcheck(single, double(gc, 1.0, 2.0))
    with pytest.raises(gc.autograd.GradcheckError, match=r"dtype mismatch.*dtype gradcore.float32 at index 0"):
        gc.autograd.gradcheck(single, double(gc, 1.0, 2.0), check_grad_dtypes=True)
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        assert gc.autograd.gradcheck(lambda t: t * 2, gc.ones(2, requires_grad=True), eps=1e-2, atol=1e-2)


def test_masked_takes_almost_zeros_of_zeros() -> None:
    almost = square(gc, lambda g, x: 2 * g * x + 1e-9)
    with pytest.raises(gc.autograd.GradcheckError, match="backward not multiplied by grad_output"):
        gc.autograd.gradcheck(almost, double(gc, 1.0, 2.0))
    assert gc.autograd.gradcheck(almost, double(gc, 1.0, 2.0), masked=True, check_undefined_grad=False)


def _two(m: Any, backward: Callable[..., Any]) -> Callable[..., Any]:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    return function(m, forward, lambda ctx, a, b: backward(a, b))


def test_undefined_gradients() -> None:
    def summed(a: Any, b: Any) -> Any:
        return sum(k * g for k, g in ((2, a), (3, b)) if g is not None)

    def both(a: Any, b: Any) -> Any:
        return a * 2 + b * 3

    def raising(a: Any, b: Any) -> Any:
        if a is None and not b.any():  # zeros instead of the first: what slices of one gradient never give
            raise RuntimeError("undefined")
        return summed(a, b)

    def one(a: Any, b: Any) -> Any:
        return summed(a, b) + (0 if a is not None or b.any() else 1)

    x = double(gc, 1.0, 2.0)
    assert gc.autograd.gradcheck(_two(gc, summed), x)
    with pytest.raises(TypeError, match="NoneType"):  # a mistake in the user's code is shown as it is
        gc.autograd.gradcheck(_two(gc, both), x)
    with pytest.raises(gc.autograd.GradcheckError, match="Expected backward function to handle undefined output grads"):
        gc.autograd.gradcheck(_two(gc, raising), x)
    with pytest.raises(gc.autograd.GradcheckError, match="Expected all input grads to be undefined or zero when all"):
        gc.autograd.gradcheck(_two(gc, one), x)
    for wrong in (raising, one):
        assert gc.autograd.gradcheck(_two(gc, wrong), x, check_undefined_grad=False)


def test_gradients_of_the_outputs_of_gradgradcheck() -> None:
    seen: list[Any] = []

    def recorded(a: Any, b: Any) -> Any:
        return _watched(a.exp() * b, seen)

    x, y = double(gc, [1.0, 2.0], [3.0, 0.5]), double(gc, [-1.0, 0.5])
    assert gc.autograd.gradgradcheck(recorded, (x, y), gen_non_contig_grad_outputs=True)
    assert seen and not any(seen)
    seen.clear()
    assert gc.autograd.gradgradcheck(recorded, (x, y))
    assert seen and all(seen)
    seen.clear()
    assert gc.autograd.gradgradcheck(recorded, (x, y), double(gc, [1.0, 0.0], [2.0, 3.0]))


def _watched(out: Any, contiguous: list[bool]) -> Any:
    out.register_hook(lambda g: contiguous.append(g.is_contiguous()))
    return out


def test_batched_forward_mode() -> None:
    class Branching(gc.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def jvp(ctx: Any, t: Any) -> Any:
            return t * 2 if t.sum().item() != 0.125 else t

    x = double(gc, 1.0, 2.0)
    options = {"check_forward_ad": True, "check_backward_ad": False}
    assert gc.autograd.gradcheck(lambda t: t.exp() * t.sum(), x, check_batched_forward_grad=True, **options)
    assert gc.autograd.gradcheck(Branching.apply, x, **options)
    with pytest.raises(gc.autograd.GradcheckError, match="While computing batched gradients, got: "):
        gc.autograd.gradcheck(Branching.apply, x, check_batched_forward_grad=True, **options)
