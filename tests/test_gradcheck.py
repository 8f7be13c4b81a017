"""`gradcheck` and `gradgradcheck`: they pass what is right and fail what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gradcore as gc


def _square(backward: Callable[..., Any]) -> Callable[..., Any]:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    methods = {"forward": forward, "backward": lambda ctx, g: backward(g, ctx.saved_tensors[0])}
    return type("Square", (gc.autograd.Function,), {k: staticmethod(f) for k, f in methods.items()}).apply  # type: ignore[attr-defined, no-any-return]


def test_gradcheck_passes_what_is_right(device: str) -> None:
    x = gc.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=gc.float64, device=device, requires_grad=True)
    right = _square(lambda g, x: 2 * g * x)
    assert gc.autograd.gradcheck(right, x) and gc.autograd.gradgradcheck(right, x)
    assert gc.autograd.gradcheck(right, (x.detach()[:0].requires_grad_(),))
    assert gc.autograd.gradcheck(lambda t, k: (t * k, t.sum().detach()), (x, 3))
    assert gc.autograd.gradcheck(lambda t: (t > 0).to(gc.float64), x)  # a gradient of zero


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda g, x: g * x, "Jacobian mismatch for output 0 with respect to input 0"),
        (lambda g, x: None, "Jacobian mismatch"),
        (lambda g, x: 2 * g * x + 1e-3, "Jacobian mismatch"),
        (lambda g, x: (2 * g * x).float(), "returned a gradient of dtype gradcore.float32 at index 0"),
        (lambda g, x: 2 * g * x + 1e-9 * gc.randn(3, dtype=gc.float64), "Backward is not reentrant"),
    ],
)  # fmt: skip
def test_gradcheck_fails_a_wrong_gradient(backward: Callable[..., Any], message: str) -> None:
    x = gc.tensor([1.0, -2.0, 0.5], dtype=gc.float64, requires_grad=True)
    with pytest.raises(gc.autograd.GradcheckError, match=message):
        gc.autograd.gradcheck(_square(backward), x)
    assert not gc.autograd.gradcheck(_square(backward), x, raise_exception=False)


def test_gradcheck_fails_a_wrong_shape_a_detached_result_and_a_wrong_input() -> None:
    x = gc.tensor([1.0, -2.0, 0.5], dtype=gc.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="invalid gradient at index 0"):
        gc.autograd.gradcheck(_square(lambda g, x: g[:2]), x)
    with pytest.raises(gc.autograd.GradcheckError, match="Numerical gradient for function expected to be zero"):
        gc.autograd.gradcheck(lambda t: t.detach() * 2, x)
    with pytest.raises(gc.autograd.GradcheckError, match="output 1 with respect to input 1"):
        gc.autograd.gradcheck(lambda a, b: (a * b, a * b.detach()), (x, x.detach().clone().requires_grad_()))
    with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
        gc.autograd.gradcheck(lambda t: t, x.detach())
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        assert gc.autograd.gradcheck(lambda t: t * 2, x.detach().float().requires_grad_(), eps=1e-2, atol=1e-2)


def test_gradgradcheck_fails_a_wrong_second_derivative() -> None:
    x = gc.tensor([1.0, -2.0, 0.5], dtype=gc.float64, requires_grad=True)
    detached = _square(lambda g, x: 2 * g * x.detach())
    assert gc.autograd.gradcheck(detached, x)
    with pytest.raises(gc.autograd.GradcheckError, match="Jacobian mismatch"):
        gc.autograd.gradgradcheck(detached, x)
    assert not gc.autograd.gradgradcheck(detached, x, raise_exception=False)
    assert gc.autograd.gradgradcheck(_square(lambda g, x: 2 * g * x), x, x.detach().clone().requires_grad_())
