"""`utils.checkpoint`: the same gradients with less memory; random numbers, nesting, and what goes wrong."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import Any

import pytest
from behaviour import does, leaf

import gradcore as gc
from gradcore import nn
from gradcore.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)


def _block(m: Any, x: Any, w: Any) -> Any:
    return ((x @ w).sigmoid() * x).exp().sin()


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("use_reentrant", [False, None])
def test_gradients_of_any_order(device: str, early_stop: bool, use_reentrant: bool | None) -> None:
    def code(m: Any, d: str) -> Any:
        from importlib import import_module

        run = import_module(f"{m.__name__}.utils.checkpoint").checkpoint if m is gc or use_reentrant is False else None
        x, w = leaf(m, d, [[0.1, 0.2], [0.3, 0.4]]), leaf(m, d, [[0.5, -0.5], [0.25, 1.0]])
        if run is None:
            y = _block(m, x, w)
        else:
            y = run(lambda a, b: _block(m, a, b), x, w, use_reentrant=use_reentrant, early_stop=early_stop)
        grads = m.autograd.grad(y.sum(), (x, w), create_graph=True)
        second = m.autograd.grad(sum(g.sum() for g in grads), (x, w), retain_graph=True)
        y.sum().backward()
        return y, grads, second, x.grad, w.grad

    does(code, device)


def test_what_is_inside_is_not_kept(device: str) -> None:
    held: list[Any] = []

    def inside(x: gc.Tensor) -> gc.Tensor:
        y = x.exp()
        held.append(weakref.ref(y._array))
        return y.sin().cos()

    x = gc.ones(4, device=device, requires_grad=True)
    plain = inside(x)
    assert held[0]() is not None
    kept = checkpoint(inside, x, use_reentrant=False)
    assert held[1]() is None
    kept.sum().backward()
    assert len(held) == 3 and held[2]() is None  # computed once more, and gone after the pass
    (expected,) = gc.autograd.grad(plain.sum(), x)
    assert x.grad.tolist() == expected.tolist()


def test_one_recomputation_a_pass_and_none_without_one() -> None:
    count = [0]

    def inside(x: gc.Tensor) -> gc.Tensor:
        count[0] += 1
        return x.exp().sin().exp()

    x = gc.ones(2, requires_grad=True)
    y = checkpoint(inside, x)
    y.sum().backward(retain_graph=True)
    assert count == [2]
    y.sum().backward()
    assert count == [3]
    with gc.no_grad():
        assert not checkpoint(inside, x).requires_grad
    assert count == [4]
    assert not checkpoint(inside, gc.ones(2)).requires_grad


def test_nested(device: str) -> None:
    held: list[Any] = []

    def inner(x: gc.Tensor) -> gc.Tensor:
        y = x.exp()
        held.append(weakref.ref(y._array))
        return y.sin()

    def outer(x: gc.Tensor) -> gc.Tensor:
        between = x.cos()
        held.append(weakref.ref(between._array))
        return checkpoint(inner, between).tanh()

    x = gc.tensor([0.5, 1.0], device=device, requires_grad=True)
    y = checkpoint(outer, x)
    assert all(reference() is None for reference in held)
    (g,) = gc.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = gc.autograd.grad(g.sum(), x)
    plain = x.cos().exp().sin().tanh()
    (expected,) = gc.autograd.grad(plain.sum(), x, create_graph=True)
    (second,) = gc.autograd.grad(expected.sum(), x)
    assert g.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert h.tolist() == pytest.approx(second.tolist(), rel=1e-5)
    assert all(reference() is None for reference in held)


def test_random_numbers_are_repeated(device: str) -> None:
    x = gc.ones(64, device=device, requires_grad=True)
    y = checkpoint(lambda t: nn.functional.dropout(t * 3, 0.5), x)
    gc.manual_seed(7)
    expected = gc.rand(2)
    gc.manual_seed(7)
    (g,) = gc.autograd.grad(y.sum(), x)
    assert g.tolist() == (y * 1).tolist()  # 6 where kept, 0 where dropped
    assert 0 < (g == 0).sum().item() < 64
    assert gc.rand(2).tolist() == expected.tolist()  # the generator is where it was


def test_random_numbers_may_differ() -> None:
    masks: list[Any] = []

    def inside(x: gc.Tensor) -> gc.Tensor:
        masks.append(gc.rand(8).tolist())
        return x.exp()

    x = gc.ones(8, requires_grad=True)
    checkpoint(inside, x, preserve_rng_state=False).sum().backward()
    checkpoint(inside, x).sum().backward()
    assert masks[0] != masks[1] and masks[2] == masks[3]


def test_arguments_of_any_form() -> None:
    a, b = gc.tensor([1.0, 2.0], requires_grad=True), gc.tensor([3.0, 4.0], requires_grad=True)
    index = gc.tensor([1, 0])

    def inside(pair: Any, scale: float, *, options: dict[str, Any]) -> Any:
        return {"y": (pair[0] * pair[1])[options["index"]] * scale, "n": 3}

    found = checkpoint(inside, (a, b), 2.0, options={"index": index})
    assert found["n"] == 3
    (found["y"] * gc.tensor([1.0, 10.0])).sum().backward()
    assert a.grad.tolist() == [60.0, 8.0] and b.grad.tolist() == [20.0, 4.0]


def test_inputs_changed_before_the_backward_pass_are_noticed() -> None:
    x = gc.ones(2, requires_grad=True)
    h = x * 2
    y = checkpoint(lambda t: t.exp(), h)
    h.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_contexts() -> None:
    log: list[str] = []

    @contextmanager
    def noted(name: str) -> Any:
        log.append(name)
        yield

    x = gc.ones(2, requires_grad=True)
    y = checkpoint(lambda t: t.exp(), x, context_fn=lambda: (noted("first"), noted("second")))
    assert log == ["first"]
    y.sum().backward()
    assert log == ["first", "second"]


def _changing(*functions: Any) -> Any:
    calls = iter(functions)
    return lambda x: next(calls)(x)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda x: x.exp(), "A different number of tensors was saved"),
        (lambda x: x.double().exp().sin(), r"(?s)different metadata.*position 0.*float32.*float64"),
        (lambda x: x.exp().sin().sin(), "trying to save more tensors"),
    ],
)
def test_recomputations_that_differ(second: Any, message: str) -> None:
    x = gc.ones(2, requires_grad=True)
    with set_checkpoint_early_stop(False):
        y = checkpoint(_changing(lambda x: x.exp().sin(), second), x)
    with pytest.raises(CheckpointError, match=message):
        y.sum().backward()
    assert x.grad is None
    with set_checkpoint_debug_enabled(True):
        y = checkpoint(_changing(lambda x: x.exp().sin(), second), x, early_stop=False)
    with pytest.raises(CheckpointError, match=r"test_checkpoint\.py:\d+ in <lambda>"):
        y.sum().backward()


def test_the_check_may_be_left_out() -> None:
    x = gc.ones(2, requires_grad=True)
    y = checkpoint(_changing(lambda x: x.exp(), lambda x: x.double().exp()), x, determinism_check="none")
    y.sum().backward()
    assert x.grad is not None
    with pytest.raises(ValueError, match=r"determinism_check should be one of \['default', 'none'\], but got some"):
        checkpoint(lambda x: x, x, determinism_check="some")


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_sequential(segments: int) -> None:
    model = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(4, 4), nn.Tanh())])
    x = gc.randn(3, 4)
    model(x).sum().backward()
    expected = [p.grad.tolist() for p in model.parameters()]
    model.zero_grad()
    checkpoint_sequential(model, segments, x, use_reentrant=False).sum().backward()
    assert [p.grad.tolist() for p in model.parameters()] == expected
    model.zero_grad()
    checkpoint_sequential(list(model), segments, x).sum().backward()
    assert [p.grad.tolist() for p in model.parameters()] == expected
