"""Hooks on gradients: what they see and change, their order, and what they may keep."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from behaviour import does, fails, leaf

import gradcore as gc


def test_hooks_see_and_replace_gradients(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        y = x * 3
        seen: list[Any] = []
        y.register_hook(seen.append)
        y.register_hook(lambda g: g * 10)
        y.register_hook(seen.append)
        x.register_hook(lambda g: g + 1)
        (y * y).sum().backward()
        return seen, x.grad

    assert does(code, device) == [[[6.0, 12.0], [60.0, 120.0]], [181.0, 361.0]]


def test_hooks_run_once_on_the_whole_gradient(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        y = x * 1
        seen: list[Any] = []
        y.register_hook(seen.append)
        x.register_hook(seen.append)
        (y * 2 + y * 3 + x).sum().backward()
        return seen

    assert does(code, device) == [[5.0, 5.0], [6.0, 6.0]]


def test_handles_remove(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0])
        y = x * 2
        first, second = y.register_hook(lambda g: g * 10), y.register_hook(lambda g: g * 100)
        third = x.register_hook(lambda g: g * 1000)
        first.remove()
        first.remove()
        third.remove()
        with x.register_hook(lambda g: g * 7):
            y.sum().backward(retain_graph=True)
        second.remove()
        y.sum().backward()
        return x.grad

    assert does(code, device) == [1402.0]


def test_order(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, log = leaf(m, d, [1.0]), []
        y = x * 2
        z = y * 3
        y.retain_grad()
        y.register_hook(lambda g: (log.append("y"), g * 10)[1])
        z.register_hook(lambda g: log.append("z"))
        x.register_post_accumulate_grad_hook(lambda t: log.append(("after", t is x, t.grad.item())))
        x.register_hook(lambda g: log.append(("x", x.grad)))
        z.sum().backward()
        return log, y.grad

    assert does(code, device) == [["z", "y", ["x", None], ["after", True, 60.0]], [30.0]]


def test_post_accumulate_hooks_may_update_and_clear(device: str) -> None:
    """The optimizer step inside backward."""

    def code(m: Any, d: str) -> Any:
        params = [leaf(m, d, [1.0]), leaf(m, d, [2.0])]

        def step(p: Any) -> None:
            with m.no_grad():
                p -= 0.5 * p.grad
            p.grad = None

        handles = [p.register_post_accumulate_grad_hook(step) for p in params]
        for _ in range(2):
            (params[0] * params[1]).sum().backward()
        handles[0].remove()
        (params[0] * 4).sum().backward()
        return params, [p.grad for p in params]

    assert does(code, device) == [[[-0.75], [1.5]], [[4.0], None]]


def test_hooks_of_one_result_of_several(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, seen = leaf(m, d, [1.0, 2.0, 3.0]), []
        a, b, _ = (x * 1).split(1)
        b.register_hook(lambda g: (seen.append(g), g * 5)[1])
        b.retain_grad()
        (a * 2 + b * 3).sum().backward()
        return seen, x.grad, b.grad

    assert does(code, device) == [[[3.0]], [2.0, 15.0, 0.0], [15.0]]


def test_hooks_take_part_in_grad_and_in_higher_derivatives(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, 3.0)
        y = x * x
        y.register_hook(lambda g: g * x)
        y.retain_grad()
        (g,) = m.autograd.grad(y, x, create_graph=True)  # 2 x^2
        return g, m.autograd.grad(g, x), y.grad

    assert does(code, device) == [18.0, [12.0], 3.0]


def test_retain_grad(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        x.retain_grad()
        y = x * 2
        y.retain_grad()
        y.retain_grad()
        s = (y * y).sum()
        s.backward(retain_graph=True)
        once = y.grad
        s.backward()
        return x.retains_grad, y.retains_grad, s.retains_grad, once, y.grad, y.grad is x.grad

    assert does(code, device) == [False, True, False, [4.0, 8.0], [8.0, 16.0], False]


def test_retained_gradients_follow_changes_in_place(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        y = x * 2
        y.retain_grad()
        y.mul_(3)
        base = x * 1
        v = base[:1]
        v.retain_grad()
        base.mul_(5)
        (y.sum() + v.sum()).backward()
        return y.grad, y.retains_grad, x.grad

    assert does(code, device) == [[1.0, 1.0], True, [11.0, 6.0]]


def test_what_a_hook_keeps_does_not_change(device: str) -> None:
    """Gradients are added to in place, but not those that somebody else holds."""

    def code(m: Any, d: str) -> Any:
        x, kept = leaf(m, d, [1.0, 2.0]), []
        x.register_hook(kept.append)
        y = x.view(2)
        y.register_hook(kept.append)
        seed = m.ones(2, device=d)
        for _ in range(3):
            y.backward(seed, retain_graph=True)
        x.grad.mul_(100)
        w, kept_of_w = leaf(m, d, [1.0, 2.0]), []
        w.register_hook(kept_of_w.append)
        for _ in range(2):
            (w * 2).backward(seed)
        return kept, seed, x.grad, kept_of_w, w.grad

    assert does(code, device) == [
        [[1.0, 1.0]] * 6, [1.0, 1.0], [300.0, 300.0], [[2.0, 2.0]] * 2, [4.0, 4.0],
    ]  # fmt: skip


def test_a_hook_must_return_a_tensor(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0])
        x.register_hook(lambda g: 3)
        x.sum().backward()

    assert fails(code, device, wording=False).startswith("TypeError: expected Variable, but hook returned 'int'")


def test_a_raising_hook_changes_nothing(device: str) -> None:
    x, w = (gc.ones(2, device=device, requires_grad=True) for _ in range(2))

    def fail(_: Any) -> None:
        raise KeyError("mine")

    y = x * w
    handle = y.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward(retain_graph=True)
    assert x.grad is None and w.grad is None and gc.is_grad_enabled()
    handle.remove()
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_no_warning_where_grad_is_retained() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = gc.ones(1, requires_grad=True) * 2
        y.retain_grad()
        assert y.grad is None
        y.sum().backward()
        assert y.grad.tolist() == [1.0]
