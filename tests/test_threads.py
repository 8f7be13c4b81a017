"""Forward and backward passes of several threads at once: every gradient is right, and none is lost."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_function import make

import gradcore as gc
from gradcore.autograd import tape
from gradcore.autograd.grad_mode import mode

THREADS = 6


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    """Python goes to another thread whenever it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What `work(i)` returns in each of the threads, which begin together."""
    start = threading.Barrier(threads)
    results: list[Any] = [None] * threads
    errors: list[BaseException] = []

    def run(i: int) -> None:
        try:
            start.wait()
            results[i] = work(i)
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    if errors:
        raise errors[0]
    return results


def leaf(*values: float) -> Any:
    return gc.tensor(list(values), dtype=gc.float64, requires_grad=True)


# ---------------------------------------------------------------- gradients of shared tensors
class Cube(gc.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


def test_no_update_of_a_shared_leaf_is_lost() -> None:
    """Whole numbers, so that the order of the sum makes no difference."""
    x, w = leaf(2.0, 3.0), leaf(5.0, 7.0)
    at_once(lambda i: [(x * w * k).sum().backward() for k in range(50)])
    total = THREADS * sum(range(50))
    assert x.grad.tolist() == [5 * total, 7 * total] and w.grad.tolist() == [2 * total, 3 * total]


def test_no_update_of_a_shared_graph_is_lost() -> None:
    """Leaves and results that retain their gradient."""
    x = leaf(2.0, 3.0)
    y = x * 2
    y.retain_grad()
    loss = (Cube.apply(y) + y[0] * y).sum()
    loss.backward(retain_graph=True)
    once, inner = x.grad.clone(), y.grad.clone()
    x.grad = y.grad = None
    at_once(lambda i: [loss.backward(retain_graph=True) for _ in range(200)])
    assert x.grad.tolist() == (once * (200 * THREADS)).tolist()
    assert y.grad.tolist() == (inner * (200 * THREADS)).tolist()


def test_hooks_run_once_for_each_pass() -> None:
    x = leaf(1.0)
    y = x * 3
    calls: list[str] = []  # append is atomic
    y.register_hook(lambda g: calls.append("tensor"))
    y.grad_fn.register_prehook(lambda gs: calls.append("pre"))
    y.grad_fn.register_hook(lambda gs, outputs: calls.append("post"))
    x.register_post_accumulate_grad_hook(lambda t: calls.append("leaf"))
    gc.autograd.graph.register_multi_grad_hook((x, y), lambda gs: calls.append("multi"))
    loss = (y * y).sum()
    at_once(lambda i: [loss.backward(retain_graph=True) for _ in range(20)])
    n = 20 * THREADS
    assert {name: calls.count(name) for name in calls} == dict.fromkeys(("tensor", "pre", "post", "leaf", "multi"), n)
    assert x.grad.item() == 18.0 * n


def test_a_view_whose_base_was_changed() -> None:
    """Its history is made anew by whoever asks first; the others wait for nothing and get the same."""
    for _ in range(40):
        x = leaf(1.0, 2.0)
        base = gc.zeros(2, dtype=gc.float64)
        view = base[:1].view(1)
        base.copy_(x * 3)
        found = at_once(lambda i, v=view, x=x: gc.autograd.grad((v * 2).sum(), x, retain_graph=True)[0].tolist())
        assert found == [[6.0, 0.0]] * THREADS


def test_several_modules_on_shared_parameters() -> None:
    """As Hogwild trains: forward and backward in each thread, parameters in common."""
    gc.manual_seed(0)
    model = gc.nn.Sequential(gc.nn.Linear(4, 8), gc.nn.Tanh(), gc.nn.Linear(8, 1)).double()
    batches = [gc.randn(16, 4, dtype=gc.float64) for _ in range(THREADS)]
    expected = [0.0] * 4
    for batch in batches:
        model(batch).pow(2).mean().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    at_once(lambda i: model(batches[i]).pow(2).mean().backward())
    for p, e in zip(model.parameters(), expected):
        assert (p.grad - e).abs().max().item() < 1e-12


# ---------------------------------------------------------------- graphs of their own
def test_graphs_of_their_own() -> None:
    """Higher derivatives too, and errors that stay where they are."""

    def work(i: int) -> Any:
        found = []
        for _ in range(10):
            x = leaf(i + 1.0)
            y = Cube.apply(x * 1) * x
            (g,) = gc.autograd.grad(y, x, create_graph=True)
            (h,) = gc.autograd.grad(g, x, create_graph=True)
            (k,) = gc.autograd.grad(h, x)
            found.append((g.item(), h.item(), k.item()))
            bad = x * 1
            bad.register_hook(lambda g: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                (bad * 2).backward()
            assert x.grad is None and gc.is_grad_enabled()
        return found

    for i, found in enumerate(at_once(work)):
        x = i + 1.0
        assert found == [pytest.approx((4 * x**3, 12 * x**2, 24 * x))] * 10


def test_what_is_of_the_thread_stays_in_it() -> None:
    """Modes, hooks for saved tensors, and the observers of a Function's forward."""
    before = tape._watchers

    def forward(ctx: Any, x: Any) -> Any:
        ctx.y = x.exp()
        return ctx.y * 1

    refusing = make(gc, forward, lambda ctx, g: g * ctx.y)

    def work(i: int) -> None:
        x = leaf(float(i))
        for _ in range(30):
            kind = i % 6
            if kind == 0:
                with gc.no_grad():
                    assert not (x * 2).requires_grad
            elif kind == 1:
                with gc.inference_mode():
                    assert (x * 2).is_inference()
            elif kind == 2:
                packed: list[Any] = []
                with gc.autograd.graph.saved_tensors_hooks(lambda t, p=packed: p.append(1) or t, lambda t: t):
                    y = x * x
                assert len(packed) == 2
                y.backward()
            elif kind == 3:
                with gc.autograd.graph.allow_mutation_on_saved_tensors():
                    y = x * 1
                    z = y.exp()
                    y.zero_()
                    z.backward()
            elif kind == 4:
                (g,) = gc.autograd.grad(refusing.apply(x), x, create_graph=True)
                with pytest.raises(RuntimeError, match="cannot be differentiated"):
                    g.backward()
            else:
                y = x * 2
                assert y.requires_grad and not y.is_inference() and y._counter is None
                (y * y).backward()
            assert mode.enabled and not mode.inference and mode.observers == () and mode.saved_hooks == ()

    at_once(work)
    assert tape._watchers == before


