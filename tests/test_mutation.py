"""`graph.increment_version` and `graph.allow_mutation_on_saved_tensors`, compared with PyTorch."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import does, fails, leaf
from test_function import make

import gradcore as gc
from gradcore.autograd.grad_mode import mode


# ---------------------------------------------------------------- increment_version
def test_versions_are_counted(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        increment = m.autograd.graph.increment_version
        x, y, w = m.ones(2, device=d), m.ones(2, device=d), leaf(m, d, [1.0])
        increment(x)
        increment([x, y])
        increment((x, x))
        increment(t for t in [y, w])
        increment(x[0])
        increment(m.inference_mode()(lambda: m.ones(1))())
        return [t._version for t in (x, y, w)]

    assert does(code, device) == [5, 2, 1]


def test_a_change_by_others_is_noticed(device: str) -> None:
    def code(m: Any, d: str) -> None:
        y = leaf(m, d, [1.0, 2.0]) * 1
        z = y * y
        y.detach().data.mul_(2)
        m.autograd.graph.increment_version(y)
        z.sum().backward()

    found = fails(code, device, wording=False)
    assert "has been modified by an inplace operation" in found and "is at version 1; expected version 0" in found


INCREMENT_MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "number": (lambda m: 3, "RuntimeError: increment_version expect a Iterable[Tensor] as input"),
    "numbers": (lambda m: [3], "RuntimeError: increment_version expects each element of the iterable to be a tensor"),
}


@pytest.mark.parametrize("case", INCREMENT_MISTAKES)
def test_increment_version_of_something_else(case: str) -> None:
    make_argument, expected = INCREMENT_MISTAKES[case]
    assert fails(lambda m, d: m.autograd.graph.increment_version(make_argument(m))).startswith(expected)


def test_a_mistake_counts_nothing() -> None:
    x = gc.ones(1)
    with pytest.raises(RuntimeError):
        gc.autograd.graph.increment_version([x, 3])  # type: ignore[list-item]
    assert x._version == 0


# ---------------------------------------------------------------- allow_mutation_on_saved_tensors
def _square(x: Any) -> Any:
    return (x**2).sum()


def _no_grad(m: Any, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def changed(x: Any) -> None:
        with m.no_grad():
            change(x)

    return changed


def _setitem(x: Any) -> None:
    x[0] = 5.0


CHANGES: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "once": lambda m: lambda b: b.sin_(),
    "twice": lambda m: lambda b: b.sin_().cos_(),
    "operator": lambda m: lambda b: b.__imul__(3),
    "setitem": lambda m: _setitem,
    "a view": lambda m: lambda b: b[:1].mul_(3),
    "detached": lambda m: lambda b: b.detach().zero_(),
    "data": lambda m: lambda b: b.data.mul_(3),
    "no_grad": lambda m: _no_grad(m, lambda b: b.add_(1)),
    "by another": lambda m: lambda b: b.copy_(m.zeros_like(b)),
    "not at all": lambda m: lambda b: None,
}


@pytest.mark.parametrize("case", CHANGES)
def test_the_old_values_are_used(case: str, device: str) -> None:
    def code(m: Any, d: str) -> Any:
        a = leaf(m, d, [1.0, 2.0])
        with m.autograd.graph.allow_mutation_on_saved_tensors():
            b = a.clone()
            out = (b**2).sum() + b.exp().sum()
            CHANGES[case](m)(b)
            out.backward(retain_graph=True)
            first = a.grad.clone()
            out.backward()
        return first, a.grad, b

    first, *_ = does(code, device)
    assert first == pytest.approx((2 * np.array([1.0, 2.0]) + np.exp([1.0, 2.0])).tolist())


def test_views_changed_one_after_the_other(device: str) -> None:
    """PyTorch's gradient has some of the new values."""
    a = leaf(gc, device, [1.0, 2.0])
    with gc.autograd.graph.allow_mutation_on_saved_tensors():
        b = a.clone()
        out = (b**2).sum() + b.exp().sum()
        b.view(2)[1:].mul_(3)
        b[:1].mul_(2)
        out.backward()
    assert a.grad.tolist() == pytest.approx((2 * np.array([1.0, 2.0]) + np.exp([1.0, 2.0])).tolist())


