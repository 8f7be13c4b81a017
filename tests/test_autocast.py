"""Autocast: dtypes call by call beside PyTorch's, weights that are kept, nesting, gradients."""

from __future__ import annotations

import itertools
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from autocast_cases import CASES, Case
from conftest import torch
from parity import short

import gradcore as gc
from gradcore.autograd import tape
from gradcore.autograd.autocast import settings
from gradcore.autograd.grad_mode import mode

# What PyTorch's kernels refuse, but not those that only tell shapes, which stand for a GPU here.
UNCHECKED = {"batch_norm", "index_add", "index_copy", "linalg.cholesky", "linalg.svd", "linalg.solve"}
LOWER = {"cpu": "bfloat16", "cuda": "float16"}


def _ids() -> list[str]:
    return [f"{case.name}-{i}" for i, case in enumerate(CASES)]


def _combinations(case: Case, lower: str) -> list[tuple[str, ...]]:
    n = len(case.shapes)
    other = "float16" if lower == "bfloat16" else "bfloat16"
    mixed = list(itertools.product((lower, "float32"), repeat=n))
    return [*mixed, ("float64",) * n, (other,) * n]


def _kind(function: Any) -> str:
    """The dtype of what a call gives, or that it raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            out = function()
        except (RuntimeError, NotImplementedError) as error:
            return f"raised {type(error).__name__}"
    return short((out[0] if isinstance(out, tuple) else out).dtype)


def _theirs(case: Case, device: str, kinds: tuple[str, ...]) -> str:
    from torch._subclasses.fake_tensor import FakeTensorMode

    def call() -> Any:
        generator = np.random.default_rng(0)
        values = [torch.tensor(generator.uniform(0.1, 0.9, s)) for s in case.shapes]
        if device == "cpu":
            with torch.autocast("cpu"):
                return case.function(torch, *[v.to(getattr(torch, k)) for v, k in zip(values, kinds)])
        # There is no GPU, but the tensors' shapes and dtypes can be had without one.
        with FakeTensorMode():
            fake = [torch.empty(s, dtype=getattr(torch, k), device="cuda") for s, k in zip(case.shapes, kinds)]
            torch.set_autocast_enabled("cuda", True)
            try:
                return case.function(torch, *fake)
            finally:
                torch.set_autocast_enabled("cuda", False)

    return _kind(call)


def _ours(case: Case, device: str, kinds: tuple[str, ...]) -> str:
    generator = np.random.default_rng(0)
    values = [generator.uniform(0.1, 0.9, s) for s in case.shapes]
    tensors = [gc.tensor(v, dtype=getattr(gc, k), device=device) for v, k in zip(values, kinds)]

    def call() -> Any:
        with gc.autocast(device):
            return case.function(gc, *tensors)

    return _kind(call)


@pytest.mark.parametrize("case", CASES, ids=_ids())
def test_dtypes_are_pytorchs(case: Case, device: str, oracle: Any) -> None:
    if device == "cuda" and case.name == "ctc_loss":
        pytest.skip("PyTorch tells nothing of its kernel without a GPU")
    if device == "cpu" and case.name == "bilinear":
        pytest.skip("PyTorch refuses mixed operands, which are promoted here")
    for kinds in _combinations(case, LOWER[device]):
        expected, found = _theirs(case, device, kinds), _ours(case, device, kinds)
        if found.startswith("raised") and (expected.startswith("raised") or case.name in UNCHECKED):
            continue
        assert found == expected, kinds


# ---------------------------------------------------------------- what it is set to
def test_blocks_nest_and_restore() -> None:
    x = gc.ones(2, 2)
    assert not gc.is_autocast_enabled("cpu")
    with gc.autocast("cpu", dtype=gc.float16):
        assert gc.is_autocast_enabled("cpu") and not gc.is_autocast_enabled("cuda") and not gc.is_autocast_enabled()
        assert gc.get_autocast_dtype("cpu") is gc.float16
        with gc.autocast("cpu", enabled=False):
            assert not gc.is_autocast_enabled("cpu")
            assert (x @ x).dtype is gc.float32
            with gc.autocast("cpu"):  # in the dtype of the block around it
                assert (x @ x).dtype is gc.float16
            with gc.autocast("cpu", dtype=gc.bfloat16):
                assert (x @ x).dtype is gc.bfloat16
        y = x @ x
        assert y.dtype is gc.float16 and gc.get_autocast_dtype("cpu") is gc.float16
    assert (x @ x).dtype is gc.float32 and gc.get_autocast_dtype("cpu") is gc.bfloat16
    assert tape._watchers == 0 and mode.autocast is None


def test_an_error_ends_the_block() -> None:
    with pytest.raises(ZeroDivisionError), gc.autocast("cpu"):
        raise ZeroDivisionError
    with pytest.raises(RuntimeError), gc.autocast("cpu"):
        gc.ones(2, 3) @ gc.ones(2, 3)
    assert tape._watchers == 0 and mode.autocast is None and settings.nesting == 0


def test_as_a_decorator_in_threads() -> None:
    ready = threading.Barrier(2)

    @gc.autocast("cpu")
    def product(x: Any) -> Any:
        ready.wait(timeout=10)
        assert gc.is_autocast_enabled("cpu")
        return x @ x

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(product, [gc.ones(2, 2)] * 2))
    assert {t.dtype for t in found} == {gc.bfloat16}
    assert product.__name__ == "product" and tape._watchers == 0
    with gc.autocast("cpu"), ThreadPoolExecutor(1) as pool:  # the state is the thread's own
        assert pool.submit(lambda: (gc.ones(2, 2) @ gc.ones(2, 2)).dtype).result() is gc.float32
    with pytest.raises(TypeError, match="requires a callable"):
        gc.autocast("cpu")(3)


def test_without_a_block() -> None:
    try:
        gc.set_autocast_enabled("cpu", True)
        gc.set_autocast_dtype("cpu", gc.float16)
        assert (gc.ones(2, 2) @ gc.ones(2, 2)).dtype is gc.float16
    finally:
        gc.set_autocast_enabled("cpu", False)
        gc.set_autocast_dtype("cpu", gc.bfloat16)
    assert (gc.ones(2, 2) @ gc.ones(2, 2)).dtype is gc.float32 and tape._watchers == 0


def test_what_is_refused(oracle: Any) -> None:
    for m in (gc, oracle):
        with pytest.raises(RuntimeError, match="User specified an unsupported autocast device_type 'meta'"):
            m.autocast("meta", dtype=m.bfloat16)
        with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
            m.autocast(3)
        with pytest.warns(UserWarning, match="In CPU autocast, but the target dtype is not supported. Disabling"):
            block = m.autocast("cpu", dtype=m.float64)
        with block:
            assert not m.is_autocast_enabled("cpu")
    assert gc.amp.is_autocast_available("cpu") and not gc.amp.is_autocast_available("tpu")


def test_former_names(_cuda_reason: str | None) -> None:
    if _cuda_reason is not None:
        pytest.skip(_cuda_reason)
    with pytest.warns(FutureWarning, match="gradcore.cuda.amp.autocast"):
        block = gc.cuda.amp.autocast()
    with block:
        assert gc.is_autocast_enabled() and gc.get_autocast_dtype("cuda") is gc.float16
    with pytest.warns(FutureWarning, match="GradScaler"):
        assert gc.cuda.amp.GradScaler().is_enabled()


# ---------------------------------------------------------------- values and gradients
def _step(m: Any, device: str, dtype: str) -> list[Any]:
    model = m.nn.Sequential(m.nn.Linear(8, 16), m.nn.LayerNorm(16), m.nn.GELU(), m.nn.Linear(16, 4)).to(device)
    generator = np.random.default_rng(0)
    with m.no_grad():
        for p in model.parameters():
            p.copy_(m.tensor(generator.normal(0, 0.3, tuple(p.shape)), dtype=m.float32))
    x = m.tensor(generator.normal(size=(6, 8)), dtype=m.float32, device=device)
    target = m.tensor([0, 1, 2, 3, 0, 1], device=device)
    with m.autocast(device, dtype=getattr(m, dtype)):
        loss = m.nn.functional.cross_entropy(model(x), target)
    loss.backward()
    return [loss, *[p.grad for p in model.parameters()]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_step_is_pytorchs(device: str, dtype: str, oracle: Any) -> None:
    ours, theirs = _step(gc, device, dtype), _step(oracle, "cpu", dtype)
    for a, b in zip(ours, theirs):
        assert a.dtype is gc.float32 and short(b.dtype) == "float32"
        # Some roundings of the lower precision, at the scale of the gradient's largest elements.
        tolerance = 2.0 ** (-8 if dtype == "bfloat16" else -11) * 6 * float(b.detach().abs().max())
        np.testing.assert_allclose(a.detach().cpu().numpy(), b.detach().numpy(), atol=tolerance, rtol=0)


def test_weights_are_converted_once() -> None:
    model, x = gc.nn.Linear(3, 3), gc.ones(2, 3)
    with gc.autocast("cpu"):
        model(x)
        first = settings.casts[model.weight][1]
        model(x)
        assert settings.casts[model.weight][1] is first and first.dtype is gc.bfloat16
        with gc.autocast("cpu", enabled=False):
            pass
        assert settings.casts[model.weight][1] is first
        with gc.no_grad():
            model.weight.mul_(2)  # a kept weight that was changed since is converted anew
        assert model(x).detach().float().tolist() != first.tolist()
        assert settings.casts[model.weight][1] is not first
    assert not settings.casts
    with gc.autocast("cpu", cache_enabled=False):
        model(x)
        assert not settings.casts and not gc.is_autocast_cache_enabled()
    assert gc.is_autocast_cache_enabled()


def test_a_weight_converted_under_no_grad_still_gets_its_gradient() -> None:
    model, x = gc.nn.Linear(3, 3), gc.ones(2, 3)
    with gc.autocast("cpu"):
        with gc.no_grad():
            model(x)
        model(x).sum().backward()
    assert model.weight.grad is not None and model.weight.grad.dtype is gc.float32


def test_several_passes_in_one_block() -> None:
    model, x = gc.nn.Linear(3, 1), gc.ones(2, 3)
    with gc.autocast("cpu"):
        for _ in range(2):
            model(x).sum().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[4.0, 4.0, 4.0]]


def test_second_derivatives_and_transforms(device: str) -> None:
    x = gc.tensor([[0.5, 0.25], [1.0, 2.0]], device=device, requires_grad=True)
    with gc.autocast(device):
        (g,) = gc.autograd.grad((x @ x).tanh().exp().sum(), x, create_graph=True)
        g.pow(2).sum().backward()
        batched = gc.func.vmap(lambda a: a @ a)(gc.ones(3, 2, 2, device=device))
        tangent = gc.func.jvp(lambda a: (a @ a).float(), (x.detach(),), (x.detach(),))[1]
        gradient = gc.func.grad(lambda a: (a @ a).float().sum())(x.detach())
    assert g.dtype is gc.float32 and x.grad is not None and x.grad.isfinite().all()
    assert batched.dtype is gc.get_autocast_dtype(device)
    assert tangent.dtype is gradient.dtype is gc.float32
    np.testing.assert_allclose(gradient.cpu().numpy(), [[2.25, 4.5], [3.0, 5.25]], rtol=2**-7)


def test_a_checkpoint_computes_again_as_before() -> None:
    model, x = gc.nn.Linear(4, 4), gc.randn(2, 4, requires_grad=True)
    seen = []

    def part(t: Any) -> Any:
        seen.append((gc.is_autocast_enabled("cpu"), gc.get_autocast_dtype("cpu")))
        return model(t).tanh()

    with gc.autocast("cpu", dtype=gc.float16):
        y = gc.utils.checkpoint.checkpoint(part, x, use_reentrant=False)
    y.float().sum().backward()
    assert seen == [(True, gc.float16)] * 2 and not gc.is_autocast_enabled("cpu")


def test_in_place_and_out_are_left_alone() -> None:
    a, b, out = gc.ones(2, 2), gc.ones(2, 2), gc.zeros(2, 2)
    with gc.autocast("cpu"):
        gc.mm(a, b, out=out)
        a.mul_(b)
    assert out.dtype is gc.float32 and out.tolist() == [[2.0, 2.0], [2.0, 2.0]] and a.dtype is gc.float32


def test_binary_cross_entropy_is_banned_on_cuda(_cuda_reason: str | None) -> None:
    if _cuda_reason is not None:
        pytest.skip(_cuda_reason)
    p = gc.full((3,), 0.5, device="cuda")
    with gc.autocast("cuda"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        gc.nn.functional.binary_cross_entropy(p, p)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_run_in_the_lower_precision(device: str, name: str) -> None:
    lower = getattr(gc, LOWER[device])
    stack = [getattr(gc.nn, name)(*sizes).to(device) for sizes in ((4, 5), (5, 3))]
    x = gc.randn(6, 2, 4, device=device)
    with gc.autocast(device):
        hidden, _ = stack[0](x)
        out, _ = stack[1](hidden)  # takes what the layer before gives
    assert hidden.dtype is out.dtype is lower
    out.float().sum().backward()
    assert all(p.grad.dtype is gc.float32 for layer in stack for p in layer.parameters())


# ---------------------------------------------------------------- custom functions
def _custom(m: Any, seen: list[Any], cast_inputs: Any) -> Any:
    class Product(m.autograd.Function):
        @staticmethod
        @m.amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            ctx.save_for_backward(a, b)
            seen.append((short(a.dtype), m.is_autocast_enabled("cpu")))
            return a @ b

        @staticmethod
        @m.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            a, b = ctx.saved_tensors
            seen.append((short(g.dtype), m.is_autocast_enabled("cpu"), short((g @ b.T).dtype)))
            return (g @ b.T).to(a.dtype), (a.T @ g).to(b.dtype)

    return Product.apply


@pytest.mark.parametrize("cast_inputs", [None, "float32", "bfloat16"])
@pytest.mark.parametrize("enabled", [True, False])
def test_custom_functions(cast_inputs: str | None, enabled: bool, oracle: Any) -> None:
    logs: list[list[Any]] = []
    for m in (gc, oracle):
        seen: list[Any] = []
        product = _custom(m, seen, cast_inputs and getattr(m, cast_inputs))
        a = m.ones(2, 2, requires_grad=True)
        b = m.ones(2, 2, dtype=m.bfloat16 if enabled else m.float32)
        with m.autocast("cpu", enabled=enabled):
            y = product(a, b)
        y.sum().backward()
        logs.append([*seen, short(y.dtype), short(a.grad.dtype)])
    assert logs[0] == logs[1]
