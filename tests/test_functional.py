"""`gradcore.autograd.functional`: against finite differences and against PyTorch's, results and errors."""

from __future__ import annotations

import numpy as np
import pytest
from parity import assert_same, cases, evaluate, outcome

import gradcore as gc
from gradcore.autograd import functional

X = np.array([0.7, -1.3, 0.4])
M = np.array([[0.5, -0.2, 1.1], [0.3, 0.8, -0.6]])
STEP = 1e-5


def several(x, m):
    return m @ x.cos(), (x * m).sum(), x**2


def energy(x, m):
    return ((m @ x).sin() * (m * m).sum(1)).sum()


def slopes(function, args, which):
    """The derivatives of a scalar or vector function by one argument, by central differences: outputs by elements."""
    columns = []
    for unit in np.eye(args[which].size):
        step = unit.reshape(args[which].shape) * STEP
        sides = []
        for sign in (1, -1):
            moved = [a + sign * step if i == which else a for i, a in enumerate(args)]
            sides.append(function(*map(gc.tensor, moved)).numpy().reshape(-1))
        columns.append((sides[0] - sides[1]) / (2 * STEP))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
@pytest.mark.parametrize("vectorize", [False, True])
def test_jacobian_against_finite_differences(strategy, vectorize):
    found = functional.jacobian(several, (gc.tensor(X), gc.tensor(M)), vectorize=vectorize, strategy=strategy)
    assert len(found) == 3 and all(len(row) == 2 for row in found)
    outputs = several(gc.tensor(X), gc.tensor(M))
    for o, row in enumerate(found):
        for i, block in enumerate(row):
            expected = slopes(lambda x, m, o=o: several(x, m)[o], (X, M), i)
            assert block.shape == (*outputs[o].shape, *(X, M)[i].shape)
            np.testing.assert_allclose(block.numpy().reshape(expected.shape), expected, atol=1e-9)


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_hessian_and_its_products_against_finite_differences(strategy):
    inputs = gc.tensor(X), gc.tensor(M)
    blocks = functional.hessian(energy, inputs, outer_jacobian_strategy=strategy)

    def gradient(which):
        return lambda *args: functional.jacobian(energy, args)[which]

    parts = [[slopes(gradient(o), (X, M), i) for i in range(2)] for o in range(2)]
    for o in range(2):
        for i in range(2):
            found = blocks[o][i]
            assert found.shape == (*(X, M)[o].shape, *(X, M)[i].shape)
            np.testing.assert_allclose(found.numpy().reshape(parts[o][i].shape), parts[o][i], atol=1e-8)
    v = gc.randn(3, dtype=gc.float64), gc.randn(2, 3, dtype=gc.float64)
    expected = np.block(parts) @ np.concatenate([t.numpy().reshape(-1) for t in v])
    for product in (functional.vhp, functional.hvp):
        value, found = product(energy, inputs, v)
        assert value.item() == energy(*inputs).item()
        flat = np.concatenate([t.numpy().reshape(-1) for t in found])
        np.testing.assert_allclose(flat, expected, atol=1e-8)


def test_products_with_the_jacobian():
    inputs = gc.tensor(X), gc.tensor(M)
    matrix = functional.jacobian(several, inputs)
    v = gc.randn(3, dtype=gc.float64), gc.randn(2, 3, dtype=gc.float64)
    outputs, product = functional.jvp(several, inputs, v)
    assert_same(list(outputs), list(several(*inputs)))
    for (by_x, by_m), found in zip(matrix, product):
        expected = by_x @ v[0] + (by_m * v[1]).sum((-1, -2))
        np.testing.assert_allclose(found.numpy(), expected.numpy())
    w = gc.randn(2, dtype=gc.float64), gc.tensor(2.0, dtype=gc.float64), gc.randn(3, dtype=gc.float64)
    _, product = functional.vjp(several, inputs, w)
    for i, found in enumerate(product):
        expected = sum(np.tensordot(u.numpy(), row[i].numpy(), u.ndim) for u, row in zip(w, matrix))
        np.testing.assert_allclose(found.numpy(), expected)


