"""Layer norm and RMS norm: PyTorch's dtypes, messages and modules; the kernels against the definition in plain ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE
from parity import Raised, agree, cases, evaluate, outcome

import gradcore as gc
from gradcore.backends.cpu.threads import get_num_threads, set_num_threads
from gradcore.ops import norms

RANDOM = np.random.default_rng(5).uniform(-2, 2, (6, 8))


def close(found: Any, expected: Any, dtype: gc.dtype, factor: float = 1.0) -> None:
    rtol, atol = (factor * t for t in TOLERANCE[dtype])
    found, expected = (t.detach().cpu().to(m.float64).numpy() for t, m in ((found, gc), (expected, gc)))
    np.testing.assert_allclose(found, expected, rtol, atol)


# ---------------------------------------------------------------- what PyTorch says
REFUSED = """
    f.layer_norm(x, (5,)); f.layer_norm(x, ()); f.layer_norm(x, []); f.layer_norm(x, 4); f.layer_norm(x, (2, 3, 4));
    f.layer_norm(x, (4.0,)); f.layer_norm(x, ('a',)); f.layer_norm(x, (4,), m.ones(3));
    f.layer_norm(x, (4,), None, m.ones(3)); f.layer_norm(x, (4,), m.ones(1, 4)); f.layer_norm(x.long(), (4,));
    f.layer_norm(x.bool(), (4,)); f.layer_norm(x, (4,), x[0].double()); f.layer_norm(x, (4,), None, x[0].double());
    f.layer_norm(x.half(), (4,), x[0], x[0].half()); f.layer_norm(x.half(), (4,), x[0].bfloat16());
    f.layer_norm(x.double(), (4,), x[0]); f.layer_norm(x, (4,), x[0].half()); f.layer_norm(m.tensor(1.0), (1,));
    f.layer_norm([1.0], (1,)); f.layer_norm(x, (4,), 2.0); f.layer_norm(x, (4,), [1.0]); f.layer_norm(x, (4,), eps='a');
    f.layer_norm(x, (4,), x[0], x[0], None); f.layer_norm(x); m.layer_norm(x, (5,)); x.layer_norm((4,));
    f.rms_norm(x, (5,)); f.rms_norm(x, ()); f.rms_norm(x, 4); f.rms_norm(x, (2, 3, 4)); f.rms_norm(x, (4,), m.ones(3));
    f.rms_norm(x.long(), (4,)); f.rms_norm(x.bool(), (4,)); f.rms_norm(m.tensor(1.0), (1,)); f.rms_norm([1.0], (1,));
    f.rms_norm(x, (4,), 2.0); f.rms_norm(x, (4,), eps='a'); m.rms_norm(x, (5,)); x.rms_norm((4,)); f.rms_norm(x, (4.5,))
