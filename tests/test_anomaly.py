"""Anomaly mode: NaN in both passes, with the lines they come from; compared with PyTorch where it says something."""

from __future__ import annotations

import linecache
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from behaviour import does, fails, leaf
from conftest import torch
from test_function import make

import gradcore as gc
from gradcore.autograd import engine, tape, variable
from gradcore.autograd.grad_mode import mode

LIBRARIES = [gc] if torch is None else [gc, torch]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _off_afterwards() -> Iterator[None]:
    before = tape._watchers
    yield
    assert not gc.is_anomaly_enabled() and gc.is_anomaly_check_nan_enabled()
    assert tape._watchers == before and tape.new_node is tape.Node and engine.anomaly is None
    assert variable.time_of_change is variable.next_sequence


def run(code: Callable[[], Any], m: Any = gc, check_nan: bool = True) -> tuple[Any, list[warnings.WarningMessage]]:
    """What `code` returned or raised in anomaly mode, and the warnings but that of the mode and NumPy's."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with m.autograd.detect_anomaly(check_nan=check_nan):
                result = code()
        except Exception as error:
            result = error
    ours = [w for w in caught if "encountered in" not in str(w.message) and "has been enabled" not in str(w.message)]
    return result, ours


# ---------------------------------------------------------------- the mode
def test_switches() -> None:
    def code(m: Any, d: str) -> Any:
        seen = []

        def look() -> None:
            seen.append((m.is_anomaly_enabled(), m.is_anomaly_check_nan_enabled()))

        look()
        with m.autograd.detect_anomaly():
            look()
            with m.autograd.detect_anomaly(check_nan=False):
                look()
                with m.autograd.set_detect_anomaly(False):
                    look()
                look()
            look()
        m.autograd.set_detect_anomaly(True, check_nan=False)
        look()
        m.autograd.set_detect_anomaly(True)
        look()
        m.autograd.set_detect_anomaly(False)
        look()
        with m.autograd.set_detect_anomaly(mode=True, check_nan=True):
            look()
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        look()
        return seen

    assert does(code)[:3] == [[False, True], [True, True], [True, False]]


def test_the_mode_is_that_of_the_process() -> None:
    seen: list[Any] = []

    def fail() -> None:
        x = leaf(gc, "cpu", [0.0])
        seen.append(run(lambda: (x.sqrt() * 0).backward())[0])

    with gc.autograd.set_detect_anomaly(True):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert "SqrtBackward0" in str(seen[0])


def test_mistakes() -> None:
    assert fails(lambda m, d: m.autograd.set_detect_anomaly(3)).startswith("TypeError: set_anomaly_enabled(): argument")
    assert "'check_nan' (position 2) must be bool, not int" in fails(
        lambda m, d: m.autograd.set_detect_anomaly(True, 3)
    )


def test_it_warns_that_it_is_slow() -> None:
    for m in LIBRARIES:
        with pytest.warns(UserWarning, match="Anomaly Detection has been enabled. This mode will increase the runtime"):
            m.autograd.detect_anomaly()


# ---------------------------------------------------------------- the backward pass
def _sqrt(m: Any, d: str) -> None:
    y = (leaf(m, d, [0.0, 1.0]) * 1).sqrt() * 0
    y.sum().backward()


def _div(m: Any, d: str) -> None:
    (leaf(m, d, [0.0]) / leaf(m, d, [0.0])).backward()


def _function(m: Any, d: str) -> None:
    make(m, lambda ctx, x: x * 2, lambda ctx, g: g * math.nan).apply(leaf(m, d, [1.0])).backward()


def _given(m: Any, d: str) -> None:
    (leaf(m, d, [1.0, 2.0]) * 2).backward(m.tensor([math.nan, 1.0], device=d))


def _several(m: Any, d: str) -> None:
    a, b = (leaf(m, d, [0.0, 1.0]) * 1).sqrt().split(1)
    (a * 0 + b).sum().backward()


def _by_grad(m: Any, d: str) -> None:
    x = leaf(m, d, [0.0, 1.0])
    m.autograd.grad(((x * 1).sqrt() * 0).sum(), x, create_graph=True)


def _hook(m: Any, d: str) -> None:
    y = leaf(m, d, [1.0]) * 2
    y.register_hook(lambda g: 1 / 0)
    y.sum().backward()


def _raising(m: Any, d: str) -> None:
    def backward(ctx: Any, g: Any) -> Any:
        raise KeyError("gone")

    make(m, lambda ctx, x: x * 2, backward).apply(leaf(m, d, [1.0])).backward()


# What the code raises, and the node and the source line that the warning shows.
FAILURES: dict[str, tuple[Callable[[Any, str], None], str, str, str]] = {
    "sqrt": (
        _sqrt,
        "returned nan values in its 0th output.",
        "SqrtBackward0",
        "y = (leaf(m, d, [0.0, 1.0]) * 1).sqrt()",
    ),
    "div": (_div, "returned nan values in its 1th output.", "DivBackward0", "(leaf(m, d, [0.0]) / leaf(m, d, [0.0]))"),
    "Function": (_function, "returned nan values in its 0th output.", "FBackward", "make(m, lambda ctx, x: x * 2"),
    "given": (
        _given,
        "returned nan values in its 0th output.",
        "MulBackward0",
        "(leaf(m, d, [1.0, 2.0]) * 2).backward",
    ),
    "several": (_several, "returned nan values in its 0th output.", "SqrtBackward0", "a, b = (leaf(m, d, [0.0, 1.0])"),
    "grad": (_by_grad, "returned nan values in its 0th output.", "SqrtBackward0", "m.autograd.grad(((x * 1).sqrt()"),
    "hook": (_hook, "division by zero", "MulBackward0", "y = leaf(m, d, [1.0]) * 2"),
    "an error": (_raising, "gone", "FBackward", "make(m, lambda ctx, x: x * 2, backward)"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_fails_shows_the_forward_call(case: str, device: str) -> None:
    code, text, node, line = FAILURES[case]
    for m in LIBRARIES:
        error, caught = run(lambda m=m: code(m, device if m is gc else "cpu"), m)
        assert text in str(error)
        if "nan" in text:
            assert str(error).startswith(f"Function '{node}' {text}") and isinstance(error, RuntimeError)
        shown = [str(w.message) for w in caught if w.category is UserWarning]
        assert len(shown) == 1
        assert shown[0].startswith(
            f"Error detected in {node}. Traceback of forward call that caused the error:\n  File "
        )
        assert f", in {code.__name__}\n    {line}" in shown[0]


def test_without_the_check_only_errors_are_told(device: str) -> None:
    for m in LIBRARIES:
        d = device if m is gc else "cpu"
        assert run(lambda m=m, d=d: _sqrt(m, d), m, check_nan=False) == (None, [])
        error, (warning,) = run(lambda m=m, d=d: _hook(m, d), m, check_nan=False)
        assert isinstance(error, ZeroDivisionError) and "Error detected in MulBackward0" in str(warning.message)


def test_a_forward_pass_outside_of_the_mode(device: str) -> None:
    for m in LIBRARIES:
        y = (leaf(m, device if m is gc else "cpu", [0.0, 1.0]) * 1).sqrt() * 0
        error, (warning,) = run(lambda y=y: y.sum().backward(), m)
        assert "SqrtBackward0" in str(error)
        assert str(warning.message).startswith(
            "Error detected in SqrtBackward0. No forward pass information available. Enable detect anomaly during "
            "forward pass for more information."
        )
    with gc.autograd.set_detect_anomaly(True):
        y = (leaf(gc, device, [0.0, 1.0]) * 1).sqrt() * 0
    y.sum().backward()


def _second(m: Any) -> None:
    x = leaf(m, "cpu", [1.0, 4.0])
    y = x.sqrt()
    (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
    g.register_hook(lambda g: 1 / 0)
    m.autograd.grad(g.sum(), x)


def test_a_node_of_a_second_derivative_tells_what_it_is_the_derivative_of() -> None:
    for m in LIBRARIES:
        error, caught = run(lambda m=m: _second(m), m)
        assert isinstance(error, ZeroDivisionError)
        first, second = (str(w.message) for w in caught)
        assert "(g,) = m.autograd.grad(y.sum(), x, create_graph=True)" in first
        assert second.startswith(
            "\n\nPrevious calculation was induced by SqrtBackward0. Traceback of forward call that induced the "
            "previous calculation:\n  File "
        )
        assert "    y = x.sqrt()\n" in second


def test_gradients_that_nobody_wants_are_not_looked_at(device: str) -> None:
    x, k = leaf(gc, device, [0.0, 1.0]), gc.zeros(2, device=device)
    result, _ = run(lambda: (x / (k + 1)).sum().backward())
    assert result is None and x.grad.tolist() == [1.0, 1.0]
    y = leaf(gc, device, [0.0])
    assert run(lambda: gc.autograd.grad((y.sqrt() * 0).sum() + x.sum(), x))[0][0].tolist() == [1.0, 1.0]


def test_no_gradient_is_stored_when_a_check_fails(device: str) -> None:
    x, z = leaf(gc, device, [0.0, 1.0]), leaf(gc, device, [1.0, 1.0])
    error, _ = run(lambda: ((x * 1).sqrt() * 0 + z).sum().backward())
    assert isinstance(error, RuntimeError) and x.grad is None and z.grad is None


# ---------------------------------------------------------------- the forward pass
def first_nan(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught if w.category is RuntimeWarning]


def line_of(w: warnings.WarningMessage) -> str:
    return linecache.getline(w.filename, w.lineno).strip()


def test_the_first_nan_is_reported_with_its_line(device: str) -> None:
    x = leaf(gc, device, [0.0, 1.0])

    def code() -> Any:
        y = (x - 2).log()
        z = y * 2 + 1
        return z.exp()

    result, caught = run(code)
    assert len(caught) == 1 and caught[0].category is RuntimeWarning and result.isnan().all()
    assert line_of(caught[0]) == "y = (x - 2).log()"
    text = str(caught[0].message)
    assert text.startswith("The first NaN: it arose in log(), none of whose inputs holds NaN:\n  File ")
    assert text.endswith(", in code\n    y = (x - 2).log()")


def test_infinities_are_named(device: str) -> None:
    x = leaf(gc, device, [0.0, 1.0])
    _, caught = run(lambda: x * (1 / x.detach()))
    assert "arose in mul(), none of whose inputs holds NaN (infinities are in 'other')" in first_nan(caught)[0]
    _, caught = run(lambda: x * math.inf)
    assert "arose in mul(), none of whose inputs holds NaN (infinities are in 'other')" in first_nan(caught)[0]


FIRST: dict[str, Callable[[Any], Any]] = {
    "a function": lambda x: (x - 2).sqrt(),
    "an operator": lambda x: x / (x * 0),
    "in place": lambda x: (x * 1).sub_(2).sqrt_(),
    "setitem": lambda x: (x * 1).__setitem__(0, (x - 5).log()[0]),
    "without gradient": lambda x: (x.detach() - 2).log(),
    "a reduction": lambda x: (x - x).sum() / 0,
    "a Function": lambda x: make(gc, lambda ctx, x: (x - 2).log(), lambda ctx, g: g).apply(x),
    "arrays in a Function": lambda x: make(gc, _from_numpy, lambda ctx, g: g).apply(x),
    "several inputs": lambda x: gc.stack([x, x / 0 * 0]),
    "several results": lambda x: (x / 0 * 0).max(dim=0),
}


def _from_numpy(ctx: Any, x: Any) -> Any:
    return gc.tensor((x.detach().cpu().numpy() * math.nan).tolist(), device=x.device)


@pytest.mark.parametrize("case", FIRST)
def test_one_report_for_each_nan(case: str, device: str) -> None:
    _, caught = run(lambda: FIRST[case](leaf(gc, device, [0.0, 1.0])))
    assert len(first_nan(caught)) == 1
    assert run(lambda: FIRST[case](leaf(gc, device, [0.0, 1.0])), check_nan=False)[1] == []


def test_nan_that_comes_in_is_not_reported(device: str) -> None:
    """Data may hold it on purpose; so may what is not selected afterwards be NaN, which is no error either."""
    data = gc.tensor([math.nan, 1.0], device=device)
    x = leaf(gc, device, [1.0, 2.0])

    def code() -> Any:
        y = gc.where(data.isnan(), gc.zeros_like(data), data) * x
        z = x * data
        data.clone().add_(1).mul_(2)
        return y.sum(), z[1:].sum(), x * math.nan, gc.stack([data, data]), data.detach().exp()

    result, caught = run(code)
    assert caught == [] and result[0].item() == 2.0
    selected = run(lambda: gc.where(x > 5, (x - 1.5).log(), x).sum().backward())
    assert selected[0] is None and len(first_nan(selected[1])) == 1


def test_with_warnings_as_errors_the_operation_itself_stops() -> None:
    x = leaf(gc, "cpu", [0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with gc.autograd.detect_anomaly():
            warnings.filterwarnings("error", message="The first NaN")
            with pytest.raises(RuntimeWarning, match=r"arose in log\(\)"):
                (x - 1).log()


# ---------------------------------------------------------------- the loss
def test_a_nan_loss_tells_where_it_arose(device: str) -> None:
    """Where every gradient is a number, PyTorch says nothing (its issue 160016)."""
    x = leaf(gc, device, [0.5, 1.0])

    def code() -> None:
        shift = (x.detach() - 2).log()
        view = shift[:1]
        loss = (x + view.detach()).mean()
        loss.backward()

    error, _ = run(code)
    assert isinstance(error, RuntimeError)
    assert str(error).startswith("The loss is NaN: it arose in log(), none of whose inputs holds NaN:\n  File ")
    assert str(error).endswith(", in code\n    shift = (x.detach() - 2).log()")
    assert x.grad is None


def test_a_nan_loss_beside_a_nan_gradient(device: str) -> None:
    """PyTorch's text comes first."""
    x = leaf(gc, device, [-1.0])
    error, _ = run(lambda: x.sqrt().backward())
    expected = "Function 'SqrtBackward0' returned nan values in its 0th output."
    assert str(error).startswith(f"{expected} The loss is NaN: it arose in sqrt()")
    if torch is not None:
        theirs, _ = run(lambda: torch.tensor([-1.0], requires_grad=True).sqrt().backward(), torch)
        assert str(theirs) == expected