@pytest.mark.parametrize("create_graph", [False, True])
def test_results_are_connected_where_asked(create_graph):
    x = gc.tensor(X, requires_grad=True)
    for name in ("vjp", "jvp", "vhp", "hvp"):
        value, found = getattr(functional, name)(
            lambda x: (x**3).sum(), x, gc.tensor(1.0 if name == "vjp" else X), create_graph=create_graph
        )
        assert value.requires_grad is found.requires_grad is create_graph, name
    for transform in (functional.jacobian, functional.hessian):
        found = transform(lambda x: (x**3).sum(), x, create_graph=create_graph)
        assert found.requires_grad is create_graph
    if create_graph:
        (third,) = gc.autograd.grad(found.sum(), x)
        np.testing.assert_allclose(third.numpy(), np.full(3, 6.0))
    assert x.grad is None


def names_of(T):
    x, y = T.tensor(2.0, dtype=T.float64), T.tensor([1.0, 2.0, 3.0], dtype=T.float64)
    w = T.tensor(3.0, dtype=T.float64, requires_grad=True)

    @T.no_grad()
    def quiet(f, *args, **kwargs):
        return f(*args, **kwargs)

    return {"T": T, "A": T.autograd.functional, "x": x, "y": y, "w": w, "m": T.tensor(M), "quiet": quiet}


def compared(case, torch):
    ours = outcome(lambda: evaluate(case, **names_of(gc)))
    theirs = outcome(lambda: evaluate(case, **names_of(torch)))
    assert_same(ours, theirs)
    return ours, theirs


@cases("""
    A.vjp(lambda a: a.exp(), y, y);
    A.vjp(lambda a: a.sum(), y);
    A.vjp(lambda a: (a * 2, a.sum()), y, (y, x));
    A.vjp(lambda a, b: a * 2, (y, x), y);
    A.vjp(lambda a, b: a * 2, (y, w), y, create_graph=True);
    A.vjp(lambda a: a * w, y, y);
    A.vjp(lambda a: a * w, w, x, create_graph=True);
    A.vjp(lambda a: x * 2, x, x);
    quiet(A.vjp, lambda a: a * w, w, x);
    quiet(A.vjp, lambda a: a * w, w, x, create_graph=True);
    A.vjp(lambda a: (a,), (y,), y);
    A.jvp(lambda a: a.exp(), y, y);
    A.jvp(lambda a: a * 3, x);
    A.jvp(lambda a: (a * 2, a.sum()), y, y);
    A.jvp(lambda a, b: a * b, (y, w), (y, x), create_graph=True);
    A.jvp(lambda a, b: a * 2, (y, x), (y, x));
    A.jvp(lambda a: T.ones(2), x, x);
    quiet(A.jvp, lambda a: a * w, w, x);
    A.vhp(lambda a: (a**3).sum(), y, y);
    A.vhp(lambda a: a**3, x);
    A.vhp(lambda a, b: (a * b).sum() ** 2, (y, m), (y, m));
    A.vhp(lambda a, b: (a**2).sum(), (y, m), (y, m));
    A.vhp(lambda a: (a * a).sum() * w, w, x, create_graph=True);
    A.hvp(lambda a: (a**3).sum(), y, y);
    A.hvp(lambda a: a**3, x);
    A.hvp(lambda a, b: (a * b).sum() ** 2, (y, m), (y, m));
    quiet(A.hvp, lambda a: (a * a).sum() * w, w, x);
    A.hvp(lambda a: (a**3).sum() * w, w, x, create_graph=True);
    A.jacobian(lambda a: a**2, y);
    A.jacobian(lambda a: a.sum(), y);
    A.jacobian(lambda a: (a**2, a.sum()), y);
    A.jacobian(lambda a, b: b @ a, (y, m));
    A.jacobian(lambda a, b: (b @ a, a * 2), (y, m));
    A.jacobian(lambda a: (a**2,), (y,));
    A.jacobian(lambda a, b: b @ a, (y, m), vectorize=True);
    A.jacobian(lambda a, b: b @ a, (y, m), vectorize=True, strategy='forward-mode');
    A.jacobian(lambda a: a * w, w, create_graph=True);
    A.jacobian(lambda a: a * w, w);
    A.jacobian(lambda a: w * 2, y);
    A.jacobian(lambda a: a**2, y, strict=True);
    A.hessian(lambda a: (a**3).sum(), y);
    A.hessian(lambda a: (a**3).sum(), y, create_graph=True);
    A.hessian(lambda a: (a**3).sum().view(1, 1), y);
    A.hessian(lambda a, b: ((b @ a) ** 2).sum(), (y, m));
    A.hessian(lambda a, b: (a**2).sum(), (y, m));
    A.hessian(lambda a, b: ((b @ a) ** 2).sum(), (y, m), vectorize=True);
    A.hessian(lambda a: (a**3).sum(), y, vectorize=True, outer_jacobian_strategy='forward-mode').detach();
    A.hessian(lambda a: (a**3).sum() * w, w, create_graph=True, strict=True);
    A.jacobian(lambda a: A.jacobian(lambda b: b**3, a, create_graph=True), y)
""")
def test_parity(case, oracle):
    _, theirs = compared(case, oracle)
    assert not hasattr(theirs, "error"), theirs


