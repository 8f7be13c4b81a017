"""Users' own ops: `gradcore.elementwise` and `gradcore.reduction` against plain ops and finite differences."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradcore as gc
from gradcore.autograd import gradcheck, gradgradcheck
from gradcore.ops import REGISTRY

quick = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

damped = gc.elementwise(lambda x, y: x * gc.exp(-y))


@gc.elementwise
def leaky(x, *, slope=0.01):
    """`x`, or `slope * x` where it is negative."""
    return gc.where(x > 0, x, slope * x)


# Each op, the same in plain ops of a module (gradcore or torch), and how many tensors it takes.
ELEMENTWISE: dict[str, tuple[Any, Any, int]] = {
    "damped": (damped, lambda m, x, y: x * m.exp(-y), 2),
    "leaky": (leaky, lambda m, x: m.where(x > 0, x, 0.01 * x), 1),
    "polynomial": (gc.elementwise(lambda x: 3 * x**3 - x**2 + 1), lambda m, x: 3 * x**3 - x**2 + 1, 1),
    "mixed": (
        gc.elementwise(lambda x, y, z: gc.tanh(x * y) + gc.maximum(y, z) / (2 + gc.sin(x))),
        lambda m, x, y, z: m.tanh(x * y) + m.maximum(y, z) / (2 + m.sin(x)),
        3,
    ),
    "composed": (
        gc.elementwise(lambda x, y: damped(x, y) + gc.nn.functional.gelu(x)),
        lambda m, x, y: x * m.exp(-y) + m.nn.functional.gelu(x),
        2,
    ),
}
REDUCTIONS: dict[str, tuple[Any, Any, int]] = {
    "sum_of_squares": (gc.reduction(lambda x: x * x), lambda m, x, **k: (x * x).sum(**k), 1),
    "log_sum_exp": (gc.reduction(gc.exp, finish=gc.log), lambda m, x, **k: m.log(m.exp(x).sum(**k)), 1),
    "dot": (gc.reduction(lambda x, y: x * y), lambda m, x, y, **k: (x * y).sum(**k), 2),
    "distance": (
        gc.reduction(lambda x, y: (x - y) ** 2, finish=lambda total: gc.sqrt(total + 1)),
        lambda m, x, y, **k: m.sqrt(((x - y) ** 2).sum(**k) + 1),
        2,
    ),
    "mean_abs": (
        gc.reduction(gc.abs, finish=lambda total, count: total / count),
        lambda m, x, **k: m.abs(x).mean(**k),
        1,
    ),
    "largest_square": (gc.reduction(lambda x: x * x, "max"), lambda m, x, **k: m.amax(x * x, **k), 1),
    "smallest": (
        gc.reduction(lambda x: x, "min", lambda low: gc.exp(low)),
        lambda m, x, **k: m.exp(m.amin(x, **k)),
        1,
    ),
}
elementwise_ops = pytest.mark.parametrize("name", ELEMENTWISE)
reduction_ops = pytest.mark.parametrize("name", REDUCTIONS)


def tensors(shapes: list[tuple[int, ...]], dtype: Any = gc.float64, device: str = "cpu", seed: int = 0) -> list[Any]:
    """Leaves, their values at least 0.01 apart from each other and from 0."""
    generator = np.random.default_rng(seed)
    total = sum(math.prod(s) for s in shapes)
    values = generator.permutation(np.linspace(-2, 2.1, 2 * total + 1)[1::2])
    out = []
    for s in shapes:
        part, values = np.split(values, [math.prod(s)])
        made = gc.tensor(part.reshape(s), dtype=dtype, device=device)
        out.append(made.requires_grad_() if made.is_floating_point() else made)
    return out


def close(a: Any, b: Any, dtype: Any, scale: float = 1) -> None:
    rtol, atol = TOLERANCE[dtype]
    a, b = (np.asarray(t.detach().double().cpu().numpy()) for t in (a, b))
    np.testing.assert_allclose(a, b, rtol=rtol * scale, atol=atol * scale * 4)


@st.composite
def broadcast(draw: Any, count: int, low: int = 0) -> list[tuple[int, ...]]:
    """Shapes that broadcast together, the first of the full shape."""
    full = draw(st.lists(st.integers(low, 4), max_size=3).map(tuple))
    shapes = [full]
    for _ in range(count - 1):
        mask = draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
        shape = tuple(1 if m else n for m, n in zip(mask, full))
        shapes.append(shape[draw(st.integers(0, len(shape))) :])
    return shapes


def gradients(result: Any, inputs: list[Any], m: Any = gc) -> Any:
    weights = m.arange(1, result.numel() + 1, dtype=result.dtype, device=result.device).reshape(result.shape)
    return m.autograd.grad((result * weights).sum(), inputs)


@elementwise_ops
@quick
@given(data=st.data())
def test_elementwise_is_the_same_in_plain_ops(name: str, device: str, data: Any) -> None:
    op, plain, count = ELEMENTWISE[name]
    shapes = data.draw(broadcast(count))
    dtype = data.draw(st.sampled_from([gc.float64, gc.float32]))
    inputs = tensors(data.draw(st.permutations(shapes)), dtype, device)
    ours, theirs = op(*inputs), plain(gc, *inputs)
    assert ours.shape == theirs.shape and ours.dtype is theirs.dtype and ours.device == theirs.device
    close(ours, theirs, dtype)
    for a, b in zip(gradients(ours, inputs), gradients(theirs, inputs)):
        assert a.shape == b.shape and a.dtype is dtype
        close(a, b, dtype, scale=20)


@reduction_ops
@quick
@given(data=st.data())
def test_reduction_is_the_same_in_plain_ops(name: str, device: str, data: Any) -> None:
    op, plain, count = REDUCTIONS[name]
    shapes = data.draw(broadcast(count, low=1))
    dtype = data.draw(st.sampled_from([gc.float64, gc.float32]))
    inputs = tensors(data.draw(st.permutations(shapes)), dtype, device)
    ndim = len(shapes[0])
    dims = data.draw(st.sets(st.integers(0, ndim - 1), min_size=1).map(tuple)) if ndim else ()
    kwargs = {"dim": dims, "keepdim": data.draw(st.booleans())}
    ours, theirs = op(*inputs, **kwargs), plain(gc, *inputs, **kwargs)
    assert ours.shape == theirs.shape and ours.dtype is theirs.dtype
    close(ours, theirs, dtype, scale=5)
    for a, b in zip(gradients(ours, inputs), gradients(theirs, inputs)):
        assert a.shape == b.shape
        close(a, b, dtype, scale=50)


@elementwise_ops
def test_elementwise_derivatives(name: str, device: str) -> None:
    op, _, count = ELEMENTWISE[name]
    inputs = tensors([(2, 3), (3,), (2, 1)][:count], device=device)
    assert gradcheck(op, inputs) and gradgradcheck(op, inputs)


@reduction_ops
@pytest.mark.parametrize("kwargs", [{}, {"dim": 0}, {"dim": -1, "keepdim": True}], ids=str)
def test_reduction_derivatives(name: str, kwargs: Any, device: str) -> None:
    op, _, count = REDUCTIONS[name]
    inputs = tensors([(2, 3), (3,)][:count], device=device)

    def function(*xs: Any) -> Any:
        return op(*xs, **kwargs)

    assert gradcheck(function, inputs) and gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", [*ELEMENTWISE, *REDUCTIONS])
def test_against_pytorch(name: str, oracle: Any) -> None:
    op, plain, count = {**ELEMENTWISE, **REDUCTIONS}[name]
    inputs = tensors([(3, 4), (4,), (3, 1)][:count], gc.float32)
    theirs_in = [oracle.tensor(t.detach().numpy(), requires_grad=True) for t in inputs]
    kwargs = {"dim": 1} if name in REDUCTIONS else {}
    ours, theirs = op(*inputs, **kwargs), plain(oracle, *theirs_in, **kwargs)
    close(ours, theirs, gc.float32)
    for a, b in zip(gradients(ours, inputs), gradients(theirs, theirs_in, oracle)):
        close(a, b, gc.float32, scale=10)


def test_third_derivative(device: str) -> None:
    cube = gc.elementwise(lambda x: x**4 * gc.exp(x))
    x = gc.tensor([0.5, -1.0], dtype=gc.float64, device=device, requires_grad=True)
    y = cube(x)
    for _ in range(3):
        (y,) = gc.autograd.grad(y.sum(), x, create_graph=True)
    v = x.detach()
    close(y, (v**4 + 12 * v**3 + 36 * v**2 + 24 * v) * gc.exp(v), gc.float64)
    total = gc.reduction(gc.exp, finish=gc.log)
    first, second = gc.autograd.grad(total(x), x, create_graph=True)[0], None
    (second,) = gc.autograd.grad(first[0], x, create_graph=True)
    (third,) = gc.autograd.grad(second[0], x)
    p = v.softmax(0)[0].item()
    assert third[0].item() == pytest.approx(p * (1 - p) * (1 - 2 * p))


def test_large_tensors(device: str) -> None:
    """Beyond the sizes that NumPy runs whole."""
    n = 300_000 if device == "cpu" else 5_000
    x, y = tensors([(n,), (n,)], gc.float32, device)
    ours, theirs = damped(x, y), x * gc.exp(-y)
    close(ours, theirs, gc.float32)
    for a, b in zip(gradients(ours, [x, y]), gradients(theirs, [x, y])):
        close(a, b, gc.float32, scale=10)
    op, plain, _ = REDUCTIONS["distance"]
    ours, theirs = op(x, y), plain(gc, x, y)
    close(ours, theirs, gc.float32)
    close(*(gc.autograd.grad(t, x)[0] for t in (ours, theirs)), gc.float32, scale=10)


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16])
def test_half_precision(dtype: Any, device: str) -> None:
    """Sums of squares beyond the largest float16, the ending taken before rounding, whether or not it is recorded."""
    norm = gc.reduction(lambda x: x * x, finish=gc.sqrt)
    level = gc.reduction(lambda x: x * x, finish=gc.log)
    x = gc.full((100,), 300.0, dtype=dtype, device=device, requires_grad=True)
    assert norm(x).item() == pytest.approx(3000, rel=1e-2) and norm(x).dtype is dtype
    assert level(x).item() == level(x.detach()).item() == pytest.approx(math.log(9e6), rel=1e-2)
    close(gc.autograd.grad(norm(x), x)[0], gc.full((100,), 0.1), dtype)
    close(gc.autograd.grad(level(x), x)[0], gc.full((100,), 600 / 9e6), dtype)


def test_promotion(device: str) -> None:
    integers = gc.arange(4, device=device)
    assert gc.elementwise(lambda x: x * x + 1)(integers).dtype is gc.int64
    assert gc.elementwise(lambda x: x * 0.5)(integers).dtype is gc.float32
    assert gc.elementwise(gc.exp)(integers).dtype is gc.float32
    assert gc.elementwise(lambda x: x > 2)(integers).tolist() == [False, False, False, True]
    assert leaky(-integers, slope=2).tolist() == [0, -2, -4, -6]
    assert leaky(-integers).dtype is gc.float32
    assert damped(integers, gc.ones(4, dtype=gc.float64, device=device)).dtype is gc.float64
    assert gc.elementwise(lambda x: x, promote="float")(integers).dtype is gc.float32
    with pytest.raises(NotImplementedError, match="takes integer"):
        gc.elementwise(lambda x: x, promote="integral")(integers.float())
    squares = gc.reduction(lambda x: x * x)
    assert squares(integers.to(gc.int8)).dtype is gc.int64 and squares(integers).item() == 14
    assert gc.reduction(lambda x: x, finish=lambda t, count: t / count)(integers).item() == 1.5
    assert gc.reduction(lambda x: x, finish=lambda t, *, by: t * by)(integers, by=0.5).item() == 3.0
    assert gc.reduction(lambda x: x, "max")(integers.to(gc.int16)).dtype is gc.int16


def test_any_all(device: str) -> None:
    x = gc.tensor([[0.0, 1.0], [2.0, 3.0]], device=device)
    assert gc.reduction(lambda x: x > 2, "any")(x, dim=1).tolist() == [False, True]
    assert gc.reduction(lambda x: x, "all")(x, dim=1).tolist() == [False, True]
    assert gc.reduction(lambda x: x, "all")(x.requires_grad_()).requires_grad is False


def test_prod_and_shared_extremes(device: str) -> None:
    x = gc.tensor([[1.0, 2.0, 2.0], [0.0, -3.0, 1.0]], dtype=gc.float64, device=device, requires_grad=True)
    product = gc.reduction(lambda x: x + 1, "prod")
    assert gradcheck(lambda x: product(x, dim=1), x) and gradgradcheck(lambda x: product(x, dim=(0, 1)), x)
    largest = gc.reduction(lambda x: x * x, "max")
    assert gc.autograd.grad(largest(x, dim=1).sum(), x)[0].tolist() == [[0, 2, 2], [0, -6, 0]]
    with pytest.raises(IndexError, match="non-zero size"):
        largest(gc.zeros(2, 0, device=device), dim=1)
    assert product(gc.zeros(2, 0, device=device), dim=1).tolist() == [1, 1]


def test_numbers_and_constants(device: str) -> None:
    x = gc.tensor([1.0, 2.0], dtype=gc.float64, device=device, requires_grad=True)
    assert damped(x, 0).tolist() == [1, 2]
    assert gradcheck(lambda x: damped(2, x), x) and gradgradcheck(lambda x: damped(x, 0.5), x)
    constant = gc.elementwise(lambda x: 1.0)
    assert constant(x).tolist() == [1, 1] and gc.autograd.grad(constant(x).sum(), x)[0].tolist() == [0, 0]
    first = gc.elementwise(lambda x, y: x)
    assert first(x, gc.zeros(3, 1, dtype=gc.float64, device=device)).shape == (3, 2)
    scaled = gc.reduction(lambda x, y: x * y, finish=gc.log)
    assert gradgradcheck(lambda x: scaled(x, 3.0), x) and gradgradcheck(lambda x: scaled(2, x), x)


def test_options() -> None:
    @gc.elementwise
    def activation(x, *, kind="tanh", gain=1.0):
        return gain * (gc.tanh(x) if kind == "tanh" else gc.sigmoid(x))

    x = gc.tensor([0.5], dtype=gc.float64, requires_grad=True)
    assert activation(x, kind="other", gain=2).item() == pytest.approx(2 * gc.sigmoid(x).item())
    assert gradgradcheck(lambda x: activation(x, gain=2.5), x)
    power = gc.reduction(lambda x, *, p=2.0: gc.abs(x) ** p, finish=lambda t, *, p: t ** (1 / p))
    assert power(x, p=3).item() == pytest.approx(0.5)
    assert gradgradcheck(lambda x: power(x, p=3.0), x)


def test_derivative_by_hand(device: str) -> None:
    clipped = gc.elementwise(lambda x: gc.minimum(x, 1), derivative=lambda g, result: g * 0.5)
    x = gc.tensor([0.0, 5.0], dtype=gc.float64, device=device, requires_grad=True)
    assert gc.autograd.grad(clipped(x).sum(), x)[0].tolist() == [0.5, 0.5]
    # It is kept where the op is part of another expression.
    twice = gc.elementwise(lambda x: clipped(x * 2))
    assert gc.autograd.grad(twice(x).sum(), x)[0].tolist() == [1, 1]
    relu = gc.elementwise(lambda x: gc.relu(x) + gc.nn.functional.softplus(x))
    zero = gc.tensor([0.0, 1000.0], device=device, requires_grad=True)
    assert gc.autograd.grad(relu(zero).sum(), zero)[0].tolist() == [0.5, 2]


def test_equality_is_an_expression() -> None:
    op = gc.elementwise(lambda x, y: gc.where(x == y, 1.0, gc.where(0 != y, 2.0, x)))
    assert op(gc.tensor([1.0, 2.0, 3.0]), gc.tensor([1.0, 1.0, 0.0])).tolist() == [1, 2, 3]


def test_names() -> None:
    x = gc.ones(2, requires_grad=True)
    assert damped.__name__ == "elementwise" and damped(x, x).grad_fn.name() == "ElementwiseBackward0"
    assert leaky.__name__ == "leaky" and leaky.__doc__ == "`x`, or `slope * x` where it is negative."
    assert leaky(x).grad_fn.name() == "LeakyBackward0"
    assert pickle.loads(pickle.dumps(leaky)) is leaky
    assert "leaky" not in REGISTRY and not hasattr(gc, "leaky") and not hasattr(gc.Tensor, "leaky")
    assert gc.reduction(lambda x: x, name="total")(x).grad_fn.name() == "TotalBackward0"
    # Whatever the generated functions call their own variables.
    awkward = gc.elementwise(lambda np, fn, t0, START, OUT0: np * fn + t0 * t0 * fn - START / OUT0)
    assert awkward(x, x, x, x, x).tolist() == [1, 1]
    assert (awkward(*[gc.ones(70_000) for _ in range(5)]) == 1).all()


OUTER = gc.ones(2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: gc.elementwise(lambda x: x if x > 0 else 0), "has no truth value while it is traced.*where"),
        (lambda: gc.elementwise(lambda x: np.exp(x)), r"np\.exp cannot be applied.*gradcore\.exp"),
        (lambda: gc.elementwise(lambda x: np.sum(x)), r"np\.sum cannot be applied"),
        (lambda: gc.elementwise(lambda x: math.exp(x)), "functions of gradcore.*instead of those of math"),
        (lambda: gc.elementwise(lambda x: max(x, 0)), "no truth value"),
        (lambda: gc.elementwise(lambda x: x.exp()), r"no attribute 'exp'.*gradcore\.exp"),
        (lambda: gc.elementwise(lambda x: gc.sum(x)), r"sum\(\) cannot be used within an expression"),
        (lambda: gc.elementwise(lambda x: gc.nn.functional.dropout(x)), "random"),
        (lambda: gc.elementwise(lambda x: x * OUTER), "got Tensor; a tensor must be a parameter"),
        (lambda: gc.elementwise(lambda x: OUTER + x), "got Tensor; a tensor must be a parameter"),
        (lambda: gc.elementwise(lambda x: None), "must return one expression or number, got NoneType"),
        (lambda: gc.elementwise(lambda x: (x, x)), "must return one expression or number, got tuple"),
        (lambda: gc.elementwise(lambda *xs: xs[0]), r"takes \*xs; a kernel has a fixed number"),
        (lambda: gc.elementwise(lambda x, **k: x), r"takes \*\*k"),
        (lambda: gc.elementwise(lambda: 1), "needs a positional parameter"),
        (lambda: gc.elementwise(lambda x, y=1: x), "has a default for 'y'; make it keyword-only"),
        (lambda: gc.elementwise(lambda x, grad0: x), "has a parameter 'grad0'"),
        (lambda: gc.elementwise(3), "takes a function of scalars, got int"),
        (lambda: gc.elementwise(lambda x: x, derivative=lambda g, y: g), "asks for 'y'; there are g, result, x"),
        (lambda: gc.elementwise(lambda x, y: x, derivative=lambda g: g), "returned 1 gradients, for 2 inputs"),
        (lambda: gc.reduction(lambda x, dim: x), "has a parameter 'dim', which reductions have of their own"),
        (lambda: gc.reduction(lambda x: x, finish=lambda a, b: a), "takes the combined value and.*count"),
        (lambda: gc.reduction(lambda x: x, "any", finish=lambda a: a), "takes no finish"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((TypeError, AttributeError), match=message):
        op = make()
        op(gc.ones(2))


def test_errors_of_calls(device: str) -> None:
    with pytest.raises(RuntimeError, match=r"elementwise\(\): The size of tensor a \(2\) must match"):
        damped(gc.ones(2, device=device), gc.ones(3, device=device))
    with pytest.raises(TypeError, match=r"elementwise\(\): argument 'y' \(position 2\) must be Tensor or Number"):
        damped(gc.ones(2, device=device), "a")
    with pytest.raises(TypeError, match="at least one argument must be a Tensor"):
        damped(1.0, 2.0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        REDUCTIONS["dot"][0](gc.ones(2, device=device), 1, dim=3)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        leaky(gc.ones(2), slop=1)
    with pytest.raises(ValueError, match="combine is one of sum, prod"):
        gc.reduction(lambda x: x, "mean")
    with pytest.raises(ValueError, match="promote is one of"):
        gc.elementwise(lambda x: x, promote="int")
    with pytest.raises(ValueError, match="Python identifier"):
        gc.elementwise(lambda x: x, name="my op")
