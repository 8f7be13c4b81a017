"""`gradcore.func`: the transforms against finite differences and PyTorch's, how levels nest, modules as functions."""

from __future__ import annotations

import gc as collector
import weakref
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from parity import assert_same, cases, evaluate, outcome

import gradcore as gc
from gradcore.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
)
from gradcore.utils._pytree import flatten, tree_map, unflatten

X = np.array([0.7, -1.3, 0.4])
M = np.array([[0.5, -0.2, 1.1], [0.3, 0.8, -0.6]])
STEP = 1e-6

# Functions of the library and of tensors, with the arguments they are differentiated at.
FUNCTIONS = {
    "scalar to scalar": (lambda T, x: x.sin() * x, (np.array(0.8),)),
    "scalar to vector": (lambda T, x: T.stack([x**3, x.exp()]), (np.array(0.8),)),
    "vector to scalar": (lambda T, x: (x.tanh() * x).sum(), (X,)),
    "vector to vector": (lambda T, x: x.exp() * x.sum(), (X,)),
    "linear": (lambda T, x: 3 * x - x.sum(), (X,)),
    "constant": (lambda T, x: T.ones(2, dtype=T.float64), (X,)),
    "identity": (lambda T, x: x, (X,)),
    "two inputs": (lambda T, x, m: m @ x, (X, M)),
    "unused input": (lambda T, x, m: (m * m).sum(1), (X, M)),
    "several outputs": (lambda T, x, m: (m @ x.cos(), x**2), (X, M)),
    "one output independent": (lambda T, x: (x * x, T.zeros(2, dtype=T.float64)), (X,)),
    "dictionary": (lambda T, p: {"out": p["w"] @ p["x"], "norm": [(p["x"] ** 2).sum()]}, ({"w": M, "x": X},)),
    "nested": (lambda T, p: (p[0][0] * p[1]["m"]).sum(), (([X], {"m": M}),)),
    "detached": (lambda T, x: x * x.detach().exp(), (X,)),
    "own in-place": (lambda T, x: _filled(T, x), (X,)),
    "softmax": (lambda T, m: T.softmax(m, 1), (M,)),
    "matrix products": (lambda T, a, b: (a.T @ b).sin(), (M, M + 1)),
}
PARAMETRIZED = pytest.mark.parametrize("name", FUNCTIONS)
# What is detached moves when the argument is moved, and is no derivative of the function.
DIFFERENTIABLE = pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "detached"])


def _filled(T, x):
    out = T.zeros(3, dtype=T.float64)
    out[1] = x[0]
    out[2] = x[1] * x[2]
    return out.mul_(x)


def prepared(name, T=gc):
    """A function of tensors, and its arguments."""
    function, values = FUNCTIONS[name]
    return lambda *args: function(T, *args), tree_map(T.tensor, values)


def numerical(function, args):
    """The matrix of the flattened outputs by the flattened arguments, by central differences."""
    leaves, structure = flatten(args)
    sizes = [t.numel() for t in leaves]

    def value(vector):
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        moved = [gc.tensor(part.reshape(t.shape)) for part, t in zip(parts, leaves)]
        return vector_of(function(*unflatten(moved, structure)))

    start = vector_of(args)
    units = np.eye(start.size) * STEP
    return np.stack([(value(start + u) - value(start - u)) / (2 * STEP) for u in units], axis=1)


def vector_of(tree):
    return np.concatenate([t.detach().numpy().reshape(-1) for t in flatten(tree)[0]])


def matrix_of(jacobian, outputs, args):
    """The blocks of a Jacobian as one matrix."""
    blocks = iter(flatten(jacobian)[0])
    rows = [
        np.concatenate([next(blocks).detach().numpy().reshape(o.numel(), t.numel()) for t in flatten(args)[0]], axis=1)
        for o in flatten(outputs)[0]
    ]
    assert next(blocks, None) is None
    return np.concatenate(rows, axis=0)


# ---------------------------------------------------------------- against finite differences
@DIFFERENTIABLE
def test_jacobians_against_finite_differences(name):
    function, args = prepared(name)
    everything = tuple(range(len(args)))
    expected = numerical(function, args)
    for transform in (jacrev, jacfwd):
        found = matrix_of(transform(function, everything)(*args), function(*args), args)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8, err_msg=transform.__name__)


