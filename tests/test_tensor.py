"""Tensors as Python objects: shapes and views, conversion, printing, copying, comparing."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import copy
import math
import operator
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import agree, cases, evaluate, short

import gradcore as gc

NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
many = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# ---------------------------------------------------------------- views
VIEWS = """
    x.reshape(6, 4); x.reshape((4, -1)); x.reshape([24]); x.reshape(shape=(24,)); x.view(6, 4); x.view((-1,));
    x.flatten(); x.flatten(1); x.flatten(0, 1); x.flatten(start_dim=-2, end_dim=-1); x.transpose(0, 1);
    x.transpose(dim0=-1, dim1=0); x[0].t(); x[0].T; x.mT; x.permute(2, 0, 1); x.permute((1, 2, 0));
    x.permute(dims=(-1, 0, 1)); x[:, 1:2].squeeze(); x[:, 1:2].squeeze(1); x.squeeze(0);
    x[:1, :, :1].squeeze((0, 2)); x.unsqueeze(0); x.unsqueeze(-1); x.unsqueeze(dim=1); x[:, :1].expand(2, 3, 4);
    x[:, :1].expand(-1, 5, -1); x.expand(2, 2, 3, 4); x[0, 0].expand_as(x); x.split(2, 2)[1];
    x.split([1, 3], dim=-1)[1]; x.chunk(2, 1)[1]; x.narrow(1, 1, 2); x.narrow(2, -3, 2); x[1]; x[:, 1]; x[..., ::2];
    x[None, :, 1:]; x[0, 1, 2]; x.detach(); x.data; x.contiguous(); x.view_as(x);
    x.reshape_as(x[0].expand(2, 3, 4)); x.swapaxes(0, 2); x[()];
"""


@cases(VIEWS)
def test_views_share_memory(case: str, device: str, oracle: Any) -> None:
    """A view has PyTorch's shape and strides, shows changes of its base, and changes it."""

    def look(m: Any, d: str) -> Any:
        x = m.arange(24.0, device=d).reshape(2, 3, 4)
        y = evaluate(case, x=x)
        before = y.clone()
        x.add_(100)
        seen = y.clone()
        if all(s or n == 1 for s, n in zip(y.stride(), y.shape)):
            y.mul_(0)
        strides = [s for s, n in zip(y.stride(), y.shape) if n > 1]  # those of single elements mean nothing
        return before, seen, x, tuple(y.shape), strides, y.is_contiguous(), x._version

    agree(look, oracle, device)


COPIES = """
    x.clone(); x.t().reshape(-1); x.t().contiguous(); x[:, [0, 1]]; x[x > 2]; x.to(x.dtype, copy=True); x.double();
    x.t().flatten(); x + 0; x.expand(2, 3).clone();
"""


@cases(COPIES)
def test_copies_do_not(case: str, device: str) -> None:
    x = gc.arange(6.0, device=device).reshape(2, 3)
    y = evaluate(case, x=x)
    before = y.tolist()
    x.zero_()
    assert y.tolist() == before and not y._is_view()


def test_the_same_tensor(device: str) -> None:
    x = gc.ones(2, 3, device=device)
    for y in (
        x.to(device), x.to(gc.float32), x.float(), x.to(x), x.to(device, gc.float32), x.contiguous(),
        x.type(gc.float32), x.type_as(x), x.to(), x.requires_grad_(), x.add_(0) if not x.requires_grad else x,
        x.retain_grad() or x,
    ):  # fmt: skip
        assert y is x or y.data_ptr() == x.data_ptr()
    assert x.to(gc.float32) is x and x.to(device=x.device) is x and x.to(copy=True) is not x