"""


@cases(REFUSED)
def test_messages_are_those_of_pytorch(case: str, oracle: Any) -> None:
    ours, theirs = (
        outcome(lambda m=m: evaluate(case, m=m, f=m.nn.functional, x=m.arange(12.0).reshape(3, 4)))
        for m in (gc, oracle)
    )
    assert isinstance(theirs, Raised) and isinstance(ours, Raised), (ours, theirs)
    assert type(ours.error) is type(theirs.error)
    # Ours may go on to say what to do.
    message = str(theirs.error).split("\n")[0].replace("torch", "gradcore")
    if not isinstance(theirs.error, (TypeError, AttributeError)) or "argument" in message:
        assert str(ours.error).startswith(message), (ours, theirs)


@pytest.mark.parametrize("weight", [None, "input", "float32"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_dtypes(name: str, dtype: str, weight: str | None, device: str, oracle: Any) -> None:
    if weight == "float32" and dtype == "float64" and name == "layer_norm":
        pytest.skip("refused")

    def run(m: Any, device: str) -> Any:
        x = m.tensor(RANDOM, dtype=getattr(m, dtype), device=device).requires_grad_()
        w = None
        if weight is not None:
            kind = getattr(m, dtype if weight == "input" else weight)
            w = m.tensor(RANDOM[0], dtype=kind, device=device).requires_grad_()
        out = getattr(m, name)(x, (8,), w)
        out.backward(m.tensor(RANDOM[::-1].copy(), dtype=out.dtype, device=device))
        # PyTorch rounds weight's gradient to the input's dtype even where it is returned as float32.
        dweight = None if w is None else (str(w.grad.dtype), w.grad.cpu().to(x.dtype))
        return out.detach().cpu(), x.grad.cpu(), dweight

    agree(run, oracle, device)


@pytest.mark.parametrize("eps", [None, 1e-3, 0.0])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_epsilon_of_rms_norm(dtype: str, eps: float | None, oracle: Any) -> None:
    agree(lambda m, d: m.rms_norm(m.full((2, 4), 2e-4, dtype=getattr(m, dtype)), (4,), eps=eps), oracle)


CORNERS = """
    m.layer_norm(x * 0, (4,), eps=0); m.layer_norm(x, (4,), eps=-1); m.rms_norm(x * 0, (4,), eps=0);
    m.rms_norm(x * 0, (4,)); m.rms_norm(x, (4,), eps=-100.0); m.layer_norm(x[:, :0], (0,)); m.rms_norm(x[:0], (4,));
    m.layer_norm(x[:0], (4,), x[0]); m.layer_norm(x, x.shape); m.rms_norm(x, [3, 4], x); m.layer_norm(x.t(), [4, 3])
"""


@cases(CORNERS)
def test_corner_cases(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, m=m, x=m.arange(12.0, device=d).reshape(3, 4)), oracle, device)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_nothing_has_gradients_of_its_shape(shape: tuple[int, int], device: str) -> None:
    x = gc.zeros(*shape, device=device, requires_grad=True)
    w, b = (gc.ones(shape[1], device=device, requires_grad=True) for _ in range(2))
    gc.layer_norm(x, shape[1:], w, b).sum().backward()
    assert x.grad.shape == shape and w.grad.tolist() == b.grad.tolist() == [0.0] * shape[1]


def test_names_of_the_derivatives(oracle: Any) -> None:
    name = type(oracle.layer_norm(oracle.ones(2, requires_grad=True), (2,)).grad_fn).__name__
    assert gc.layer_norm(gc.ones(2, requires_grad=True), (2,)).grad_fn.name() == name


def test_tensors_on_two_devices(_cuda_reason: str | None) -> None:
    if _cuda_reason:
        pytest.skip(_cuda_reason)
    with pytest.raises(RuntimeError, match=r"layer_norm\(\): .* cuda:0 \(argument 'weight'\)"):
        gc.layer_norm(gc.ones(2, 3), (3,), gc.ones(3, device="cuda"))


# ---------------------------------------------------------------- kernel and definition
OPS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "layer_norm": (norms.layer_norm, lambda x, w, b: gc.layer_norm(x, (8,), w, b, 1e-3)),
    "rms_norm": (norms.rms_norm, lambda x, w, b: gc.rms_norm(x, (8,), w, 1e-3)),
}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16, gc.float32, gc.float64], ids=str)
def test_kernel_and_definition_agree(name: str, dtype: gc.dtype, device: str) -> None:
    op, function = OPS[name]
    results = []
    for composite in (False, True):
        x, w, b = (gc.tensor(v, dtype=dtype, device=device).requires_grad_() for v in (RANDOM, RANDOM[1], RANDOM[2]))
        if composite:
            parameters = {"weight": w, "bias": b} if name == "layer_norm" else {"weight": w}
            out = op.composite(input=x, normalized_shape=(8,), eps=1e-3, **parameters)
        else:
            out = function(x, w, b)
        out.backward(gc.tensor(RANDOM[::-1].copy(), dtype=dtype, device=device))
        results.append([out, x.grad, w.grad, *([b.grad] if name == "layer_norm" else [])])
    for kernel, definition in zip(*results):
        assert kernel.dtype is definition.dtype is dtype
        close(kernel, definition, dtype, 10)


@pytest.mark.parametrize("name", OPS)
def test_gradients_that_record_themselves_have_the_same_values(name: str, device: str) -> None:
    inputs = [gc.tensor(v, device=device).requires_grad_() for v in (RANDOM, RANDOM[1], RANDOM[2])]
    used = inputs if name == "layer_norm" else inputs[:2]
    found = []
    for create_graph in (False, True):
        loss = (OPS[name][1](*inputs) ** 3).sum()
        found.append(gc.autograd.grad(loss, used, create_graph=create_graph))
    for plain, recorded in zip(*found):
        assert recorded.requires_grad and not plain.requires_grad
        close(plain, recorded, gc.float32, 20)


@pytest.mark.parametrize("rows, columns", [(1, 70000), (5, 30000), (700, 300), (70000, 1)])
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_of_rows(rows: int, columns: int, threads: int) -> None:
    """One block for each row, and several, of which the last is smaller; on one thread and on several."""
    generator = np.random.default_rng(1)
    x, g = generator.standard_normal((2, rows, columns))
    w, b = generator.standard_normal((2, columns))
    before = get_num_threads()
    set_num_threads(threads)
    try:
        ours = [gc.tensor(v).requires_grad_() for v in (x, w, b)]
        out = gc.layer_norm(ours[0], (columns,), *ours[1:])
        grads = gc.autograd.grad(out, ours, gc.tensor(g))
    finally:
        set_num_threads(before)
    rstd = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    h, gw = (x - x.mean(1, keepdims=True)) * rstd, g * w
    dx = rstd * (gw - gw.mean(1, keepdims=True) - h * (gw * h).mean(1, keepdims=True))
    for found, expected in zip((out, *grads), (h * w + b, dx, (g * h).sum(0), g.sum(0))):
        close(found, gc.tensor(expected), gc.float64, 100)


# ---------------------------------------------------------------- modules
MODULES = """
    m.LayerNorm(4); m.LayerNorm((3, 4), eps=1e-3); m.LayerNorm(4, bias=False); m.LayerNorm(4, 1e-6, False);
    m.LayerNorm([2, 3], dtype=t.float64); m.RMSNorm(4); m.RMSNorm((3, 4), 1e-6); m.RMSNorm(4, None, False);
    m.RMSNorm(4.5); m.LayerNorm('ab'); m.LayerNorm(4.5); m.LayerNorm(-1)