def test_on_a_device(device):
    x = gc.tensor(X, device=device)
    results = [transform(lambda a: a.exp() * a.sum())(x) for transform in (jacrev, jacfwd)]
    expected = jacrev(lambda a: a.exp() * a.sum())(gc.tensor(X))
    for found in results:
        assert found.device == x.device
        np.testing.assert_allclose(found.cpu().numpy(), expected.numpy())
    assert hessian(lambda a: (a**3).sum())(x).device == x.device


@PARAMETRIZED
def test_products_are_those_of_the_matrix(name):
    function, args = prepared(name)
    outputs = function(*args)
    matrix = matrix_of(jacrev(function, tuple(range(len(args))))(*args), outputs, args)
    tangents, cotangents = tree_map(lambda t: gc.randn_like(t), args), tree_map(lambda t: gc.randn_like(t), outputs)
    forward, backward = matrix @ vector_of(tangents), vector_of(cotangents) @ matrix
    output, pushed = jvp(function, args, tangents)
    np.testing.assert_allclose(vector_of(output), vector_of(outputs))
    np.testing.assert_allclose(vector_of(pushed), forward, atol=1e-12)
    output, push = linearize(function, *args)
    np.testing.assert_allclose(vector_of(output), vector_of(outputs))
    for factor in (1, 2):  # it can be used again
        scaled = tree_map(lambda t, factor=factor: t * factor, tangents)
        np.testing.assert_allclose(vector_of(push(*scaled)), forward * factor, atol=1e-12)
    output, pull = vjp(function, *args)
    np.testing.assert_allclose(vector_of(output), vector_of(outputs))
    for _ in range(2):
        np.testing.assert_allclose(vector_of(pull(cotangents)), backward, atol=1e-12)
    assert not any(t.requires_grad for t in flatten((output, pushed, pull(cotangents)))[0])


@DIFFERENTIABLE
def test_hessians_against_finite_differences(name):
    function, args = prepared(name)
    everything = tuple(range(len(args)))

    def total(*args):
        return sum((o * o).sum() for o in flatten(function(*args))[0])

    expected = numerical(grad(total, everything), args)
    found = matrix_of(hessian(total, everything)(*args), args, args)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    forward = matrix_of(jacfwd(jacrev(total, everything), everything)(*args), args, args)
    np.testing.assert_allclose(forward, found, atol=1e-10)


# ---------------------------------------------------------------- against PyTorch
def compared(run, torch):
    """Run on both libraries: the same structure, values, dtypes and connection to the outside, or the same error."""
    ours, theirs = outcome(run, gc), outcome(run, torch)
    if not hasattr(theirs, "error") and not hasattr(ours, "error"):
        ours, structure = flatten(ours)
        theirs, expected = flatten(theirs)
        assert repr(structure) == repr(expected)
    elif hasattr(theirs, "error") and hasattr(ours, "error"):
        assert str(ours.error) == str(theirs.error).replace("torch.", "gradcore.")
    assert_same(ours, theirs)


@PARAMETRIZED
def test_parity_of_functions(name, oracle):
    def run(T):
        function, args = prepared(name, T)
        everything = tuple(range(len(args)))
        found = [T.func.jacrev(function)(*args), T.func.jacfwd(function, everything)(*args)]
        output, pull = T.func.vjp(function, *args)
        found += [output, pull(output), T.func.jvp(function, args, args)]

        def total(*args):
            return sum((o * o).sum() for o in flatten(function(*args))[0])

        return *found, T.func.grad_and_value(total, everything)(*args), T.func.hessian(total, everything)(*args)

    compared(run, oracle)


def names_of(T):
    """What the cases below are written in."""
    x, y = T.tensor(2.0, dtype=T.float64), T.tensor([1.0, 2.0, 3.0], dtype=T.float64)
    w = T.tensor(3.0, dtype=T.float64, requires_grad=True)

    @T.no_grad()
    def quiet(f, *args):
        return f(*args)

    def own(a):
        b = T.zeros(3, dtype=T.float64)
        b[1] = a
        return b.mul_(a).sum()

    def doubled(a):
        return a.mul_(2).sum()

    def view_doubled(a):
        a.view(-1).mul_(2)
        return a.sum()

    names = {"T": T, "F": T.func, "pulled": T.func.vjp(lambda a: a**3, x)[1], "x": x, "y": y, "w": w}
    return names | {f.__name__: f for f in (quiet, own, doubled, view_doubled)}


