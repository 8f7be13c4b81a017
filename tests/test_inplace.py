"""Changes in place: their derivatives, version counters, assignment by key, what is refused, what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import does, fails, leaf, weighted_grad
from conftest import torch
from parity import outcome

import gradcore as gc

Code = Callable[[Any, str], Any]

LEAF = "RuntimeError: a leaf Variable that requires grad is being used in an in-place operation."
VIEW_OF_LEAF = "RuntimeError: a view of a leaf Variable that requires grad is being used in an in-place operation."


# ---------------------------------------------------------------- results
@pytest.mark.parametrize("op", ["+=", "-=", "*=", "/=", "**=", "exp_", "tanh_", "relu_", "clamp_", "zero_", "copy_"])
def test_results_may_be_changed(op: str, device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, w = leaf(m, d, [0.5, 1.0, 2.0]), leaf(m, d, [1.5, 2.0, 3.0])
        y = x * 2
        before = y
        if op == "+=":
            y += w
        elif op == "-=":
            y -= w
        elif op == "*=":
            y *= w
        elif op == "/=":
            y /= w
        elif op == "**=":
            y **= w
        elif op == "clamp_":
            y.clamp_(1.5, 3.5)
        elif op == "copy_":
            y.copy_(w)
        else:
            getattr(y, op)()
        again = y * (w + x)
        return y is before, y, y._version, weighted_grad(m, again, x, w)

    same, values, version, grads = does(code, device)
    assert same and version == 1
    x = np.array([0.5, 1, 2])
    w = np.array([1.5, 2, 3])
    weights = np.array([1.0, 2, 3])
    if op == "*=":  # 2 x w (w + x)
        assert values == pytest.approx(2 * x * w)
        assert grads[0] == pytest.approx(weights * (2 * w * w + 4 * x * w))
        assert grads[1] == pytest.approx(weights * (4 * x * w + 2 * x * x))
    if op == "zero_":
        assert values == [0.0] * 3 and grads == [[0.0] * 3, [0.0] * 3]


def test_an_operand_that_is_the_target(device: str) -> None:
    """PyTorch refuses the backward pass of most of these: it does not keep what it overwrites."""
    x = gc.tensor([1.0, 2.0, 3.0], dtype=gc.float64, device=device, requires_grad=True)

    def squared(t: Any) -> Any:
        y = t * 1
        y.mul_(y)
        return y

    def neighbours(t: Any) -> Any:
        y = t * 1
        y[:2].mul_(y[1:])
        return y

    def detour(t: Any) -> Any:
        y = t * 1
        row = y[:2][:1]
        y[:2].mul_(3)
        row.add_(t[2])
        y.mul_(y)
        return y, row

    for function in (squared, neighbours, detour):
        assert gc.autograd.gradcheck(function, x) and gc.autograd.gradgradcheck(function, x)
    assert squared(x).tolist() == [1.0, 4.0, 9.0] and neighbours(x).tolist() == [2.0, 6.0, 3.0]


def test_second_derivative_through_changes(device: str) -> None:
    x = gc.tensor([0.5, 1.0, 2.0], dtype=gc.float64, device=device, requires_grad=True)

    def function(t: Any) -> Any:
        y = t.exp() + 1
        y[1:] *= t[:-1]
        y[0] = t[1] * t[2]
        y.t().add_(t).sin_()
        return y

    assert gc.autograd.gradcheck(function, x) and gc.autograd.gradgradcheck(function, x)


# ---------------------------------------------------------------- versions
def test_versions_are_shared(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = m.zeros(3, device=d)
        view, detached, data, copy = x[1:], x.detach(), x.data, x.clone()
        seen = [x._version]
        for change in (
            lambda: x.add_(1),
            lambda: view.mul_(2),
            lambda: detached.zero_(),
            lambda: detached[:1].fill_(3),
            lambda: data.add_(1),
            lambda: copy.add_(1),
            lambda: x.__setitem__(0, 5.0),
            lambda: x.copy_(copy),
        ):
            change()
            seen.append(x._version)
        return seen, view._version, detached._version, copy._version

    assert does(code, device) == [[0, 1, 2, 3, 4, 4, 4, 5, 6], 6, 6, 1]


def _saved_result(m: Any, d: str) -> None:
    y = leaf(m, d, [1.0, 2.0, 3.0]).exp()
    y.add_(1)
    y.sum().backward()


def _saved_operand(m: Any, d: str) -> None:
    x, w = leaf(m, d, [1.0, 2.0, 3.0]), m.ones(3, device=d)
    y = x * w
    w.zero_()
    y.sum().backward()


def _saved_and_changed_under_no_grad(m: Any, d: str) -> None:
    y = leaf(m, d, [1.0, 2.0, 3.0]) * 1
    z = y * y
    with m.no_grad():
        y.mul_(2)
        y.mul_(2)
    z.sum().backward()


def _saved_view(m: Any, d: str) -> None:
    y = leaf(m, d, [1.0, 2.0, 3.0]) * 1
    z = y[1:].sin()
    y.mul_(2)
    z.sum().backward()


def _through_detach(m: Any, d: str) -> None:
    y = leaf(m, d, [1.0, 2.0]).tanh()
    y.detach().zero_()
    y.sum().backward()


def _leaf_updated_too_early(m: Any, d: str) -> None:
    w = leaf(m, d, [[1.0, 2.0], [3.0, 4.0]])
    y = (w @ w).sum()
    with m.no_grad():
        w -= 1
    y.backward()


MODIFIED = (
    "RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: "
)
STALE: dict[str, tuple[Code, str]] = {
    "result": (
        _saved_result,
        "[gradcore.FloatTensor [3]], which is output 0 of Exp, is at version 1; expected version 0 instead.",
    ),
    "operand": (_saved_operand, "[gradcore.FloatTensor [3]] is at version 1; expected version 0 instead."),
    "no_grad": (
        _saved_and_changed_under_no_grad,
        "[gradcore.FloatTensor [3]], which is output 0 of Mul, is at version 2; expected version 0 instead.",
    ),
    "view": (_saved_view, "[gradcore.FloatTensor [2]], which is output 0 of "),
    "detach": (
        _through_detach,
        "[gradcore.FloatTensor [2]], which is output 0 of Tanh, is at version 1; expected version 0 instead.",
    ),
    "leaf": (_leaf_updated_too_early, "[gradcore.FloatTensor [2, 2]]"),
}


@pytest.mark.parametrize("case", STALE)
def test_saved_tensors_must_not_change(case: str, device: str) -> None:
    code, text = STALE[case]
    found = fails(code, device, wording=False)
    expected = text if device == "cpu" else text.replace("gradcore.", "gradcore.cuda.")
    assert found.startswith(MODIFIED + expected)
    assert "Hint: " in found
    if torch is not None and case != "view":
        theirs = repr(outcome(code, torch, "cpu")).replace("torch", "gradcore")
        assert theirs.startswith(MODIFIED + text)


def test_what_is_not_saved_may_change(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        y = x * 3  # keeps only the 3
        z = y + 1
        y.mul_(2)
        z.zero_()
        e = x.exp()
        e.data.zero_()  # unnoticed, as asked for
        return m.autograd.grad(y.sum() + z.sum(), x), m.autograd.grad(e.sum(), x)

    assert does(code, device) == [[[6.0, 6.0]], [[0.0, 0.0]]]


def test_index_tensors_may_change(device: str) -> None:
    """PyTorch reports them as modified; here the tape has its own."""
    x = gc.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    i, mask = gc.tensor([0, 1], device=device), gc.tensor([True, False, False], device=device)
    y = x * 1
    picked = x[i] * 2
    y[mask] = x[mask] * 5
    i += 1
    mask.fill_(True)
    (picked.sum() + y.sum()).backward()
    assert x.grad.tolist() == [7.0, 3.0, 1.0]


# ---------------------------------------------------------------- assignment by key
KEYS: dict[str, Callable[[Any, str], Any]] = {
    "int": lambda m, d: 1,
    "negative": lambda m, d: -1,
    "ints": lambda m, d: (1, 2),
    "slice": lambda m, d: slice(0, 2),
    "step": lambda m, d: (slice(None, None, 2), slice(1, None, 2)),
    "ellipsis": lambda m, d: (..., 0),
    "all": lambda m, d: ...,
    "none": lambda m, d: (None, 0),
    "index tensor": lambda m, d: m.tensor([2, 0], device=d),
    "list": lambda m, d: [0, 2],
    "two indices": lambda m, d: (m.tensor([0, 2], device=d), m.tensor([1, -1], device=d)),
    "index and slice": lambda m, d: (slice(1, 3), m.tensor([3, 0], device=d)),
    "broadcast indices": lambda m, d: (m.tensor([[0], [1]], device=d), m.tensor([0, 2], device=d)),
    "mask": lambda m, d: m.tensor([[True, False, True, False]] * 3, device=d),
    "row mask": lambda m, d: m.tensor([True, False, True], device=d),
    "mask and int": lambda m, d: (m.tensor([True, False, True], device=d), 1),
    "zero-dimensional index": lambda m, d: m.tensor(1, device=d),
    "nothing": lambda m, d: m.tensor([False, False, False], device=d),
}


@pytest.mark.parametrize("name", KEYS)
def test_assignment(name: str, device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [[1.0, 2.0, 3.0, 4.0]] * 3)
        key = KEYS[name](m, d)
        s = leaf(m, d, 7.0)
        with_number, with_scalar, with_tensor = x * 1, x * 2, x * 3
        with_number[key] = 5.0
        with_scalar[key] = s
        value = leaf(m, d, [float(i) for i in range(x[key].numel())])
        with_tensor[key] = value.reshape(x[key].shape)
        with_tensor[key] *= 2
        return (
            [(y, y._version) for y in (with_number, with_scalar, with_tensor)],
            [weighted_grad(m, y, x)[0] for y in (with_number, with_scalar, with_tensor)],
            weighted_grad(m, with_scalar, s),
            weighted_grad(m, with_tensor, value),
        )

    results, grads, scalar, _ = does(code, device)
    if name == "int":
        assert results[0] == [[[1.0, 2, 3, 4], [5.0] * 4, [1.0, 2, 3, 4]], 1]
        assert grads[1] == [[2.0, 4, 6, 8], [0.0] * 4, [18.0, 20, 22, 24]] and scalar == [26.0]


# ---------------------------------------------------------------- errors
def _iadd(left: Callable[[Any, str], Any], right: Callable[[Any, str], Any]) -> Code:
    def code(m: Any, d: str) -> None:
        x = left(m, d)
        x += right(m, d)

    return code


def _view_in_place(m: Any, d: str) -> None:
    leaf(m, d, [1.0, 2.0])[:1].mul_(2)


def _assign(key: Any, value: Any, make: Any = leaf) -> Code:
    def code(m: Any, d: str) -> None:
        make(m, d, [1.0, 2.0])[key(m, d) if callable(key) else key] = value(m, d) if callable(value) else value

    return code


def _result(m: Any, d: str, values: Any) -> Any:
    return leaf(m, d, values) * 1


REFUSED: dict[str, tuple[Code, str]] = {
    "leaf": (_iadd(lambda m, d: leaf(m, d, [1.0]), lambda m, d: 1), LEAF),
    "leaf assignment": (_assign(0, 1.0), VIEW_OF_LEAF),
    "leaf assignment by mask": (_assign(lambda m, d: m.tensor([True, False], device=d), 1.0), LEAF),
    "view of leaf": (_view_in_place, VIEW_OF_LEAF),
    "shape": (
        _iadd(lambda m, d: _result(m, d, [1.0, 2.0]), lambda m, d: m.ones(3, device=d)),
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
    ),
    "growing": (
        _iadd(lambda m, d: _result(m, d, [1.0, 2.0]), lambda m, d: m.ones(2, 2, device=d)),
        "output with shape [2] doesn't match the broadcast shape [2, 2]",
    ),
    "float into int": (
        _iadd(lambda m, d: m.tensor([1, 2], device=d), lambda m, d: 1.5),
        "result type Float can't be cast to the desired output type Long",
    ),
    "overlap": (
        lambda m, d: _result(m, d, [1.0]).expand(3).add_(1),
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation.",
    ),
    "detach_ of a view": (lambda m, d: _result(m, d, [1.0, 2.0])[0].detach_(), "Can't detach views in-place"),
    "index": (_assign(5, 1.0, _result), "IndexError: index 5 is out of bounds for dimension 0 with size 2"),
    "value": (
        _assign(lambda m, d: m.tensor([0, 1], device=d), lambda m, d: m.ones(3, device=d), _result),
        "shape mismatch: value tensor of shape [3] cannot be broadcast to indexing result of shape [2]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, device: str) -> None:
    code, text = REFUSED[case]
    assert text in fails(code, device, wording=False)
    if torch is not None:
        assert text in repr(outcome(code, torch, "cpu"))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(gc.ones(3, device=t.device)),
        lambda t: t.mul_(gc.ones(2, 2, 2, device=t.device)),
        lambda t: t.copy_(gc.ones(5, device=t.device)),
        lambda t: t.__setitem__(9, 0.0),
        lambda t: t.__setitem__(gc.tensor([0, 9], device=t.device), 0.0),
        lambda t: t.__setitem__(0, gc.ones(3, device=t.device)),
        lambda t: t.__iadd__("text"),
    ],
)
def test_a_refused_change_changes_nothing(change: Callable[[Any], Any], device: str) -> None:
    x = gc.tensor([[1.0, 2.0], [3.0, 4.0]], device=device, requires_grad=True)
    for t in (x * 1, (x * 1).t(), x.detach().clone()):
        before, version, node = t.tolist(), t._version, t.grad_fn
        with pytest.raises((RuntimeError, IndexError, TypeError)):
            change(t)
            if device == "cuda":
                gc.cuda.synchronize()  # where a bad index is reported
        assert t.tolist() == before and t._version == version and t.grad_fn is node
