"""What the tape keeps alive: nothing once it is dropped, without the garbage collector; and no recursion anywhere."""

from __future__ import annotations

import gc as collector
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import gradcore as gc
from gradcore.autograd.function import once_differentiable

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


@contextmanager
def no_collector() -> Iterator[None]:
    """Reference counting alone."""
    collector.collect()
    collector.disable()
    try:
        yield
    finally:
        collector.enable()


def arrays_of(t: Any) -> list[Any]:
    """Weak references to the nodes and kept arrays below `t`."""
    found: list[Any] = []
    stack, seen = [t.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen or not hasattr(node, "saved"):
            continue
        seen.add(node)
        found.append(weakref.ref(node))
        found += [weakref.ref(a) for a in node.saved or () if hasattr(a, "dtype")]
        stack.extend(n for n, _ in node.next_functions)
    return found


class Square(gc.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x * x
        ctx.save_for_backward(x, y)
        ctx.constant = x.detach() * 2
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, _ = ctx.saved_tensors
        return g * 2 * x


class Same(gc.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def _network(x: Any) -> Any:
    h = gc.nn.functional.linear(x, gc.ones(4, 4, device=x.device, requires_grad=True)).relu()
    h = h / h.norm() + h.softmax(1) + h.log_softmax(0) + h.t().exp().t()
    target = gc.tensor([0, 1, 2, 3], device=x.device)
    return gc.nn.functional.cross_entropy(h.max(dim=1, keepdim=True)[0] * h, target)


def _views(x: Any) -> Any:
    y = x * 1
    row = y[0]
    row.mul_(2)
    y[gc.tensor([1, 2], device=x.device)] = row
    a, b = y.split(2)
    y[:2] += b
    return y.sum() + row.sum() + a.sum()


def _double(x: Any) -> Any:
    (g,) = gc.autograd.grad((x**3).softmax(0).sum() + Square.apply(x).sum(), x, create_graph=True)
    return g.sum()


GRAPHS: dict[str, Callable[[Any], Any]] = {
    "network": _network,
    "views and changes in place": _views,
    "Function": lambda x: Square.apply(x).sum(),
    "second order": _double,
    "hooks": lambda x: _hooked(x),
}


def _hooked(x: Any) -> Any:
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    return (y * y).sum()


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("backward", [False, True])
def test_a_dropped_graph_is_free_at_once(name: str, backward: bool, device: str) -> None:
    x = gc.ones(4, 4, device=device, requires_grad=True)
    GRAPHS[name](x).backward()  # caches are filled
    with no_collector():
        loss = GRAPHS[name](x)
        below = arrays_of(loss)
        assert len(below) > 2 and all(r() is not None for r in below)
        if backward:
            loss.backward()
        del loss
        held = [x, x._array] + ([x.grad._array] if x.grad is not None else [])
        left = [r() for r in below if r() is not None and not any(r() is h for h in held)]
        assert not left


def test_backward_frees_what_was_kept(device: str) -> None:
    x = gc.ones(4, device=device, requires_grad=True)
    with no_collector():
        y = (x * 2).exp()
        kept = weakref.ref(y._array)
        z = y * y
        del y
        assert kept() is not None
        z.sum().backward(retain_graph=True)
        assert kept() is not None
        z.sum().backward()
        assert kept() is None


def test_an_error_in_backward_leaves_nothing_behind(device: str) -> None:
    x = gc.ones(8, device=device, requires_grad=True)

    def fail(_: Any) -> None:
        raise KeyError

    with no_collector():
        for _ in range(3):
            y = (x * 2).exp()
            below = arrays_of(y)
            y.register_hook(fail)
            with pytest.raises(KeyError) as raised:
                y.sum().backward()
            del y, raised
            assert not [r for r in below if r() is not None and r() is not x._array]


def test_once_differentiable_leaves_nothing_behind() -> None:
    class Once(gc.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = gc.ones(3, requires_grad=True)
    with no_collector():
        (g,) = gc.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
        node = weakref.ref(g.grad_fn)
        del g
        assert node() is None


def test_a_plain_result_carries_nothing_that_is_not_used() -> None:
    x = gc.ones(3, requires_grad=True)
    y = x + x
    node = y.grad_fn
    assert vars(x) == vars(y) == {}
    assert node.attrs is None and node.meta is None and node.extra is None and node.saved == () and node.counters == ()
    assert vars(x.detach() * 2) == {}


# ---------------------------------------------------------------- who owns gradients
def test_leaves_do_not_share_gradients(device: str) -> None:
    x, y, z = (gc.ones(3, device=device, requires_grad=True) for _ in range(3))
    seed = gc.ones(3, device=device)
    ((x + y + z.view(3)) * 1).backward(seed)
    grads = [x.grad, y.grad, z.grad, seed]
    assert len({t.data_ptr() for t in grads}) == 4
    x.grad.zero_()
    assert [t.tolist() for t in grads] == [[0.0] * 3] + [[1.0] * 3] * 3


def test_leaves_do_not_share_gradients_that_are_recorded(device: str) -> None:
    x, y, z = (gc.ones(3, device=device, requires_grad=True) for _ in range(3))
    seed = gc.ones(3, device=device)
    with pytest.warns(UserWarning, match="reference cycle"):
        (x + y.view(3)).backward(seed, create_graph=True)
    with pytest.warns(UserWarning, match="reference cycle"):
        z.backward(seed, create_graph=True)
    assert len({t.data_ptr() for t in (x.grad, y.grad, z.grad, seed)}) == 4


def test_a_gradient_of_its_own_is_handed_over() -> None:
    """What nobody else holds is not copied."""
    x = gc.ones(1 << 20, requires_grad=True)
    y = x * 3
    tracemalloc.start()
    try:
        y.backward(gc.ones(1 << 20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert x.grad[0].item() == 3.0
    assert peak < 2.5 * (4 << 20)  # the seed and the gradient


def test_intermediate_gradients_are_dropped_on_the_way() -> None:
    x = gc.ones(1 << 18, requires_grad=True)
    y = x
    for _ in range(20):
        y = y * 1.5
    seed = gc.ones(1 << 18)
    tracemalloc.start()
    try:
        y.backward(seed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * (1 << 20)


# ---------------------------------------------------------------- long chains
@contextmanager
def little_stack() -> Iterator[None]:
    """Python's recursion limit low enough that one call for each node would pass it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _on_a_thread(function: Callable[[], None]) -> None:
    """Run on a thread, whose C stack is smaller than the main one's."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with little_stack():
                function()
        except BaseException as error:
            errors.append(error)

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if errors:
        raise errors[0]


LINKS: dict[str, Callable[[Any], Any]] = {
    "fast": lambda y: y * 1.0001,
    "view": lambda y: y.t(),
    "several results": lambda y: y.split(1)[0],
    "in place": lambda y: y.mul_(1.0001),
    "Function": lambda y: Same.apply(y),
}


@pytest.mark.parametrize("name", LINKS)
def test_chains_of_ten_thousand(name: str) -> None:
    link = LINKS[name]

    def chain() -> None:
        x = gc.ones(1, dtype=gc.float64, requires_grad=True)
        y = x * 1
        for _ in range(10_000):
            y = link(y)
        (g,) = gc.autograd.grad(y.sum(), x, retain_graph=True)
        assert g.isfinite().all()
        y.sum().backward()
        assert x.grad.tolist() == g.tolist()
        del y

    _on_a_thread(chain)


def test_chains_of_views_changed_in_place() -> None:
    def chain() -> None:
        x = gc.ones(2, dtype=gc.float64, requires_grad=True)
        y = x * 1
        for _ in range(2_000):
            y[0] += y[1] * 0.001
        y.sum().backward()
        assert x.grad.tolist() == pytest.approx([1.0, 3.0])

    _on_a_thread(chain)


def test_second_derivative_of_a_long_chain() -> None:
    def chain() -> None:
        x = gc.ones(1, dtype=gc.float64, requires_grad=True)
        y = x
        for _ in range(10_000):
            y = y * x
        (g,) = gc.autograd.grad(y, x, create_graph=True)
        assert g.tolist() == pytest.approx([10_001.0])
        (h,) = gc.autograd.grad(g, x)
        assert h.tolist() == pytest.approx([10_001.0 * 10_000.0])

    _on_a_thread(chain)


# ---------------------------------------------------------------- many steps
def _resident() -> int:
    """The process's resident memory in bytes."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_ten_thousand_training_steps_leave_memory_flat() -> None:
    model = gc.nn.Sequential(gc.nn.Linear(16, 32), gc.nn.ReLU(), gc.nn.Linear(32, 4))
    optimizer = gc.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = gc.randn(32, 16), gc.randint(0, 4, (32,))

    def train(steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = gc.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return float(loss.item())

    with no_collector():
        first = train(1000)
        before = _resident()
        assert train(9000) < first
        assert _resident() - before < 2 << 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_failing_and_unusual_steps_leave_memory_flat() -> None:
    """Errors in backward, hooks, changes in place, second derivatives, copies of the mode."""
    x = gc.ones(4, 4, requires_grad=True)

    def fail(_: Any) -> None:
        raise KeyError

    def step() -> None:
        loss = _views(x) + _hooked(x) + _double(x)
        loss.backward()
        x.grad = None
        y = (x * 2).exp()
        y.register_hook(fail)
        for bad in (lambda: y.sum().backward(), lambda: y.backward(), lambda: y.add_(gc.ones(3)), lambda: x.add_(1)):
            try:
                bad()
            except (KeyError, RuntimeError):
                pass

    with no_collector():
        for _ in range(200):
            step()
        before = _resident()
        for _ in range(800):
            step()
        assert _resident() - before < 2 << 20