@cases("""
    F.grad(lambda a: F.grad(lambda b: b**3)(a))(x);
    F.grad(F.grad(F.grad(lambda a: a**4)))(x);
    F.grad(lambda a: F.grad(lambda b: a * b * b)(a))(x);
    F.grad(lambda a: F.grad(lambda b: b.detach() * b)(a))(x);
    F.grad(lambda a: (F.jacrev(lambda b: b * b.sum() * a.sum())(a) ** 2).sum())(y);
    F.grad(lambda a: F.hessian(lambda b: (b**4).sum() * a.sum())(a).sum())(y);
    F.jacrev(F.jacfwd(lambda a: a**3))(y);
    F.jacfwd(F.jacfwd(lambda a: a**3))(y);
    F.jacfwd(F.grad(lambda a: (a**3).sum()))(y);
    F.grad(lambda a: F.jvp(lambda b: b**3, (a,), (a * a,))[1])(x);
    F.jvp(lambda a: F.jvp(lambda b: b**3, (a,), (a,))[1], (x,), (x,));
    F.grad(lambda a: F.vjp(lambda b: b**3, a)[1](a * a)[0])(x);
    F.grad(lambda a: F.grad(lambda b: b * b * a)(x))(x);
    F.grad(lambda a: F.grad(lambda b: b * b * a, argnums=0)(w))(x);
    F.grad(lambda a: F.jacfwd(lambda b: b * b * a)(x))(x);
    F.grad(lambda c: pulled(c)[0] ** 2)(x);
    F.grad(lambda c: pulled(c)[0] * w)(x);
    F.grad(own)(x);
    F.grad(lambda a: a * a * w)(x);
    F.grad(lambda a: a * a + w)(x);
    F.grad(lambda a: a**3)(w);
    F.grad(lambda a: a**3 * w)(w);
    F.grad(lambda a: w)(x);
    F.grad(lambda a: x)(x);
    F.grad(lambda a: (a > 0).sum())(y);
    F.grad_and_value(lambda a: a)(x);
    F.grad_and_value(lambda a: a)(w);
    F.grad_and_value(lambda a: (a * a, {'k': [a + 1]}), has_aux=True)(w);
    F.grad(lambda a: (a * a, [a + 1, x * w]), has_aux=True)(x);
    F.grad(lambda a, b: a * b, argnums=(1, 0))(x, w.detach());
    F.grad(lambda a, b: a * b, argnums=-1)(x, x);
    F.grad(lambda a, b: a * b, argnums=(0,))(x, x);
    F.grad(lambda a, b=2: a * b)(x, b=x);
    F.grad(lambda a, b: a * 2, argnums=(0, 1))(x, w);
    F.grad(lambda a: x * w)(());
    quiet(F.grad(lambda a: a**3 * w), w);
    quiet(F.grad(F.grad(lambda a: a**3)), w);
    F.grad(lambda a: a - quiet(lambda b: b**2, a))(x);
    F.grad(lambda a: a * quiet(F.grad(lambda b: b**3), a))(x);
    quiet(lambda: F.vjp(lambda a: a**2 * w, w)[1](x));
    quiet(lambda: F.jvp(lambda a: a**2 * w, (w,), (x,)));
    quiet(lambda: F.jacrev(lambda a: a**2 * w)(w));
    quiet(lambda: F.jacfwd(lambda a: a**2 * w)(w));
    F.grad(lambda a: T.autograd.grad(a**3, a, create_graph=True)[0])(x);
    F.vjp(lambda a: a * w, x)[0];
    F.vjp(lambda a: a * w, x)[1](x);
    F.vjp(lambda a: a * 2, x)[1](w);
    F.vjp(lambda a: (a * 2, a * 3), x, has_aux=True)[0];
    F.vjp(lambda a: (a * 2, a * 3), x, has_aux=True)[2];
    F.vjp(lambda: x)[1](x);
    F.vjp(lambda a: a, x)[1](T.tensor(1.0));
    F.jvp(lambda a: (a * a, a * 3), (x,), (x,), has_aux=True);
    F.jvp(lambda a: (a * 2, a > 0), (x,), (x,));
    F.jvp(lambda a: a * 2, (x,), (T.tensor(1.0),));
    F.jvp(lambda a: a * w, (x,), (x,));
    F.jvp(lambda a: a * a, (x,), (w,));
    F.jvp(lambda a: w * 2, (x,), (x,));
    F.jacrev(lambda a: (a**2, a), has_aux=True)(y);
    F.jacfwd(lambda a: (a**2, a), has_aux=True)(y);
    F.jacrev(lambda a: a**2, chunk_size=2)(y);
    F.jacrev(lambda a: a[:0])(y);
    F.jacrev(lambda a: w * a)(x);
    F.jacfwd(lambda a: w * a)(x);
    F.jacfwd(lambda a, b: a * b, argnums=None)(x, y);
    F.jacrev(lambda a, b: a * b, argnums=(1,))(x, y);
    F.hessian(lambda a: a['k']**2 * a['j'])({'k': x, 'j': w});
    F.hessian(lambda a, b: a**2 * b, argnums=(0, 1))(x, w);
    F.hessian(lambda a: a * a.sum())(y);
    F.linearize(lambda a: a.sin() * w, x)[0];
    F.linearize(lambda a: a.sin() * w, x)[1](x);
    F.linearize(lambda a, b: {'s': a['p'] * b}, {'p': x}, y)[1]({'p': x}, y)
""")
def test_parity(case, oracle):
    compared(lambda T: evaluate(case, **names_of(T)), oracle)