def test_lines_and_anomaly_mode_switched_beside_the_work() -> None:
    """They are of the process; switching them harms no pass that is running."""
    x = leaf(2.0)
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            with gc.autograd.set_detect_anomaly(True), gc.autograd.trace_lines():
                pass

    switching = threading.Thread(target=switch)
    switching.start()
    try:
        at_once(lambda i: [(Cube.apply(x) * 2 + x).backward() for _ in range(60)])
    finally:
        stop.set()
        switching.join()
    assert x.grad.item() == 60 * THREADS * 25.0
    assert not gc.is_anomaly_enabled()


# ---------------------------------------------------------------- any graph
OPS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b,
    lambda a, b: a * b * 0.5,
    lambda a, b: a - b.sin(),
    lambda a, b: (a + 2).exp() * 0.01 + b,
    lambda a, b: gc.stack([a, b]).max(dim=0)[0],
    lambda a, b: a.view(2)[:1].expand(2) + b,
    lambda a, b: Cube.apply(a) * 0.1 + b,
    lambda a, b: (a * 1).add_(b),
]


def value_of(leaves: list[Any], program: list[tuple[int, int, int]]) -> Any:
    values = list(leaves)
    for op, i, j in program:
        values.append(OPS[op](values[i % len(values)], values[j % len(values)]).tanh())
    return gc.stack(values).sum()


steps = st.lists(st.tuples(st.integers(0, len(OPS) - 1), st.integers(0, 30), st.integers(0, 30)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=3, max_size=3), st.booleans())
def test_any_graphs(programs: list[list[tuple[int, int, int]]], shared: bool) -> None:
    """Programs that run at once on shared leaves, forward and backward, or backward alone through one graph, add up to
    what they give one after the other."""
    values = random.Random(0)
    leaves = [leaf(values.uniform(-1, 1), values.uniform(-1, 1)) for _ in range(3)]
    for program in programs:
        value_of(leaves, programs[0] if shared else program).backward()
    expected = [t.grad.clone() for t in leaves]
    for t in leaves:
        t.grad = None
    if shared:
        loss = value_of(leaves, programs[0])
        at_once(lambda i: loss.backward(retain_graph=True), 3)
    else:
        at_once(lambda i: value_of(leaves, programs[i]).backward(), 3)
    for t, e in zip(leaves, expected):
        assert t.grad.tolist() == pytest.approx(e.tolist(), rel=1e-12, abs=1e-12)