BAD_SHAPES = """
    x.reshape(4, 5); x.reshape(-1, -1); x.reshape(5, -1); x.reshape(2, -3); x.reshape(); x.reshape('a');
    x.reshape(2.0, 12); x.view(5); x.view(); x.transpose(0, 1).view(24); x.flatten(2, 1); x.flatten(5);
    x.transpose(0, 3); x.t(); x.permute(0, 1); x.permute(0, 0, 1); x.permute(0, 1, 5); x.permute(); x.squeeze(3);
    x.unsqueeze(5); x.unsqueeze(-5); x.expand(3, 3, 4); x.expand(4); x.expand(-1, 2, 3, 4); x.split(-1); x.split(0);
    x.split([1, 3]); x.split([3, -1]); x.split(1, 3); x.chunk(0); x.narrow(0, 1, 2); x.narrow(0, 0, -1);
    x.narrow(3, 0, 1); x.size(3); x.stride(-4); x.sum(3); x.sum((0, 0)); x.softmax(4);
"""


@cases(BAD_SHAPES)
def test_shapes_that_do_not_fit(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, x=m.zeros(2, 3, 4, device=d)), oracle, device)


@cases("""
    x.reshape(1, 1); x.view(1); x.flatten(); x.t(); x.transpose(0, -1); x.squeeze(); x.squeeze(0); x.squeeze(1);
    x.unsqueeze(0); x.expand(2, 3); x.expand(()); x.permute(()); x.split(1); x.chunk(1); x.narrow(0, 0, 1);
    x.clone(); x.sum(0); x.sum(1); x.max(0); x.argmax(); x.softmax(0); x.size(); x.stride(); x.size(0); len(x);
    list(x); x.norm();
""")
def test_zero_dimensional(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, x=m.tensor(2.5, device=d)), oracle, device)


@cases("""
    x.reshape(0); x.reshape(3, 0); x.reshape(-1); x.reshape(0, -1); x.view(2, 0); x.flatten(); x.t();
    x.unsqueeze(1); x.expand(0, 3); x.split(2); x.split(0); x.chunk(3); x.chunk(2, 1); x.sum(); x.sum(0); x.sum(1);
    x.mean(0); x.prod(); x.max(); x.max(0); x.max(1); x.argmax(); x.argmax(1); x.amax(0); x.amax(1); x.any();
    x.all(0); x.norm(); x.norm(math.inf); x.norm(math.inf, dim=0); x.norm(dim=1); x.softmax(1); x.std();
    x.log_softmax(0); x + 1; x * x; x.exp(); x.clone(); x.tolist(); x.stride(); x @ x.t(); x.t() @ x; x[:, 0];
    x == x; x.to(x.dtype); list(x); x.var(0); x.item(); bool(x); repr(x); x.clamp(0, 1);
""")
def test_zero_size(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, x=m.zeros(0, 3, device=d)), oracle, "cpu" if "repr" in case else device)


STEPS = ["transpose", "slice", "unsqueeze", "squeeze", "flip", "flatten", "narrow", "expand"]


@many
@given(
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.integers(0, 3)), max_size=4),
)
def test_any_chain_of_views(shape: tuple[int, ...], steps: Any, device: str, oracle: Any) -> None:
    """Values and gradients of chains of shape operations."""

    def run(m: Any, d: str) -> Any:
        leaf = m.arange(math.prod(shape), dtype=m.float64, device=d).reshape(shape).requires_grad_()
        x = base = leaf * 1
        for name, i, j in steps:
            a, b = (i % x.ndim, j % x.ndim) if x.ndim else (0, 0)
            if name == "transpose":
                x = x.transpose(a, b)
            elif name == "slice":
                x = x[i:, ...] if x.ndim else x[...]
            elif name == "narrow":
                x = x.narrow(a, min(j, x.shape[a]), x.shape[a] - min(j, x.shape[a])) if x.ndim else x
            elif name == "expand":
                x = x.unsqueeze(0).expand(2, *x.shape)[j % 2]
            elif name == "flip":
                x = x.permute(*reversed(range(x.ndim))) if x.ndim else x
            elif name == "unsqueeze":
                x = x.unsqueeze(a)
            else:
                x = x.squeeze() if name == "squeeze" else x.reshape(-1)
        out = (x * m.arange(1, x.numel() + 1, dtype=m.float64, device=d).reshape(x.shape)).sum()
        (gradient,) = m.autograd.grad(out, leaf, retain_graph=True)
        return x.detach(), gradient, tuple(x.shape), base.detach()

    agree(run, oracle, device, exact=True)