@cases("""
    F.grad(doubled)(x);
    F.grad(doubled)(w);
    F.grad(doubled)(w * 2);
    F.grad(view_doubled)(x);
    F.grad(lambda a, b: a, argnums=[0, 1])(x, x);
    F.grad(lambda a, b: a, argnums=2)(x, x);
    F.grad(lambda a, b: a, argnums=-3)(x, x);
    F.grad(lambda a, b: a, argnums=())(x, x);
    F.grad(lambda a, b: a, argnums=(0, 0))(x, x);
    F.grad(lambda a, b: a, argnums=(0, -2))(x, x);
    F.grad(lambda a, b: a, argnums='a')(x, x);
    F.grad(lambda a, b: a, argnums=('a',))(x, x);
    F.jacrev(lambda a, b: a, argnums=None)(x, x);
    F.jacfwd(lambda a, b: a, argnums=[0])(x, x);
    F.grad(lambda a: a)(2.0);
    F.grad(lambda a: a)(None);
    F.grad(lambda a: a)([x, 'text']);
    F.grad(lambda a: a.sum())(T.arange(3));
    F.grad(lambda a: a)(y);
    F.grad(lambda a: 1.0)(x);
    F.grad(lambda a: (a, a))(x);
    F.grad(lambda a: a, has_aux=True)(x);
    F.grad(lambda a: [a, a], has_aux=True)(x);
    F.grad(lambda a: 1 / 0)(x);
    F.vjp(lambda a: None, x);
    F.vjp(lambda a: (), x);
    F.vjp(lambda a: (a, 3), x);
    F.vjp(lambda a: a > 0, x);
    F.vjp(lambda a: a, x, has_aux=True);
    F.vjp(lambda a: (a, a), x)[1](x);
    F.vjp(lambda a: {'p': a, 'q': [a]}, x)[1]((x, (x,)));
    F.vjp(lambda a: a, x)[1](y);
    F.vjp(lambda a: a * 2, x)[1](2.0);
    F.jvp(lambda a: a, x, x);
    F.jvp(lambda a: a, (x,), (1.0,));
    F.jvp(lambda a: a, (1.0,), (x,));
    F.jvp(lambda: x, (), ());
    F.jvp(lambda a: a, (x,), (y,));
    F.jvp(lambda a: x * 2, (x,), (x,), strict=True);
    F.jvp(lambda a: (y * 2, a), (y,), (y,), strict=True);
    F.jvp(lambda a: a * 2.0, (T.arange(2),), (T.arange(2),));
    F.jvp(lambda a: None, (x,), (x,));
    F.jvp(lambda a: (a, 3), (x,), (x,));
    F.jvp(lambda a: a, (x,), (x,), has_aux=True);
    F.jacrev(lambda a: a, chunk_size=0);
    F.jacrev(lambda a: (a, 1))(x);
    F.jacrev(lambda a: a > 2)(x);
    F.jacrev(lambda a, b=1: a)(x, b=x);
    F.linearize(lambda a: a.sin(), x)[1](y);
    F.linearize(lambda a: a.sin(), x)[1](T.tensor(1.0))
""")
def test_errors(case, oracle):
    result = outcome(lambda: evaluate(case, **names_of(gc)))
    assert hasattr(result, "error"), f"nothing was raised: {result!r}"
    if "=1: a" in case:  # a TypeError that Python words by the name of the function
        assert_same(result, outcome(lambda: evaluate(case, **names_of(oracle))))
    else:
        compared(lambda T: evaluate(case, **names_of(T)), oracle)