def test_a_nan_that_came_in_is_traced_to_where_it_did(device: str) -> None:
    x, data = leaf(gc, device, [0.5, 1.0]), gc.tensor([math.nan, 1.0], device=device)
    error, caught = run(lambda: ((x + data) * 2 - 1).mean().backward())
    assert str(error).startswith("The loss is NaN: it came in with 'other' of add():\n  File ") and caught == []


def test_the_earliest_of_several(device: str) -> None:
    x = leaf(gc, device, [0.5, 1.0])

    def code() -> None:
        first = (x.detach() - 2).log()
        second = (x.detach() - 2).sqrt()
        (x + second + first).mean().backward()

    error, _ = run(code)
    assert str(error).endswith("first = (x.detach() - 2).log()")


def test_a_nan_loss_without_a_forward_pass_in_the_mode(device: str) -> None:
    loss = (leaf(gc, device, [0.5]) + math.nan).mean()
    error, _ = run(lambda: loss.backward())
    assert str(error).startswith("The loss is NaN: No forward pass information available.")
    assert run(lambda: (leaf(gc, device, [0.5]) + math.nan).mean().backward(), check_nan=False)[0] is None


def test_masked_results_of_several_elements_are_no_loss(device: str) -> None:
    x = leaf(gc, device, [0.5, 1.0])
    y = x + gc.tensor([math.nan, 1.0], device=device)
    assert run(lambda: y.backward(gc.tensor([0.0, 1.0], device=device)))[0] is None


