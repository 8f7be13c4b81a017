"""Steps of every kind, over and over, leave memory as it was, without the garbage collector; and very large graphs.

What a single graph keeps alive is the matter of test_memory.py.
"""

from __future__ import annotations

import gc as collector
import tracemalloc
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from test_memory import _on_a_thread, no_collector

import gradcore as gc
from gradcore.autograd import graph, tape
from gradcore.autograd.grad_mode import mode

SIZE = 1 << 14  # elements; one array of them is more than all that Python itself keeps for later


class Failing(gc.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        ctx.half = x / 2
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        raise KeyError


class FailingForward(gc.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        ctx.half = x / 2
        raise KeyError


class Exp(gc.autograd.Function):
    """Keeps what it computes, which its second derivative refuses."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.y = x.exp()
        ctx.more = [ctx.y * 2, {"y": ctx.y}]
        return ctx.y * 1

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.y + 0 * ctx.more[0]


def fail(*args: Any) -> Any:
    raise KeyError


def _penalty(x: Any) -> None:
    (g,) = gc.autograd.grad((x * x.tanh()).sum(), x, create_graph=True)
    (g * g).sum().backward()


def _third_order(x: Any) -> None:
    y = (x**4).sum()
    for _ in range(3):
        (g,) = gc.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    y.backward()


def _recorded_gradients(x: Any) -> None:
    """A cycle of leaf, gradient and graph, which `x.grad = None` breaks."""
    (x * x).sum().backward(create_graph=True)


def _refused(x: Any) -> None:
    (g,) = gc.autograd.grad(Exp.apply(x).sum() + (x**3).sum(), x, create_graph=True)
    with suppress(RuntimeError):
        g.sum().backward()


def _failing_function(x: Any) -> None:
    for F in (Failing, FailingForward):
        with suppress(KeyError):
            (F.apply(x * 1) * 2).sum().backward()
    with suppress(KeyError):
        gc.autograd.grad(Failing.apply(x).sum(), x, create_graph=True)


def _failing_hooks(x: Any) -> None:
    for register in (
        lambda y: y.register_hook(fail),
        lambda y: y.grad_fn.register_hook(fail),
        lambda y: y.grad_fn.register_prehook(fail),
        lambda y: x.register_hook(fail),
        lambda y: x.register_post_accumulate_grad_hook(fail),
        lambda y: graph.register_multi_grad_hook((x, y), fail),
    ):
        y = x * 2
        with register(y), suppress(KeyError):
            (y * y).sum().backward()
        x.grad = None


def _failing_saved_hooks(x: Any) -> None:
    with graph.saved_tensors_hooks(lambda t: t, fail):
        y = (x * x).sum()
    with suppress(KeyError):
        y.backward()
    with suppress(KeyError), graph.saved_tensors_hooks(fail, lambda t: t):
        x * x


def _changed(x: Any) -> None:
    y = (x * 1).exp()
    z = y.exp()
    y.add_(1)
    with suppress(RuntimeError):
        z.sum().backward()


def _anomaly(x: Any) -> None:
    with gc.autograd.set_detect_anomaly(True):
        _changed(x)
        _failing_function(x)
        with suppress(RuntimeError):
            ((x * 0).sqrt() * 0).sum().backward()
        with suppress(RuntimeError):
            (x + (x.detach() - 2).log()).mean().backward()
        _penalty(x)


def _inference(x: Any) -> None:
    with gc.inference_mode():
        y = x * 2
        y[0].add_(1)
    with suppress(RuntimeError):
        x * y


def _mutation(x: Any) -> None:
    with graph.allow_mutation_on_saved_tensors():
        y = x * 1
        z = y.exp()
        y.mul_(2)
        z.mul_(2).sum().backward()


def _checkpoints(x: Any) -> None:
    for function in (lambda t: t.exp().sin(), lambda t: Failing.apply(t.exp())):
        with suppress(KeyError):
            gc.utils.checkpoint.checkpoint(function, x * 1, use_reentrant=False).sum().backward()


def _views(x: Any) -> None:
    y = x * 1
    row = y[:10]
    row.mul_(2)
    y[5] = 3
    (y.sum() + row.sum()).backward()


def _retained(x: Any) -> None:
    for create_graph in (False, True):
        y = x * 1
        y.retain_grad()
        (y * y).sum().backward(create_graph=create_graph)
        x.grad = None


def _transforms(x: Any) -> None:
    gc.func.grad(lambda t: gc.func.grad(lambda u: (u**3).sum())(t).sum())(x)
    gc.func.jvp(lambda t: t.sin(), (x,), (x,))
    with suppress(RuntimeError):
        gc.autograd.gradcheck(lambda t: t.detach() * t, x[:2].detach().double().requires_grad_())


STEPS: dict[str, Callable[[Any], None]] = {
    f.__name__.strip("_"): f
    for f in (
        _penalty,
        _third_order,
        _recorded_gradients,
        _refused,
        _failing_function,
        _failing_hooks,
        _failing_saved_hooks,
        _changed,
        _anomaly,
        _inference,
        _mutation,
        _checkpoints,
        _views,
        _retained,
        _transforms,
    )
}


def growth(step: Callable[[], None], times: int) -> tuple[int, int]:
    """By how many objects, and how many bytes, `times` steps more let the process grow."""

    def state() -> tuple[int, int]:
        return len(collector.get_objects()), tracemalloc.get_traced_memory()[0]

    with no_collector(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):  # caches are filled
            step()
        tracemalloc.start()
        try:
            step()
            objects, size = state()
            for _ in range(times):
                step()
            more_objects, more_size = state()
        finally:
            tracemalloc.stop()
    return more_objects - objects, more_size - size


def test_the_measure_sees_a_leak() -> None:
    kept: list[Any] = []
    objects, size = growth(lambda: kept.append(gc.ones(SIZE) + 1), 10)
    assert objects >= 10 and size >= 10 * 4 * SIZE


@pytest.mark.parametrize("name", STEPS)
def test_steps_leave_nothing_behind(name: str, device: str) -> None:
    x = gc.ones(SIZE if device == "cpu" else 64, device=device, requires_grad=True)

    def step() -> None:
        STEPS[name](x)
        x.grad = None

    before = tape._watchers, mode.enabled
    objects, size = growth(step, 12)
    assert objects < 12, f"{objects} objects in 12 steps"
    if device == "cpu":
        assert size < 4 * SIZE, f"{size} bytes in 12 steps, {4 * SIZE} are one array"
    assert before == (tape._watchers, mode.enabled) and mode.observers == () and mode.running is None


def test_an_error_in_backward_does_not_keep_the_graph() -> None:
    """The traceback of the error does, as long as somebody has that."""
    x = gc.ones(4, requires_grad=True)
    with no_collector():
        y = Failing.apply((x * 2).exp())
        node, array = weakref.ref(y.grad_fn), weakref.ref(y._array)
        try:
            y.sum().backward()
        except KeyError:
            pass
        del y
        assert node() is None and array() is None


# ---------------------------------------------------------------- very large graphs
MANY = 100_000


def test_a_hundred_thousand_nodes_in_a_chain() -> None:
    def chain() -> None:
        x = gc.ones(1, dtype=gc.float64, requires_grad=True)
        y = x
        for _ in range(MANY):
            y = y * 1.00001
        first, last = weakref.ref(y.grad_fn.next_functions[0][0]), weakref.ref(y.grad_fn)
        (g,) = gc.autograd.grad(y, x, retain_graph=True)
        assert g.item() == pytest.approx(1.00001**MANY)
        y.backward()
        assert x.grad.tolist() == g.tolist()
        del y
        assert first() is None and last() is None

    _on_a_thread(chain)


def test_a_second_derivative_of_a_hundred_thousand_nodes() -> None:
    def chain() -> None:
        x = gc.ones(1, dtype=gc.float64, requires_grad=True)
        y = x
        for _ in range(MANY // 2):
            y = y * x
        (g,) = gc.autograd.grad(y, x, create_graph=True)
        node = weakref.ref(g.grad_fn)
        (h,) = gc.autograd.grad(g, x)
        n = MANY // 2 + 1
        assert g.tolist() == [n] and h.item() == pytest.approx(n * (n - 1))
        del y, g
        assert node() is None

    _on_a_thread(chain)


def test_a_hundred_thousand_nodes_side_by_side() -> None:
    def fan() -> None:
        x = gc.ones(1, dtype=gc.float64, requires_grad=True)
        rows = [x * k for k in range(MANY // 2)]
        gc.stack(rows).sum().backward(retain_graph=True)
        assert x.grad.item() == sum(range(MANY // 2))
        (g,) = gc.autograd.grad(tree(rows), x)
        assert g.tolist() == x.grad.tolist()

    def tree(parts: list[Any]) -> Any:
        while len(parts) > 1:
            parts = [a + b for a, b in zip(parts[::2], parts[1::2])] + parts[len(parts) & ~1 :]
        return parts[0]

    _on_a_thread(fan)