"""


@cases(MODULES)
def test_modules(case: str, oracle: Any) -> None:
    def run(t: Any, d: str) -> Any:
        module = evaluate(case, m=t.nn, t=t)
        state = [(n, v.tolist(), str(v.dtype).split(".")[1]) for n, v in module.state_dict().items()]
        return repr(module), state, [n for n, _ in module.named_parameters()], module.normalized_shape

    agree(run, oracle)


@cases("LayerNorm((3, 4)); LayerNorm(4, bias=False); LayerNorm(4, 0.1, False); RMSNorm(4)")
def test_modules_compute_as_in_pytorch(case: str, oracle: Any) -> None:
    def run(t: Any, d: str) -> Any:
        module = evaluate(f"m.{case}", m=t.nn).double()
        for p in module.parameters():
            p.data = t.tensor(RANDOM.reshape(-1)[: p.numel()]).reshape(p.shape)
        x = t.tensor(RANDOM[:, :4].reshape(2, 3, 4)).requires_grad_()
        module(x).square().sum().backward()
        first = x.grad, *(p.grad for p in module.parameters())
        module.reset_parameters()
        return first, module(x).detach()

    agree(run, oracle)


def test_modules_are_made_where_asked(device: str) -> None:
    for module in (
        gc.nn.LayerNorm(3, device=device, dtype=gc.float16),
        gc.nn.RMSNorm(3, device=device, dtype=gc.float16),
    ):
        for p in module.parameters():
            assert p.device.type == device and p.dtype is gc.float16