# ---------------------------------------------------------------- changes in place
MUTATIONS: dict[str, Callable[[Any], Any]] = {
    "y.add_(1)": lambda y: y.add_(1),
    "y[0] = 5": lambda y: y.__setitem__(0, 5),
    "of a view": lambda y: y.view(2)[1:].mul_(3),
    "of an alias": lambda y: y.detach().zero_(),
    "many": lambda y: [y.add_(1) for _ in range(20)],
    "marked": lambda y: make(gc, _dirty, lambda ctx, g: g).apply(y),
}


def _dirty(ctx: Any, x: Any) -> Any:
    ctx.mark_dirty(x)
    return x.mul_(2)


@pytest.mark.parametrize("case", MUTATIONS)
def test_the_line_that_changed_a_saved_tensor(case: str, device: str) -> None:
    x = leaf(gc, device, [0.5, 1.0])

    def code() -> None:
        y = x.exp() * 1
        y.mul_(2)  # before it is saved
        z = y.exp() * y
        MUTATIONS[case](y)  # this line
        z.sum().backward()

    error, _ = run(code, check_nan=False)
    text = str(error)
    assert text.startswith("one of the variables needed for gradient computation has been modified by an inplace")
    assert "expected version 1 instead." in text and "It was changed in place here:\n  File " in text
    source = case if case.startswith("y[") or case == "y.add_(1)" else ""
    where = text.split("here:\n")[1]
    assert "test_anomaly.py" in where and source.split("(")[0][:1] in where and "y.mul_(2)  # before" not in where


def test_an_optimizer_that_steps_too_early_is_named(device: str) -> None:
    w = leaf(gc, device, [1.0, 2.0])
    optimizer = gc.optim.SGD([w], lr=0.1)

    def code() -> None:
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        loss.backward()

    error, _ = run(code)
    assert "It was changed in place here:" in str(error) and "optimizer.step()" in str(error)


def test_outside_of_the_mode_no_line_is_kept(device: str) -> None:
    y = leaf(gc, device, [0.5, 1.0]).exp()
    z = y.exp()
    y.add_(1)
    with pytest.raises(RuntimeError) as raised:
        z.sum().backward()
    assert "changed in place here" not in str(raised.value)
    assert all(type(time) is int for time in y._counter)


def test_observers_of_a_thread_and_of_all() -> None:
    assert mode.observers == () and tape._everywhere == ()
    with gc.autograd.set_detect_anomaly(True):
        assert len(tape._everywhere) == 1
        with gc.autograd.set_detect_anomaly(True, check_nan=False):
            assert tape._everywhere == ()
    assert tape._everywhere == ()
