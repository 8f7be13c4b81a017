"""Any shape, strides and broadcasting: values and gradients of the structured ops are PyTorch's."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from parity import agree

import gradcore as gc

many = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
few = settings(many, max_examples=60)

# A layout: the shape, the order of its dimensions in memory, and the steps between elements along each.
Layout = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@st.composite
def layouts(draw: Any, shape: Any = None) -> Layout:
    if shape is None:
        shape = draw(st.lists(st.sampled_from([0, 1, 1, 2, 2, 3, 3, 5]), max_size=4).map(tuple))
    order = draw(st.permutations(range(len(shape))))
    steps = draw(st.lists(st.integers(1, 2), min_size=len(shape), max_size=len(shape)))
    return shape, tuple(order), tuple(steps)


def laid_out(m: Any, layout: Layout, device: str, seed: int) -> tuple[Any, Any]:
    """A leaf, and a view of it in the layout: distinct values, none of them 0."""
    shape, order, steps = layout
    memory = [shape[d] * steps[d] for d in order]
    size = math.prod(memory)
    values = np.random.default_rng(seed).permutation(size) / max(size, 1) + 0.25
    leaf = m.tensor(values, device=device).reshape(memory).requires_grad_()
    view = leaf[tuple(slice(None, None, steps[d]) for d in order)]
    return leaf, view.permute([order.index(d) for d in range(len(shape))])


def weighted(m: Any, x: Any) -> Any:
    return (x * m.arange(1, x.numel() + 1, dtype=x.dtype, device=x.device).reshape(x.shape)).sum()


def values_and_gradients(function: Any, layouts: list[Layout], m: Any, device: str) -> Any:
    pairs = [laid_out(m, layout, device, seed) for seed, layout in enumerate(layouts)]
    out = function(m, *[view for _, view in pairs])
    results = out if isinstance(out, tuple) else (out,)
    wanted = [r for r in results if r.is_floating_point()]
    if wanted:
        sum(weighted(m, r) for r in wanted).backward()
    return tuple(results[i].detach() for i in range(len(results))), [leaf.grad for leaf, _ in pairs]


REDUCTIONS = {
    **{
        name: (lambda m, x, dim, keep, name=name: getattr(x, name)(dim=dim, keepdim=keep))
        for name in ("sum", "mean", "amax", "amin", "any", "all")
    },
    "var": lambda m, x, dim, keep: x.var(dim=dim, keepdim=keep, correction=0),
    "std": lambda m, x, dim, keep: x.std(dim=dim, keepdim=keep),
    "norm": lambda m, x, dim, keep: x.norm(dim=dim, keepdim=keep),
    "norm 1": lambda m, x, dim, keep: x.norm(1, dim=dim, keepdim=keep),
    "norm 3": lambda m, x, dim, keep: x.norm(3, dim=dim, keepdim=keep),
}
ALONG = {
    "max": lambda m, x, dim, keep: tuple(x.max(dim, keep)),
    "min": lambda m, x, dim, keep: tuple(x.min(dim, keepdim=keep)),
    "argmax": lambda m, x, dim, keep: x.argmax(dim, keep),
    "argmin": lambda m, x, dim, keep: x.argmin(dim, keep),
    "prod": lambda m, x, dim, keep: x.prod(dim, keep),
    "softmax": lambda m, x, dim, keep: x.softmax(dim),
    "log_softmax": lambda m, x, dim, keep: x.log_softmax(dim),
    "cat": lambda m, x, dim, keep: m.cat([x, x * 2], dim),
    "stack": lambda m, x, dim, keep: m.stack([x, x * 2], dim),
    "split": lambda m, x, dim, keep: x.split(2, dim),
    "chunk": lambda m, x, dim, keep: x.chunk(3, dim),
    "unsqueeze": lambda m, x, dim, keep: x.unsqueeze(dim),
    "squeeze": lambda m, x, dim, keep: x.squeeze(dim),
}


@many
@given(data=st.data(), name=st.sampled_from(sorted(REDUCTIONS)), keep=st.booleans())
def test_reductions_over_any_dims(data: Any, name: str, keep: bool, device: str, oracle: Any) -> None:
    layout = data.draw(layouts())
    rank = len(layout[0])
    dims = st.lists(st.integers(0, rank - 1), unique=True).map(tuple) if rank else st.just(())
    dim = data.draw(dims | st.none() | (st.integers(-rank, rank - 1) if rank else st.just(0)))
    if name in ("any", "all", "var", "std") and dim == ():
        return  # PyTorch's any takes () for no dimension, and the derivative of its var for a single element
    if name in ("var", "std"):
        reduced = [layout[0][d] for d in ([dim] if isinstance(dim, int) and rank else dim or range(rank))]
        if math.prod(reduced) < 2:
            return  # nothing to vary: NaN, with a warning

    def run(m: Any, d: str) -> Any:
        return values_and_gradients(lambda m, x: REDUCTIONS[name](m, x, dim, keep), [layout], m, d)

    agree(run, oracle, device)


@many
@given(data=st.data(), layout=layouts(), name=st.sampled_from(sorted(ALONG)), keep=st.booleans())
def test_functions_along_a_dim(data: Any, layout: Layout, name: str, keep: bool, device: str, oracle: Any) -> None:
    rank = len(layout[0])
    dim = data.draw(st.integers(-max(rank, 1), max(rank, 1)))  # one of them too large

    def run(m: Any, d: str) -> Any:
        return values_and_gradients(lambda m, x: ALONG[name](m, x, dim, keep), [layout], m, d)

    agree(run, oracle, device)


BINARY = {
    "add": lambda m, x, y: x + y,
    "mul": lambda m, x, y: x * y,
    "div": lambda m, x, y: x / y,
    "maximum": lambda m, x, y: m.maximum(x, y),
    "pow": lambda m, x, y: x**y,
    "where": lambda m, x, y: m.where(x > y, x, y),
    "lt": lambda m, x, y: x < y,
    "expand": lambda m, x, y: x.expand_as(x * y),
    "mse": lambda m, x, y: m.nn.functional.mse_loss(x, y, reduction="none"),
    "in place": lambda m, x, y: (x * y).sub_(y).mul_(x),
    "copy": lambda m, x, y: (x * y).copy_(x),
}


@many
@given(data=st.data(), name=st.sampled_from(sorted(BINARY)))
def test_broadcasting(data: Any, name: str, device: str, oracle: Any) -> None:
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3)).input_shapes
    chosen = [data.draw(layouts(shape)) for shape in shapes]
    agree(lambda m, d: values_and_gradients(BINARY[name], chosen, m, d), oracle, device)


@few
@given(first=layouts(), second=layouts())
def test_broadcasting_or_not(first: Layout, second: Layout, device: str, oracle: Any) -> None:
    agree(lambda m, d: values_and_gradients(BINARY["add"], [first, second], m, d), oracle, device)


@many
@given(data=st.data())
def test_matmul(data: Any, device: str, oracle: Any) -> None:
    n, k, p = (data.draw(st.integers(0, 3)) for _ in range(3))
    batches = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=3)
    ).input_shapes
    left = data.draw(st.sampled_from([(k,), (n, k), (*batches[0], n, k), (n, k + 1)]))
    right = data.draw(st.sampled_from([(k,), (k, p), (*batches[1], k, p)]))
    chosen = [data.draw(layouts(left)), data.draw(layouts(right))]
    agree(lambda m, d: values_and_gradients(lambda m, x, y: x @ y, chosen, m, d), oracle, device)


@few
@given(data=st.data())
def test_linear(data: Any, device: str, oracle: Any) -> None:
    rows = data.draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    n, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    chosen = [data.draw(layouts(shape)) for shape in ((*rows, k), (n, k), (n,))]
    count = data.draw(st.integers(2, 3))
    agree(
        lambda m, d: values_and_gradients(lambda m, *a: m.nn.functional.linear(*a), chosen[:count], m, d),
        oracle,
        device,
    )


@few
@given(data=st.data(), layout=layouts())
def test_reshape(data: Any, layout: Layout, device: str, oracle: Any) -> None:
    size = math.prod(layout[0])
    factors = [f for f in range(1, size + 1) if size % f == 0] or [0, 1, 3]
    shape = data.draw(st.sampled_from([(f, size // f if f else 2) for f in factors] + [(-1,), (size, 1, -1), (2, -1)]))
    agree(lambda m, d: values_and_gradients(lambda m, x: x.reshape(shape), [layout], m, d), oracle, device)
    agree(lambda m, d: laid_out(m, layout, d, 0)[1].flatten().detach(), oracle, device)


def test_squares(device: str, oracle: Any) -> None:
    """Where every dimension has the same size, a wrong order of dimensions does not show in the shape."""
    square: Layout = ((3, 3, 3), (0, 1, 2), (1, 1, 1))
    for function in [*REDUCTIONS.values(), *ALONG.values()]:
        for dim in range(3):
            agree(
                lambda m, d: values_and_gradients(lambda m, x: function(m, x, dim, False), [square], m, d),
                oracle,
                device,
            )
    assert gc.tensor([[0.0, 0.0], [1.0, 3.0]], device=device).softmax(0)[0].tolist() == pytest.approx(
        [0.26894, 0.04743], abs=1e-4
    )
