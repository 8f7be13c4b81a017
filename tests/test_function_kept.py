"""What `forward` of a `Function` computes and keeps: never a silently wrong second derivative, never a false alarm."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from behaviour import leaf
from test_function import make

import gradcore as gc

ALARM = "its backward cannot be differentiated"


def second(F: Any, device: str = "cpu", n: int = 2) -> Any:
    """The second derivative of the sum of `F(x)` and `x ** 3`, a path that hides one that is missing."""
    x = leaf(gc, device, [0.5, 1.5], dtype=gc.float64)
    for _ in range(n):
        (g,) = gc.autograd.grad(F.apply(x).sum() + (x**3).sum(), x, create_graph=True)
        (h,) = gc.autograd.grad(g.sum(), x)
    return (h - 6 * x).tolist()


class Pair(NamedTuple):
    a: Any
    b: Any


def _exp_kept(keep: Callable[[Any, Any, Any], None], get: Callable[[Any], Any]) -> Any:
    """exp(x), where `keep(ctx, y, x)` keeps y and backward uses `get(ctx)` for it."""

    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        keep(ctx, y, x)
        return y * 1

    return make(gc, forward, lambda ctx, g: g * get(ctx))


def _set(**attributes: Any) -> Callable[[Any, Any, Any], None]:
    return lambda ctx, y, x: [setattr(ctx, k, f(y)) for k, f in attributes.items()] and None  # type: ignore[func-returns-value]


def _put(ctx: Any, y: Any, x: Any) -> None:
    ctx.y = gc.zeros(2, dtype=gc.float64, device=x.device)
    ctx.y[0] = y[0]
    ctx.y[1:].copy_(y[1:])


def _filled(ctx: Any, y: Any, x: Any) -> None:
    ctx.y = gc.empty_like(x)
    ctx.y.copy_(y)


def _of_arrays(ctx: Any, y: Any, x: Any) -> None:
    ctx.y = gc.from_numpy(np.exp(x.detach().cpu().numpy())).to(x.device)


def _by_data(ctx: Any, y: Any, x: Any) -> None:
    ctx.y = x.data.exp()


def _detached(ctx: Any, y: Any, x: Any) -> None:
    ctx.y = x.detach()


def _gradient(ctx: Any, y: Any, x: Any) -> None:
    with gc.enable_grad():
        inner = x.detach().requires_grad_()
        (ctx.y,) = gc.autograd.grad(inner.exp().sum(), inner)


def _gradient_of_backward(ctx: Any, y: Any, x: Any) -> None:
    with gc.enable_grad():
        inner = x.detach().requires_grad_()
        inner.exp().sum().backward()
        ctx.y = inner.grad


COMPUTED: dict[str, tuple[Any, Any]] = {
    "attribute": (_set(y=lambda y: y), lambda ctx: ctx.y),
    "an attribute with an underscore": (_set(_y=lambda y: y), lambda ctx: ctx._y),
    "computed again": (_set(y=lambda y: y * 2), lambda ctx: ctx.y / 2),
    "view": (_set(y=lambda y: y.view(2, 1)), lambda ctx: ctx.y[:, 0]),
    "list": (_set(all=lambda y: [1, y]), lambda ctx: ctx.all[1]),
    "named tuple": (_set(all=lambda y: Pair(y, 1)), lambda ctx: ctx.all.a),
    "nested": (_set(all=lambda y: {"a": ([y], 2)}), lambda ctx: ctx.all["a"][0][0]),
    "saved": (lambda ctx, y, x: ctx.save_for_backward(x, y), lambda ctx: ctx.saved_tensors[1]),
    "detached": (_set(y=lambda y: y.detach()), lambda ctx: ctx.y),
    "data": (_by_data, lambda ctx: ctx.y),
    "written into": (_put, lambda ctx: ctx.y),
    "filled": (_filled, lambda ctx: ctx.y),
    "through NumPy": (_of_arrays, lambda ctx: ctx.y),
    "a detached input": (_detached, lambda ctx: ctx.y.exp()),
    "a detached input, saved": (
        lambda ctx, y, x: ctx.save_for_backward(x.detach()),
        lambda ctx: ctx.saved_tensors[0].exp(),
    ),
    "a gradient": (_gradient, lambda ctx: ctx.y),
    "a gradient of backward()": (_gradient_of_backward, lambda ctx: ctx.y),
    "parameter": (_set(y=lambda y: gc.nn.Parameter(y, requires_grad=False)), lambda ctx: ctx.y),
}


@pytest.mark.parametrize("case", COMPUTED)
def test_what_forward_computed_refuses(case: str, device: str) -> None:
    F = _exp_kept(*COMPUTED[case])
    for _ in range(2):  # the class is known the second time
        with pytest.raises(RuntimeError, match=ALARM):
            second(F, device, n=1)
    x = leaf(gc, device, [0.5, 1.5], dtype=gc.float64)
    assert gc.autograd.gradcheck(F.apply, x)
    (plain,) = gc.autograd.grad(F.apply(x).sum(), x)
    (recorded,) = gc.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    assert plain.tolist() == recorded.tolist() == pytest.approx(x.exp().tolist())


def test_pytorch_passes_it_over(oracle: Any) -> None:
    """Why: this is what PyTorch does without a word."""
    x = oracle.tensor([0.5, 1.5], dtype=oracle.float64, requires_grad=True)

    def forward(ctx: Any, x: Any) -> Any:
        ctx.y = x.exp()
        return ctx.y * 1

    F = make(oracle, forward, lambda ctx, g: g * ctx.y)
    (g,) = oracle.autograd.grad(F.apply(x).sum() + (x**3).sum(), x, create_graph=True)
    assert oracle.autograd.grad(g.sum(), x)[0].tolist() == pytest.approx((6 * x).tolist())


def test_the_message_names_the_function_and_the_attribute() -> None:
    with pytest.raises(RuntimeError, match=r"^FBackward: its backward cannot .* uses ctx\.y: .*return it from forward"):
        second(_exp_kept(*COMPUTED["attribute"]))
    with pytest.raises(RuntimeError, match=r"uses element 1 of saved_tensors"):
        second(_exp_kept(*COMPUTED["saved"]))


def test_the_gradient_of_the_gradient_alone_is_free(device: str) -> None:
    """The gradient is linear in what comes in: to differentiate by that needs nothing of `forward`."""
    F = _exp_kept(*COMPUTED["attribute"])
    x = leaf(gc, device, [0.5, 1.5], dtype=gc.float64)
    v = leaf(gc, device, [1.0, 1.0], dtype=gc.float64)
    (g,) = gc.autograd.grad(F.apply(x), x, v, create_graph=True)
    assert gc.autograd.grad(g.sum(), v)[0].tolist() == pytest.approx(x.exp().tolist())


def test_detach_in_backward_makes_a_constant(device: str) -> None:
    F = _exp_kept(_set(y=lambda y: y), lambda ctx: ctx.y.detach())
    assert second(F, device) == [0.0, 0.0]


def test_a_graph_of_its_own_that_starts_inside(device: str) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        with gc.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.y = ctx.x.exp()
        return ctx.y.detach()

    def backward(ctx: Any, g: Any) -> Any:
        return gc.autograd.grad(ctx.y, ctx.x, g, create_graph=gc.is_grad_enabled(), retain_graph=True)[0]

    F = make(gc, forward, backward)
    with pytest.raises(RuntimeError, match="keeps a graph on ctx that starts from detached inputs"):
        second(F, device)
    x = leaf(gc, device, [0.5, 1.5], dtype=gc.float64)
    assert gc.autograd.gradcheck(F.apply, x)


def test_a_graph_of_its_own_that_leads_out_is_right(device: str) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        with gc.enable_grad():
            ctx.x, ctx.y = x, x.exp()
        return ctx.y.detach()

    def backward(ctx: Any, g: Any) -> Any:
        return gc.autograd.grad(ctx.y, ctx.x, g, create_graph=gc.is_grad_enabled(), retain_graph=True)[0]

    assert second(make(gc, forward, backward), device) == pytest.approx(np.exp([0.5, 1.5]).tolist())


# ---------------------------------------------------------------- what is right as it is
def _input(ctx: Any, x: Any) -> Any:
    ctx.x, ctx.all = x, [x]
    return x**2


def _output(ctx: Any, x: Any) -> Any:
    ctx.y = x**2
    return ctx.y


def test_inputs_and_outputs_as_attributes(device: str) -> None:
    assert second(make(gc, _input, lambda ctx, g: g * 2 * ctx.x), device) == pytest.approx([2.0, 2.0])
    assert second(make(gc, _input, lambda ctx, g: g * 2 * ctx.all[0]), device) == pytest.approx([2.0, 2.0])
    F = make(gc, _output, lambda ctx, g: g * 2 * ctx.y.sqrt())
    assert second(F, device) == pytest.approx([2.0, 2.0])


def test_one_more_output_is_the_way_to_keep_an_intermediate(device: str) -> None:
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output[1])

    def backward(ctx: Any, g: Any, gy: Any) -> Any:
        (y,) = ctx.saved_tensors
        return (g + gy) * y

    F = make(gc, lambda x: (x.exp() * 1, x.exp()), backward, setup_context=setup_context)
    x = leaf(gc, device, [0.5, 1.5], dtype=gc.float64)
    assert gc.autograd.gradgradcheck(lambda x: F.apply(x)[0], (x,))


def test_setup_context_is_followed_too(device: str) -> None:
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.inputs, ctx.half, ctx.mask = inputs, inputs[0] / 2, (inputs[0] > 0).double()

    F = make(gc, lambda x: x**2, lambda ctx, g: g * 4 * ctx.half, setup_context=setup_context)
    with pytest.raises(RuntimeError, match=r"uses ctx\.half"):
        second(F, device)
    F = make(gc, lambda x: x**2, lambda ctx, g: g * 2 * ctx.inputs[0] * ctx.mask, setup_context=setup_context)
    assert second(F, device) == pytest.approx([2.0, 2.0])


TABLE = gc.tensor([1.0, 1.0], dtype=gc.float64)

CONSTANTS: dict[str, Callable[[Any, Any], Any]] = {
    "mask": lambda ctx, x: x > 0,
    "mask of floats": lambda ctx, x: (x > 0).double(),
    "mask by where": lambda ctx, x: gc.where(x > 0, 1.0, 0.0).double(),
    "sign": lambda ctx, x: x.sign(),
    "floor": lambda ctx, x: x.floor() * 0 + 1,
    "dropout": lambda ctx, x: (gc.rand_like(x) < 1.0).to(x.dtype) / 1.0,
    "arange": lambda ctx, x: gc.arange(2, dtype=gc.float64, device=x.device) * 0 + 1,
    "like": lambda ctx, x: gc.ones_like(x),
    "new": lambda ctx, x: x.new_ones(2),
    "of the shape": lambda ctx, x: gc.tensor([float(n) / 2 for n in x.shape] * 2, dtype=x.dtype, device=x.device),
    "table": lambda ctx, x: TABLE.to(x.device),
    "from NumPy": lambda ctx, x: gc.from_numpy(np.ones(2)).to(x.device),
    "eye": lambda ctx, x: gc.eye(2, dtype=x.dtype, device=x.device).sum(0),
    "index": lambda ctx, x: gc.ones(2, dtype=x.dtype, device=x.device)[x.argmax().reshape(1)],
}


@pytest.mark.parametrize("case", CONSTANTS)
@pytest.mark.parametrize("way", ["attribute", "list", "saved"])
def test_constants_are_no_alarm(case: str, way: str, device: str) -> None:
    """x ** 2 with its derivative times 1, a constant made in `forward`."""

    def forward(ctx: Any, x: Any) -> Any:
        one = CONSTANTS[case](ctx, x)
        if way == "saved":
            ctx.save_for_backward(x, one)
        else:
            ctx.save_for_backward(x)
            ctx.one = [one] if way == "list" else one
        return x**2

    def backward(ctx: Any, g: Any) -> Any:
        x = ctx.saved_tensors[0]
        one = ctx.saved_tensors[1] if way == "saved" else ctx.one[0] if way == "list" else ctx.one
        return g * 2 * x * one

    assert second(make(gc, forward, backward), device) == pytest.approx([2.0, 2.0])


def test_numbers_are_constants() -> None:
    """`item()` leaves the world of tensors: documented, as it is in PyTorch."""

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        ctx.scale = x.max().item()
        return x**2 * ctx.scale

    assert second(make(gc, forward, lambda ctx, g: g * 2 * ctx.saved_tensors[0] * ctx.scale)) == [3.0, 3.0]


def test_a_non_differentiable_output_is_a_constant(device: str) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.norm = x.norm()
        ctx.mark_non_differentiable(ctx.norm)
        return x**2, ctx.norm

    F = make(gc, forward, lambda ctx, g, _: g * 0 * ctx.norm)
    x = leaf(gc, device, [0.5, 1.5], dtype=gc.float64)
    (g,) = gc.autograd.grad(F.apply(x)[0].sum() + (x**3).sum(), x, create_graph=True)
    assert gc.autograd.grad(g.sum(), x)[0].tolist() == pytest.approx((6 * x).tolist())


def test_buffers_updated_by_the_input_depend_on_it_in_that_call_only(device: str) -> None:
    running = gc.zeros(2, dtype=gc.float64, device=device)

    def forward(ctx: Any, x: Any, update: bool) -> Any:
        ctx.save_for_backward(x)
        if update:
            running.add_(x)
        ctx.running = running
        return x**2

    F = make(gc, forward, lambda ctx, g: (g * (2 * ctx.saved_tensors[0] + 0 * ctx.running), None))
    with pytest.raises(RuntimeError, match=r"uses ctx\.running"):
        second(types.SimpleNamespace(apply=lambda x: F.apply(x, True)), device)
    assert second(types.SimpleNamespace(apply=lambda x: F.apply(x, False)), device) == pytest.approx([2.0, 2.0])


def test_a_class_that_starts_to_keep_something_later(device: str) -> None:
    keep = False

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        if keep:
            ctx.y = x * 2
        return x**2

    F = make(gc, forward, lambda ctx, g: g * (ctx.y if keep else 2 * ctx.saved_tensors[0]))
    assert second(F, device) == pytest.approx([2.0, 2.0])
    keep = True
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"uses ctx\.y"):
            second(F, device, n=1)


def test_what_backward_writes_on_ctx_stays() -> None:
    def backward(ctx: Any, g: Any) -> Any:
        ctx.calls = getattr(ctx, "calls", 0) + 1
        seen.append(ctx.calls)
        return g * ctx.y

    seen: list[int] = []
    F = _exp_kept(_set(y=lambda y: y), None)  # type: ignore[arg-type]
    F.backward = staticmethod(backward)
    x = leaf(gc, "cpu", [0.5])
    y = F.apply(x)
    for create in (True, False, True):
        gc.autograd.grad(y, x, create_graph=create, retain_graph=True)
    assert seen == [1, 2, 3]


def test_functions_within_functions(device: str) -> None:
    """The inner one is an operation to the outer one."""
    Inner = make(gc, lambda ctx, x: gc.from_numpy(np.exp(x.detach().cpu().numpy())).to(x.device), lambda ctx, g: g)

    def forward(ctx: Any, x: Any, record: bool) -> Any:
        with gc.set_grad_enabled(record):
            ctx.y = Inner.apply(x.detach().requires_grad_(record)).detach()
        return ctx.y * 1

    for record in (True, False):
        F = make(gc, forward, lambda ctx, g: (g * ctx.y, None))
        with pytest.raises(RuntimeError, match=ALARM):
            second(types.SimpleNamespace(apply=lambda x, F=F, record=record: F.apply(x, record)), device)


def test_observers_are_gone_after_an_error() -> None:
    from gradcore.autograd import tape
    from gradcore.autograd.grad_mode import mode

    def forward(ctx: Any, x: Any) -> Any:
        raise KeyError

    before = tape._watchers
    with pytest.raises(KeyError):
        make(gc, forward, lambda ctx, g: g).apply(leaf(gc, "cpu", [1.0]))
    assert tape._watchers == before and mode.observers == ()