def test_results_leaves_functions_and_higher_orders(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        found = []
        with m.autograd.graph.allow_mutation_on_saved_tensors():
            a = leaf(m, d, [1.0, 2.0])
            out = a.clone().exp()
            out.mul_(2)  # exp saves its result
            found.append(m.autograd.grad(out.sum(), a))
            loss = _square(a)
            with m.no_grad():
                a.mul_(3)
            found.append(m.autograd.grad(loss, a))

            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x**2

            b = a.clone()
            loss = make(m, forward, lambda ctx, g: 2 * g * ctx.saved_tensors[0]).apply(b).sum()
            b.sin_()
            found.append(m.autograd.grad(loss, a))
            b = a.clone()
            loss = (b**3).sum()
            (g,) = m.autograd.grad(loss, a, create_graph=True)
            b.sin_()
            found.append(m.autograd.grad(g.sum(), a))
        return found

    assert does(code, device)[1] == [[2.0, 4.0]]


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_an_optimizer_may_step_before_the_backward_pass(kind: str, device: str) -> None:
    def code(m: Any, d: str) -> Any:
        w = leaf(m, d, [1.0, 2.0])
        optimizer = getattr(m.optim, kind)([w], lr=0.1)
        with m.autograd.graph.allow_mutation_on_saved_tensors():
            loss = _square(w)
            w.grad = m.ones(2, device=d)
            optimizer.step()
            return m.autograd.grad(loss, w), w

    assert does(code, device)[0] == [[2.0, 4.0]]


def _outside(m: Any, d: str) -> None:
    a = leaf(m, d, [1.0])
    with m.autograd.graph.allow_mutation_on_saved_tensors():
        out = _square(a.clone())
    out.backward()


def _in_another(m: Any, d: str) -> None:
    a = leaf(m, d, [1.0])
    with m.autograd.graph.allow_mutation_on_saved_tensors():
        out = _square(a.clone())
    with m.autograd.graph.allow_mutation_on_saved_tensors():
        out.backward()


def _cleared(m: Any, d: str) -> None:
    a = leaf(m, d, [1.0])
    with m.autograd.graph.allow_mutation_on_saved_tensors() as saved:
        out = _square(a.clone())
        saved.clear()
        out.backward()


def _nested(m: Any, d: str) -> None:
    with m.autograd.graph.allow_mutation_on_saved_tensors(), m.autograd.graph.allow_mutation_on_saved_tensors():
        pass


def _disabled(m: Any, d: str) -> None:
    with m.autograd.graph.disable_saved_tensors_hooks("no hooks"), m.autograd.graph.allow_mutation_on_saved_tensors():
        pass


def _saved_outside(m: Any, d: str) -> None:
    b = leaf(m, d, [1.0]) * 1
    out = _square(b)
    with m.autograd.graph.allow_mutation_on_saved_tensors():
        b.sin_()
        out.backward()


LEFT = (
    "AssertionError: Trying to backward outside of the 'allow_mutation_on_saved_tensors' contextin which the graph was"
)
MISTAKES: dict[str, tuple[Callable[[Any, str], None], str]] = {
    "outside": (_outside, LEFT),
    "in another": (_in_another, LEFT),
    "cleared": (_cleared, LEFT),
    "nested": (_nested, "RuntimeError: allow_mutation_on_saved_tensors contexts cannot be nested"),
    "disabled": (_disabled, "RuntimeError: no hooks"),
    "saved outside": (
        _saved_outside,
        "RuntimeError: one of the variables needed for gradient computation has been mod",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake(case: str, device: str) -> None:
    code, expected = MISTAKES[case]
    assert fails(code, device, wording=case != "saved outside").startswith(expected)
    assert mode.observers == () and mode.saved_hooks == ()


def test_a_change_that_cannot_be_foreseen_is_an_error(device: str) -> None:
    with gc.autograd.graph.allow_mutation_on_saved_tensors():
        b = leaf(gc, device, [1.0]) * 1
        out = _square(b)
        gc.autograd.graph.increment_version(b)
        with pytest.raises(RuntimeError, match="learned of afterwards"):
            out.backward()


def test_only_what_is_changed_is_copied_and_once(device: str) -> None:
    a = leaf(gc, device, [1.0, 2.0])
    with gc.autograd.graph.allow_mutation_on_saved_tensors() as saved:
        b, c = a.clone(), a.clone()
        out = _square(b) + _square(b) + _square(c)
        assert out.item() == 15.0
        handles = list(saved._all)
        assert [h.copied for h in handles] == [False] * 3
        b.sin_()
        copies = [h.array for h in handles]
        b.cos_()
        assert [h.array for h in handles] == copies
        assert [h.array is c._array for h in handles if not h.copied] == [True]


def test_each_thread_has_its_own() -> None:
    errors: list[str] = []

    def other() -> None:
        b = leaf(gc, "cpu", [1.0]) * 1
        out = _square(b)
        b.sin_()
        try:
            out.backward()
        except RuntimeError as error:
            errors.append(str(error))

    with gc.autograd.graph.allow_mutation_on_saved_tensors():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1 and "modified by an inplace operation" in errors[0]


def test_a_dropped_graph_is_free_within_the_block() -> None:
    a = leaf(gc, "cpu", [1.0])
    with gc.autograd.graph.allow_mutation_on_saved_tensors() as saved:
        b = a * 1
        array = weakref.ref(b._array)
        out = _square(b)
        del b, out
        assert array() is None and len(saved._all) == 0