def test_structures_that_differ_are_shown():
    with pytest.raises(RuntimeError, match=r"primals with structure \(\*,\) and tangents with structure \[\*\]$"):
        jvp(gc.sin, (gc.ones(()),), [gc.ones(())])
    with pytest.raises(RuntimeError, match=r"Expected the tangents \(\*, \*\) to have the same argspec as .* \(\*,\)$"):
        linearize(gc.sin, gc.ones(()))[1](gc.ones(()), gc.ones(()))


# ---------------------------------------------------------------- levels
def test_a_closure_is_another_variable():
    x = gc.tensor(3.0)
    assert grad(lambda a: a * x)(x).item() == 3
    w = gc.tensor(3.0, requires_grad=True)
    gradient = grad(lambda a: a * a * w)(w)  # by the argument alone: 2 w w
    assert gradient.item() == 18
    gradient.backward()
    assert w.grad.item() == 12


def test_gradients_through_an_inner_step_of_training():
    w = gc.tensor([1.0, -2.0], dtype=gc.float64, requires_grad=True)
    rate = gc.tensor(0.1, dtype=gc.float64, requires_grad=True)

    def loss(p):
        return (p**4).sum()

    after = loss(w - rate * grad(loss)(w))
    after.backward()
    p = w.detach() - 0.1 * 4 * w.detach() ** 3
    np.testing.assert_allclose(rate.grad.item(), (4 * p**3 * -4 * w.detach() ** 3).sum().item())
    np.testing.assert_allclose(w.grad.numpy(), (4 * p**3 * (1 - 1.2 * w.detach() ** 2)).numpy())


def test_nothing_is_added_to_grad_and_arguments_stay_as_they_are():
    w = gc.tensor([1.0, 2.0], requires_grad=True)
    x = gc.tensor([1.0, 2.0])
    hessian(lambda a: (a**3 * w).sum())(x)
    assert w.grad is None and not x.requires_grad and x.grad is None


def test_the_graph_of_a_transform_ends_with_it():
    made = []

    def f(x):
        y = x.exp()
        if y.requires_grad:  # not in jvp, which is forward mode
            made.append(weakref.ref(y.grad_fn))
        return (y * y).sum()

    collector.collect()
    collector.disable()
    try:
        results = grad_and_value(f)(gc.ones(3)), jacrev(grad(f))(gc.ones(3)), jvp(f, (gc.ones(3),), (gc.ones(3),))
        assert len(made) == 2 and not any(node() for node in made)
    finally:
        collector.enable()
    assert not any(t.requires_grad for t in flatten(results)[0])


def test_aux_keeps_its_connection_to_the_outside():
    w = gc.tensor(2.0, requires_grad=True)

    def f(x):
        y = x.exp()
        return y, (y * w, "text")

    gradient, (aux, text) = grad(f, has_aux=True)(gc.tensor(0.0))
    assert text == "text" and not gradient.requires_grad
    aux.backward()
    assert w.grad.item() == 1


