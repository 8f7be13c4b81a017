"""The tape as PyTorch documents it: gradients, graphs, higher derivatives, copies.

Each piece of code runs with gradcore on every device and, where it is installed, with PyTorch; both must do the same.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from behaviour import does, leaf, matches

import gradcore as gc


# ---------------------------------------------------------------- the tutorial
def test_requires_grad_spreads(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        a, b = m.ones(2, 2, device=d), leaf(m, d, [[1.0, 2.0], [3.0, 4.0]])
        plain, y = a * 3, a * 3 + b
        a.requires_grad_(True)
        z = (a * a).sum()
        names = [t.grad_fn.name() if t.grad_fn else None for t in (plain, y, z)]
        flags = [(t.requires_grad, t.is_leaf) for t in (plain, y, z, a)]
        return names, flags

    names, flags = does(code, device)
    assert names == [None, "AddBackward0", "SumBackward0"]
    assert flags == [[False, True], [True, False], [True, False], [True, True]]


def test_scalar_backward(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = m.ones(2, 2, requires_grad=True, device=d)
        y = x + 2
        out = (y * y * 3).mean()
        out.backward()
        return out, x.grad, x.grad.requires_grad

    assert does(code, device) == [27.0, [[4.5, 4.5], [4.5, 4.5]], False]


def test_vector_jacobian_product(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        inp = m.eye(4, 5, device=d).requires_grad_()
        out = (inp + 1).pow(2).t()
        out.backward(m.ones_like(out), retain_graph=True)
        first = inp.grad.clone()
        out.backward(m.ones_like(out), retain_graph=True)
        second = inp.grad.clone()
        inp.grad.zero_()
        out.backward(m.ones_like(out))
        return first[0], second[0], inp.grad[0]

    assert does(code, device) == [[4.0, 2, 2, 2, 2], [8.0, 4, 4, 4, 4], [4.0, 2, 2, 2, 2]]


def test_gradients_accumulate_in_place(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        (x * 3).sum().backward()
        first = x.grad
        (x * x).sum().backward()
        return x.grad, x.grad is first, first._version

    assert does(code, device) == [[5.0, 7.0], True, 1]


def test_update_of_leaves(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        a = leaf(m, d, [1.0, -2.0])
        for _ in range(3):
            (a * a).sum().backward()
            with m.no_grad():
                a -= 0.25 * a.grad
                a.grad = None
        return a, a.requires_grad, a.is_leaf, a.grad, a._version

    assert does(code, device) == [[0.125, -0.25], True, True, None, 3]


def test_detach(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [2.0])
        y = x * x
        z = y.detach() * x
        cut = (x * 3).detach_()
        return m.autograd.grad(z, x), y.detach().grad_fn, y.detach().requires_grad, cut.is_leaf, cut.requires_grad

    assert does(code, device) == [[[4.0]], None, False, True, False]


def test_graph_can_be_walked() -> None:
    def code(m: Any, d: str) -> Any:
        x, w = leaf(m, d, [1.0]), leaf(m, d, [2.0])
        node = (x.exp() * w + 1.0).sum().grad_fn
        names = []
        while node is not None:
            names.append((node.name(), [None if n is None else n.name() for n, _ in node.next_functions]))
            node = node.next_functions[0][0] if node.next_functions else None
        return names, (x * w).grad_fn.next_functions[1][0].variable is w

    names, found = does(code)
    assert found and [n for n, _ in names] == [
        "SumBackward0", "AddBackward0", "MulBackward0", "ExpBackward0", "gradcore::autograd::AccumulateGrad",
    ]  # fmt: skip
    assert names[2][1] == ["ExpBackward0", "gradcore::autograd::AccumulateGrad"]


def test_grad_of_a_result_is_none_with_a_warning() -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0])
        y = x * 2
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            empty = (y.grad, x.grad, y.detach().grad)
        return empty, [w.category.__name__ for w in caught], str(caught[0].message)[:68]

    text = "The .grad attribute of a Tensor that is not a leaf Tensor is being a"
    assert does(code) == [[None, None, None], ["UserWarning"], text]


def test_create_graph_in_backward_warns_of_the_cycle() -> None:
    x = gc.ones(1, requires_grad=True)
    with pytest.warns(UserWarning, match="will create a reference cycle between the parameter and its gradient"):
        (x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad


# ---------------------------------------------------------------- grad() and inputs=
def test_grad_of_several(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, y, z = leaf(m, d, 2.0), leaf(m, d, 3.0), leaf(m, d, [5.0, 6.0])
        a, b = x * y, x + y
        weighted = m.autograd.grad([a, b], [x, y], [m.tensor(2.0, device=d), None], retain_graph=True)
        unused = m.autograd.grad(a, [x, z], allow_unused=True, retain_graph=True)
        zeros = m.autograd.grad(a, [x, z], materialize_grads=True, retain_graph=True)
        inner = m.autograd.grad(a * b, [a, b, x])
        same = m.autograd.grad(x, x)
        return weighted, unused, zeros, inner, same, x.grad

    assert does(code, device) == [[7.0, 5.0], [3.0, None], [3.0, [0.0, 0.0]], [5.0, 6.0, 21.0], [1.0], None]


def test_backward_with_inputs(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, y = leaf(m, d, 2.0), leaf(m, d, 3.0)
        a = x * y
        (a * a).backward(inputs=[x, a])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return x.grad, y.grad, a.grad

    assert does(code, device) == [36.0, None, 12.0]


def test_grad_computes_only_what_was_asked_for() -> None:
    calls = []

    class Spy(gc.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            calls.append(1)
            return g * 2

    x, w = gc.ones(1, requires_grad=True), gc.ones(1, requires_grad=True)
    y = Spy.apply(x) * w
    gc.autograd.grad(y, w, retain_graph=True)
    assert not calls
    gc.autograd.grad(y, x)
    assert calls == [1]


def test_create_graph_and_retain_graph(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, 3.0)
        y = x * x * x
        plain = m.autograd.grad(y, x, retain_graph=True)[0]
        (first,) = m.autograd.grad(y, x, create_graph=True)
        (second,) = m.autograd.grad(first, x)
        return plain.requires_grad, first.requires_grad, first, second

    assert does(code, device) == [False, True, 27.0, 18.0]


# ---------------------------------------------------------------- graphs
def test_shared_subexpressions(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        a = x * 2
        b, c = a.exp().log(), a * a
        e = b * c + a  # a diamond whose ends meet again
        for _ in range(10):
            e = e + e  # 1024 paths
        e.sum().backward()
        return x.grad

    # 1024 * d(8 x^3 + 2 x)/dx
    assert does(code, device) == pytest.approx([1024 * 26.0, 1024 * 98.0])


def test_several_results_some_unused(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [[1.0, 4.0, 2.0], [3.0, 0.0, 5.0]])
        _, b, _ = x.split(1, dim=1)
        values, indices = x.max(dim=1)
        (b.sum() * 3 + (values * values).sum()).backward()
        return x.grad, indices.requires_grad, b.grad_fn.name(), b.output_nr

    assert does(code, device) == [[[0.0, 11.0, 0.0], [0.0, 3.0, 10.0]], False, "SplitBackward0", 1]


def test_several_roots(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        y = x * x
        g = m.tensor([10.0, 100.0], device=d)
        m.autograd.backward([y, y.sum(), x], [g, None, g])
        return x.grad, g

    assert does(code, device) == [[32.0, 504.0], [10.0, 100.0]]


def test_gradients_have_the_shape_and_dtype_of_their_tensors(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, w = leaf(m, d, [[1.0], [2.0]]), leaf(m, d, [1.0, 2.0, 3.0], dtype=m.float64)
        s, h = leaf(m, d, 2.0, dtype=m.float64), leaf(m, d, [1.0, 2.0, 3.0], dtype=m.float16)
        y = x * w + s * h
        y.sum().backward()
        return y.dtype, [(t.grad, t.grad.dtype) for t in (x, w, s, h)]

    dtype, grads = does(code, device)
    assert dtype == "float64"
    assert grads == [
        [[[6.0], [6.0]], "float32"], [[3.0, 3.0, 3.0], "float64"], [12.0, "float64"], [[4.0, 4.0, 4.0], "float16"],
    ]  # fmt: skip


def test_an_integer_or_double_gradient_is_converted(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        (x * 3).backward(m.tensor([1.0, 2.0], dtype=m.float64, device=d))
        return x.grad, x.grad.dtype

    assert does(code, device) == [[3.0, 6.0], "float32"]


# ---------------------------------------------------------------- higher derivatives
def test_derivatives_of_a_power(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, 2.0)
        y, found = x**4, []
        for _ in range(5):
            (y,) = m.autograd.grad(y, x, create_graph=True)
            found.append(y)
        return found

    assert does(code, device) == [32.0, 48.0, 48.0, 24.0, 0.0]


SECOND: dict[str, Callable[..., Any]] = {
    "softmax": lambda m, x, w, t: (x.softmax(1) * w).sum(),
    "log_softmax": lambda m, x, w, t: (x.log_softmax(1) * w).sum(),
    "cross entropy": lambda m, x, w, t: m.nn.functional.cross_entropy(x * w, t),
    "linear": lambda m, x, w, t: (m.nn.functional.linear(x, w).tanh() ** 2).sum(),
    # one input of a fused op made from the other, and the same tensor given twice
    "cross entropy of itself": lambda m, x, w, t: m.nn.functional.cross_entropy(x, (x * w).softmax(1)),
    "cross entropy twice": lambda m, x, w, t: m.nn.functional.cross_entropy(x, x) + w.sum(),
    "linear of itself": lambda m, x, w, t: (m.nn.functional.linear(x, x) ** 3).sum() + w.sum(),
    "linear, weight from input": lambda m, x, w, t: (m.nn.functional.linear(x * 1, x.exp() * w) ** 2).sum(),
    "norm": lambda m, x, w, t: (x * w).norm(dim=1).prod(),
}


@pytest.mark.parametrize("case", SECOND)
def test_second_derivative(case: str, device: str) -> None:
    """A Hessian-vector product, and the third derivative behind it."""

    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]], dtype=m.float64)
        w = leaf(m, d, [[1.0, 2.0, -1.0], [0.5, 1.5, 1.0]], dtype=m.float64)
        y = SECOND[case](m, x, w, m.tensor([2, 0], device=d))
        gx, gw = m.autograd.grad(y, [x, w], create_graph=True)
        plain = m.autograd.grad(y, [x, w], retain_graph=True)
        hx, hw = m.autograd.grad((gx * x.detach()).sum() + (gw * gw * w).sum(), [x, w], create_graph=True)
        return [gx, gw], plain, hx, hw, m.autograd.grad((hx * hx).sum() + (hw * w * x).sum(), x)

    recorded, plain, *_ = does(code, device)
    assert matches(recorded, plain)
    x = gc.tensor([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]], dtype=gc.float64, device=device, requires_grad=True)
    w = gc.tensor([[1.0, 2.0, -1.0], [0.5, 1.5, 1.0]], dtype=gc.float64, device=device, requires_grad=True)
    target = gc.tensor([2, 0], device=device)
    assert gc.autograd.gradgradcheck(lambda x, w: SECOND[case](gc, x, w, target), (x, w))


def test_gradient_penalty(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x, w = leaf(m, d, [1.0, 2.0]), leaf(m, d, [3.0, -1.0])
        y = (x * w).pow(2).sum()
        (g,) = m.autograd.grad(y, x, create_graph=True)
        (y + g.pow(2).sum()).backward()
        return x.grad, w.grad

    assert does(code, device) == [[18.0 + 648.0, 4.0 + 16.0], [6.0 + 432.0, -8.0 - 64.0]]


# ---------------------------------------------------------------- copies
def test_deepcopy_and_pickle(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        (x * 3).sum().backward()
        c = copy.deepcopy({"a": x, "b": x})
        p = pickle.loads(pickle.dumps(x))
        with m.no_grad():
            x.zero_()
        shared = c["a"] is c["b"]
        return shared, c["a"], c["a"].grad, c["a"].grad is x.grad, c["a"].requires_grad, p, p.requires_grad, p.is_leaf

    assert does(code, device) == [True, [1.0, 2.0], [3.0, 3.0], False, True, [1.0, 2.0], True, True]