# ---------------------------------------------------------------- to Python and NumPy
@pytest.mark.parametrize("name", NAMES)
def test_to_python(name: str, device: str, oracle: Any) -> None:
    for data in ([[0, 1], [1, 0]], 1, [1], []):
        for function in (
            lambda x: x.tolist(),
            lambda x: x.item(),
            float,
            int,
            bool,
            operator.index,
            lambda x: f"{x:}" if x.ndim == 0 else 0,
        ):
            agree(lambda m, d: function(m.tensor(data, dtype=getattr(m, name), device=d)), oracle, device)


@cases("""
    x.item(); float(x); int(x); bool(x); operator.index(x.long()); complex(x); f'{x:.2f}'; f'{x}'; format(x, '>9');
    '%d' % x; round(x); math.floor(x); math.sqrt(x); [1, 2, 3][x.long()]; list(range(x.long())); len(x); list(x);
    [1] * x.long();
""")
def test_conversion(case: str, oracle: Any) -> None:
    for value in (2.75, -1.5, 0.0, [1.0], [1.0, 2.0]):
        if not (isinstance(value, list) and ":" in case):
            agree(lambda m, d: evaluate(case, x=m.tensor(value, device=d)), oracle)
    agree(lambda m, d: int(m.tensor(math.nan)), oracle)
    agree(lambda m, d: int(m.tensor(math.inf)), oracle)


def test_containers(device: str, oracle: Any) -> None:
    for function in (
        lambda m, x: len(x), lambda m, x: list(x), lambda m, x: [r.tolist() for r in x], lambda m, x: 3 in x,
        lambda m, x: 9 in x, lambda m, x: x[1] in x, lambda m, x: "a" in x, lambda m, x: None in x,
        lambda m, x: max(x[0]), lambda m, x: sum(x[0]), lambda m, x: sorted(x[0].tolist()), lambda m, x: [*x[0]],
        lambda m, x: dict([(1, x)])[1], lambda m, x: list(zip(x, x)), lambda m, x: list(reversed(list(x))),
        lambda m, x: all(x[0] > -1),
    ):  # fmt: skip
        agree(lambda m, d: function(m, m.arange(6, device=d).reshape(2, 3)), oracle, device)
    x, y = gc.tensor(1, device=device), gc.tensor(1, device=device)
    assert len({x, y, x}) == 2 and hash(x) == hash(x) and x in {x: 1}


def test_numpy(device: str, oracle: Any) -> None:
    x = gc.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    if device == "cuda":
        with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu\(\)"):
            x.numpy()
        np.testing.assert_array_equal(x.numpy(force=True), [[1, 2], [3, 4]])
        return
    assert (
        x.t().numpy().strides == x.numpy().T.strides
        and x.numpy().base is not None
        or np.shares_memory(x.numpy(), x.numpy())
    )
    agree(lambda m, d: m.ones(2, requires_grad=True).numpy(), oracle)
    agree(lambda m, d: (m.ones(2, requires_grad=True) * 2).numpy(force=True), oracle)
    agree(lambda m, d: np.asarray(m.tensor([1.0, 2.0]), dtype=np.float64), oracle)
    agree(lambda m, d: np.array(m.ones(2, requires_grad=True)), oracle)
    agree(lambda m, d: m.tensor([1.0, 2.0]) + np.float64(2), oracle)
    agree(lambda m, d: np.float64(2) * m.tensor([1.0, 2.0]), oracle)
    agree(lambda m, d: m.tensor([1, 2]) * np.float32(2), oracle)