def test_a_product_taken_later_is_recorded_as_grad_mode_then_says():
    w = gc.tensor(2.0, requires_grad=True)
    _, pull = vjp(lambda a: a * a * w, gc.tensor(3.0))
    assert pull(gc.tensor(1.0))[0].requires_grad
    with gc.no_grad():
        assert not pull(gc.tensor(1.0))[0].requires_grad
    with gc.no_grad():
        _, pull = vjp(lambda a: a * a * w, w)
    (found,) = pull(gc.tensor(1.0))
    assert found.item() == 8 and found.requires_grad
    assert gc.autograd.grad(found, w)[0].item() == 4  # by the closure: the argument was taken as a constant


def test_a_linearized_function_is_differentiated_by_its_tangent():
    assert grad(lambda t: linearize(lambda b: b**3, gc.tensor(2.0))[1](t))(gc.tensor(5.0)).item() == 12


def test_changing_the_output_leaves_its_products_alone():
    w = gc.tensor(2.0, requires_grad=True)
    for factor in (w, w.detach()):
        output, pull = vjp(lambda a, factor=factor: a * 3 * factor, gc.tensor(1.0))
        output.mul_(100)
        assert pull(gc.tensor(1.0))[0].item() == 6
        output, push = linearize(lambda a, factor=factor: a * 3 * factor, gc.tensor(1.0))
        output.mul_(100)
        assert push(gc.tensor(1.0)).item() == 6


def test_exceptions_restore_the_mode():
    def f(x):
        raise KeyError("f")

    for mode in (True, False):
        with gc.set_grad_enabled(mode):
            for transform in (grad, jacrev, jacfwd, hessian):
                with pytest.raises(KeyError):
                    transform(f)(gc.ones(()))
                assert gc.is_grad_enabled() is mode


def test_a_deep_graph():
    def f(x):
        for _ in range(5000):
            x = x * 1.0001
        return x

    w = gc.tensor(1.0, dtype=gc.float64, requires_grad=True)
    assert grad(f)(w).item() == pytest.approx(1.0001**5000)


# ---------------------------------------------------------------- modules
class Tied(gc.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = gc.nn.Linear(2, 2, bias=False)
        self.second = gc.nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("calls", gc.zeros(()))

    def forward(self, x, scale=1.0):
        self.calls = self.calls + 1
        return self.second(self.first(x)) * scale


def state_of(module):
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    return {name: t for name, t in named}


def test_functional_call_and_gradients_by_a_dictionary():
    model = gc.nn.Sequential(gc.nn.Linear(3, 4), gc.nn.Tanh(), gc.nn.Sequential(gc.nn.Linear(4, 1))).to(gc.float64)
    before = state_of(model)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    x = gc.randn(5, 3, dtype=gc.float64)

    def loss(parameters, x):
        return (functional_call(model, parameters, x) ** 2).mean()

    gradient, value = grad_and_value(loss)(parameters, x)
    expected = (model(x) ** 2).mean()
    expected.backward()
    assert value.item() == expected.item()
    assert list(gradient) == list(parameters)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(gradient[name].numpy(), p.grad.numpy())
    assert all(state_of(model)[name] is t for name, t in before.items())
    zeros = {name: gc.zeros_like(p) for name, p in parameters.items()}
    assert functional_call(model, zeros, (x,)).abs().max().item() == 0
    assert functional_call(model, [{"0.weight": zeros["0.weight"]}, {"0.bias": zeros["0.bias"]}], x).shape == (5, 1)
    matrix = hessian(loss)(parameters, x)
    assert matrix["0.weight"]["2.0.bias"].shape == (4, 3, 1)


def test_functional_call_ties_weights_and_keeps_changed_buffers():
    model = Tied()
    before = state_of(model)
    two = 2 * gc.eye(2)
    x = gc.ones(1, 2)
    given = {"first.weight": two, "calls": gc.tensor(5.0)}
    assert functional_call(model, given, x, {"scale": 0.5}).tolist() == [[2.0, 2.0]]
    assert given["calls"].item() == 6 and given["first.weight"] is two
    assert model.calls.item() == 0
    once = functional_call(model, {"first.weight": gc.eye(2)}, x, tie_weights=False)
    assert (once - model.second(x)).abs().max().item() == 0
    assert {n: t for n, t in state_of(model).items() if n != "calls"} == {n: before[n] for n in before if n != "calls"}
    with pytest.raises(ValueError, match="multiple values for keys .'first.weight', 'second.weight'., which are tied"):
        functional_call(model, {"first.weight": two, "second.weight": gc.eye(2)}, x)


def test_a_module_under_two_names_is_restored():
    shared = gc.nn.Linear(2, 2)
    model = gc.nn.Sequential(shared, shared)
    weight = shared.weight
    functional_call(model, {"0.weight": gc.eye(2)}, gc.ones(1, 2))
    assert shared.weight is weight


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda state: state | {"no.such": gc.ones(1)}, AttributeError),
        (lambda state: state | dict.fromkeys(("first.weight", "second.weight"), 3.0), TypeError),
        (lambda state: state | dict.fromkeys(("first.weight", "second.weight"), gc.ones(5, 5)), RuntimeError),
        (lambda state: {"training": gc.ones(1)}, TypeError),
    ],
)
def test_a_module_is_restored_after_an_error(change, error):
    model = Tied()
    before = state_of(model)
    replaced = {name: gc.ones_like(t) for name, t in before.items()}
    replaced["second.weight"] = replaced["first.weight"]
    with pytest.raises(error):
        functional_call(model, change(replaced), gc.ones(1, 2))
    after = state_of(model)
    assert list(after) == list(before) and all(after[name] is t for name, t in before.items())
    assert model.training is True