@cases("""
    A.vjp(lambda a: a, [y], y);
    A.vjp(lambda a: a, (y, 3), y);
    A.vjp(lambda a: [a], y, y);
    A.vjp(lambda a: (a, 3), y, y);
    A.vjp(lambda a: a, y, [y]);
    A.vjp(lambda a: a, y);
    A.vjp(lambda a: (a, a), y, y);
    A.vjp(lambda a: a, y, (y, y));
    A.vjp(lambda a: a, y, x);
    A.vjp(lambda a: (a, a), y, (y, x));
    A.vjp(lambda a: x * 2, y, x, strict=True);
    A.vjp(lambda a, b: a * 2, (y, x), y, strict=True);
    A.vjp(lambda a: a * 2, y, y, strict=True, create_graph=True);
    A.vjp(lambda a: a, T.arange(3), y);
    A.jvp(lambda a: a, y);
    A.jvp(lambda a: a, y, x);
    A.jvp(lambda a: a, y, 3);
    A.jvp(lambda a: x * 2, y, y, strict=True);
    A.jvp(lambda a, b: a * 2, (y, x), (y, x), strict=True);
    A.vhp(lambda a: a, y, y);
    A.vhp(lambda a: (a.sum(), a.sum()), y, y);
    A.vhp(lambda a: (a**2).sum(), y);
    A.vhp(lambda a: a.sum(), y, y, strict=True);
    A.vhp(lambda a, b: (a**2).sum(), (y, x), (y, x), strict=True);
    A.hvp(lambda a: a, y, y);
    A.hvp(lambda a: a.sum(), y, y, strict=True);
    A.jacobian(lambda a: a, [y]);
    A.jacobian(lambda a: 'text', y);
    A.jacobian(lambda a: a, y, strategy='sideways');
    A.jacobian(lambda a: x, y, strict=True);
    A.jacobian(lambda a, b: a * 2, (y, x), strict=True);
    A.jacobian(lambda a: a * 2, y, strict=True, create_graph=True);
    A.jacobian(lambda a: a, y, strict=True, vectorize=True);
    A.jacobian(lambda a: a, y, create_graph=True, strategy='forward-mode');
    A.jacobian(lambda a: a, y, strict=True, strategy='forward-mode');
    A.hessian(lambda a: a, y);
    A.hessian(lambda a: (a.sum(), a.sum()), y);
    A.hessian(lambda a: a.sum(), y, outer_jacobian_strategy='sideways');
    A.hessian(lambda a: a.sum(), y, strict=True);
    A.hessian(lambda a: x * 1, y, strict=True)
""")
def test_errors(case, oracle):
    ours, theirs = compared(case, oracle)
    assert hasattr(ours, "error"), f"nothing was raised: {ours!r}"
    assert str(ours.error) == str(theirs.error).replace("torch.", "gradcore.")