# ---------------------------------------------------------------- to other dtypes and devices
@cases("""
    x.to(d); x.to(m.device(d)); x.to(m.float64); x.to(d, m.float64); x.to(device=d, dtype=m.float64);
    x.to(m.zeros(1, dtype=m.int8, device=d)); x.to(); x.to(d, m.float64, True, True);
    x.to(m.float64, non_blocking=True, copy=True); x.to(dtype=None, device=None); x.to(float); x.to(None); x.cpu();
    x.to('float64'); x.to(dtype='float64'); x.to(unknown=1); x.to([]); x.type(); x.type(m.int64);
    x.type(f'{m.__name__}.DoubleTensor'); x.type('nothing'); x.type_as(m.zeros(1, dtype=m.int8)); x.dtype;
    x.double(); x.half(); x.float(); x.bfloat16(); x.long(); x.int(); x.short(); x.char(); x.byte(); x.bool();
""")
def test_to(case: str, oracle: Any) -> None:
    for make in (
        lambda m: m.tensor([0.5, -2.75, 100.0]),
        lambda m: m.tensor(True),
        lambda m: m.ones(2, requires_grad=True),
    ):
        agree(lambda m, d: evaluate(case, m=m, x=make(m), d=d), oracle)


def test_gradients_through_conversion(device: str, oracle: Any) -> None:
    def run(m: Any, d: str) -> Any:
        x = m.ones(2, dtype=m.float64, requires_grad=True)
        (x.to(d).float().half().to(m.float64) * 3).cpu().sum().backward()
        return x.grad

    agree(run, oracle, device)
    assert gc.ones(2, requires_grad=True).to(device, gc.float64).sum().grad_fn is not None


# ---------------------------------------------------------------- printing
@cases("""
    x; x + 1; x.sum(); x.exp(); x.reshape(4); x[:, 1:]; x.detach(); x.double(); x.half(); x.clone(); x.mean();
    x * 2; x - 1; x / 2; -x; x ** 2; x.relu(); x.sigmoid(); x.tanh(); x.max(); x.softmax(0); x.t(); x > 1;
    m.cat([x, x]); m.stack([x, x]); m.mm(x, x); x.norm(); x.permute(1, 0); x.unsqueeze(0); x.expand(2, 2, 2);
    x.std(); x.prod(); m.where(x > 1, x, 0); m.maximum(x, x); (x * 1).add_(1); (x * 1).mul_(2); x.split(1);
    (x / 8).log_softmax(1); x[[0]]; m.nn.functional.mse_loss(x, x); m.nn.functional.linear(x, x, x[0]);
    m.nn.functional.cross_entropy(x, m.tensor([0, 1]));
    x[0]; x[:, 0]; x[0, 1:]; x[None]; x[0, None]; x[:]; x[...]; x[[0], 1]; x.sum(0); x.mean(1); x.prod(0); x.T; x.mT;
    x.squeeze(0); x.squeeze((0, 1)); x @ x; x[0] @ x[1]; x @ x[0]; x.clamp(0, 1); x.clamp(min=0); x.narrow(0, 0, 1);
""")
def test_printing_with_grad_fn(case: str, oracle: Any) -> None:
    agree(lambda m, d: repr(evaluate(case, m=m, x=m.tensor([[1.0, 2.5], [-3.0, 4.0]], requires_grad=True))), oracle)
    agree(lambda m, d: str(evaluate(case, m=m, x=m.tensor([[1.0, 2.5], [-3.0, 4.0]]))), oracle)


def test_printing_of_devices_and_dtypes(device: str) -> None:
    suffix = "" if device == "cpu" else ", device='cuda:0'"
    assert repr(gc.tensor([1.0, 2.0], device=device)) == f"tensor([1., 2.]{suffix})"
    assert repr(gc.tensor(3, device=device, dtype=gc.int8)) == f"tensor(3{suffix}, dtype=gradcore.int8)"
    x = gc.ones(1, device=device, dtype=gc.float64, requires_grad=True)
    assert repr(x) == f"tensor([1.]{suffix}, dtype=gradcore.float64, requires_grad=True)"
    assert repr(x + 1).endswith(
        "dtype=gradcore.float64,\n       grad_fn=<AddBackward0>)"
    ) or "grad_fn=<AddBackward0>)" in repr(x + 1)
    assert repr(gc.tensor([3, 1]).max(0)) == "gradcore.return_types.max(\nvalues=tensor(3),\nindices=tensor(0))"