@cases("""
    F.functional_call(m, 3, x);
    F.functional_call(m, [3], x);
    F.functional_call(m, [{'0.weight': W}, {'0.weight': W}], x);
    F.functional_call(m, {'0.weight': W}, x, strict=True);
    F.functional_call(m, {'0.weight': W, 'more': b}, x, strict=True);
    F.functional_call(m, {'0.no': W}, x);
    F.functional_call(m, {'0.weight': W, '0.bias': b}, x, strict=True);
    F.functional_call(m, ({'0.weight': W}, {'0.bias': b}), x);
    F.functional_call(m, {'0.weight': W, '0.bias': b}, args=None, kwargs={'input': x});
    F.stack_module_state([]);
    F.stack_module_state([m, T.nn.Linear(3, 2)]);
    F.stack_module_state([m[0], T.nn.Linear(3, 2).eval()]);
    F.stack_module_state([m[0], T.nn.Linear(3, 2).requires_grad_(False)])
""")
def test_parity_of_modules(case, oracle):
    def run(T):
        m = T.nn.Sequential(T.nn.Linear(3, 2))
        W, b, x = T.tensor(M).float(), T.ones(2), T.ones(4, 3)
        with T.no_grad():
            m[0].weight.copy_(W)
            m[0].bias.zero_()
        return evaluate(case, T=T, F=T.func, m=m, W=W, b=b, x=x)

    compared(run, oracle)


def test_stack_module_state():
    models = [Tied() for _ in range(3)]
    for i, model in enumerate(models):
        model.calls.add_(i)
    parameters, buffers = stack_module_state(models)
    assert list(parameters) == ["first.weight"] and buffers["calls"].tolist() == [0, 1, 2]
    stacked = parameters["first.weight"]
    assert stacked.shape == (3, 2, 2) and stacked.is_leaf and stacked.requires_grad
    assert not buffers["calls"].requires_grad
    one = functional_call(models[0], {"first.weight": stacked[2]}, gc.ones(1, 2))
    assert (one - models[2](gc.ones(1, 2))).abs().max().item() == 0


# ---------------------------------------------------------------- trees
def test_trees():
    Pair = namedtuple("Pair", "left right")
    tree = (1, [2, {"b": 3, "a": Pair(4, OrderedDict(z=5))}], (), gc.Size([6]), None)
    leaves, structure = flatten(tree)
    assert leaves == [1, 2, 3, 4, 5, gc.Size([6]), None]
    again = unflatten(leaves, structure)
    assert again == tree and type(again[1][1]["a"]) is Pair and type(again[1][1]["a"].right) is OrderedDict
    assert structure == flatten(again)[1]
    assert structure != flatten((1, [2, {"a": 3, "b": Pair(4, OrderedDict(z=5))}], (), 6, 7))[1]
    assert flatten((1, 2))[1] != flatten([1, 2])[1]
    assert repr(structure).startswith("(*, [*, {'b': *, 'a': Pair(left=*, right=OrderedDict(")