# ---------------------------------------------------------------- sizes and attributes
@cases("""
    x.shape; x.size(); x.shape[0]; x.shape[:1]; x.shape + (1,); (1,) + x.shape; x.shape * 2; x.shape == (2, 3);
    x.shape.numel(); m.Size([2, 3]).numel(); m.Size(); m.Size([2.5]); repr(x.shape); x.ndim; str(x.shape[1:]);
    x.size(1); x.size(dim=-1); x.stride(); x.stride(0); x.t().stride(); x.dim(); x.numel(); m.numel(x);
    x.is_contiguous(); x.element_size(); x.nbytes; x.itemsize; x.device; x.is_cuda; x.requires_grad; x.is_leaf;
    x.grad; x.grad_fn; x.is_floating_point(); m.is_tensor(x); m.is_tensor(1); m.is_floating_point(x); x._version;
    list(pickle.loads(pickle.dumps(x.shape))); isinstance(copy.deepcopy(x.shape), m.Size);
""")
def test_attributes(case: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, m=m, x=m.zeros(2, 3)), oracle)


# ---------------------------------------------------------------- copying
@pytest.mark.parametrize("name", NAMES)
def test_deepcopy_and_pickle(name: str, device: str, oracle: Any) -> None:
    def run(m: Any, d: str) -> Any:
        x = m.ones(2, 3, dtype=getattr(m, name), device=d)
        copies = [copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)]
        assert all(type(c) is m.Tensor and c.device == x.device for c in copies)
        copies[0].zero_()
        return x, *copies

    agree(run, oracle, device)


def test_copies_of_leaves_and_results(device: str, oracle: Any) -> None:
    for make in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), copy.copy):
        agree(lambda m, d: make(m.ones(2, device=d, requires_grad=True)), oracle, device)
    agree(lambda m, d: copy.deepcopy(m.ones(2, device=d, requires_grad=True) * 2), oracle, device)
    x = gc.ones(2, device=device, requires_grad=True)
    (x * 3).sum().backward()
    y = copy.deepcopy(x)
    assert y.grad.tolist() == [3, 3] and y.grad is not x.grad and y.requires_grad
    a, b = copy.deepcopy([x, x])
    assert a is b and a is not x
    for thing in (gc.float32, gc.bool, gc.device("cuda:1")):
        assert pickle.loads(pickle.dumps(thing)) == thing and copy.deepcopy(thing) == thing
    assert pickle.loads(pickle.dumps(gc.bool)) is gc.bool


# ---------------------------------------------------------------- comparing
@cases("""
    m.equal(t([1, 2]), t([1, 2])); m.equal(t([1, 2]), t([1.0, 2.0])); m.equal(t([1, 2]), t([1, 3]));
    m.equal(t([1]), t([1, 1])); m.equal(t([math.nan]), t([math.nan])); m.equal(t([]), t([])); t([1]).equal(t([1]));
    m.equal(t([1]), 1); m.allclose(t([1.0]), t([1.000001])); m.allclose(t([1.0]), t([1.1]));
    m.allclose(t([math.inf, 1]), t([math.inf, 1])); m.allclose(t([math.inf]), t([-math.inf]));
    m.allclose(t([math.inf]), t([1.0])); m.allclose(t([math.nan]), t([math.nan]));
    m.allclose(t([math.nan]), t([math.nan]), equal_nan=True); m.allclose(t([1.0]), t([1.0]).double());
    m.allclose(t([1]), t([1])); m.allclose(t([True]), t([True])); m.allclose(t([1.0, 2.0]), t([1.0]));
    m.allclose(t([1.0, 2.0]), t([1.0, 2.0, 3.0])); m.allclose(t([1.0]), t([2.0]), atol=1);
    m.allclose(t([1.0]), t([2.0]), rtol=0.5); t([1.0]) == None; t([1.0]) != None; t([1.0]) == 'a';
    t([1, 2]) == t([1, 3]);
""")
def test_comparing(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, m=m, t=lambda data: m.tensor(data, device=d)), oracle, device)


def test_names_of_dtypes_in_every_result(device: str) -> None:
    for name in NAMES:
        x = gc.ones(2, dtype=getattr(gc, name), device=device)
        assert (
            short(x.dtype) == name and x.clone().dtype is x.dtype and x[0].dtype is x.dtype and x.t().dtype is x.dtype
        )
