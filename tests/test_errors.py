"""Mistakes: PyTorch's exception types, messages that name the op, what came and the fix, and nothing half done."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parity import agree, cases, evaluate

import gradcore as gc

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cuda(_cuda_reason: str | None) -> str:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    return "cuda"


# ---------------------------------------------------------------- what PyTorch refuses
REFUSED = """
    x + x[:, :2]; x.add(m.zeros(4)); x == m.zeros(4); x @ x; x[0] @ m.zeros(2); m.zeros(2, 2, 3) @ m.zeros(3, 3, 2);
    x @ 3; x @ [1, 2]; m.where(m.tensor([True, False]), m.zeros(3), m.zeros(2)); m.where(x, x, x); x.clamp('a');
    x.clamp(); x.sum('a'); x.sum(1.5); x.sum(unknown=1); m.sum(); m.sum([1, 2]); m.relu(3); m.exp(1.0); m.add(x);
    x.add(); x.transpose(0); x.transpose(0.5, 1); x.unsqueeze(); x.split('a'); x.softmax('a'); x.softmax();
    x.max('a'); x.argmax(1.5); x.foo; x ** 'a'; x + None; x < 'a'; x + [1, 2]; x + {}; [1] + x; x - True;
    -m.tensor([True]); m.tensor([True]) - m.tensor([False]); m.tensor([1.0]) & m.tensor([1.0]); x | 1; m.foo; x();
    m.cat([x, None]); m.cat([1, 2]); m.cat(x); m.cat([]); m.stack([]); m.stack([x, x[0]]); m.cat([x, x[0]]);
    m.cat([x, x[:, :2]]); m.cat([x], dim=2); m.cat([m.tensor(1), m.tensor(2)]); x.copy_('a'); x.copy_(m.zeros(4));
    x.add_('a'); x.mul_(m.zeros(2, 2, 3)); x.fill_('a'); x.fill_(x); x.long().mul_(0.5); x.long().exp_();
    x.bool().add_(1); x.backward(); x.requires_grad_().numpy(); x.long().requires_grad_(); x.item(); bool(x);
    x[0].dot(x[0, :2]); m.dot(x, x); m.mm(x, x[0]); m.mm(x, x); x.mm(3); m.bmm(x, x); m.bmm(x[None], x[None]);
    m.outer(x, x); m.addmm(x, x, x); m.mm(x, x.t().double()); x.long() @ x.t(); m.dot(x[0], x[0].double());
    m.bmm(x[None], x.t()[None].half()); m.addmm(m.zeros(2), x, x.t().double());
    m.addmm(m.zeros(2).double(), x, x.t()); m.addmm(m.zeros(3), x, x.t()); m.nn.functional.linear(x, m.zeros(2, 2));
    m.nn.functional.linear(x, x, m.zeros(3)); m.nn.functional.linear(x, x.double());
    m.nn.functional.linear(x.long(), x); x.long().mean(); m.nn.functional.linear(x, x, m.zeros(2).double());
    x.long().std(); x.long().norm(); x.long().softmax(0); m.add(x.long(), x.long(), alpha=1.5);
    m.div(x, 2, rounding_mode='up'); m.arange(3) ** (-1); x.to('nowhere'); x.to('cuda:x'); m.device('gpu');
    m.device('cuda:1', 1); m.device(None); x.expand(3, 3); x.expand('a'); m.equal(x, 1); m.allclose(x, x.double());
    m.manual_seed('a'); m.manual_seed(2 ** 64); m.set_rng_state(3); x.uniform_(1, 0); x.normal_(0, -1);
    x.long().normal_(); m.nn.functional.dropout(x, 1.5); m.maximum(x, m.zeros(4)); x.logical_and(m.zeros(4));
"""


@cases(REFUSED)
def test_pytorch_refuses_it_too(case: str, oracle: Any) -> None:
    def run(m: Any, d: str) -> Any:
        out = evaluate(case, m=m, x=m.ones(2, 3))
        raise AssertionError(f"{m.__name__} returned {out!r}") if m is oracle else LookupError(out)

    agree(run, oracle)


# Patterns that the message must match: the op, what came, what to do.
MESSAGES = [
    (lambda x: x + x[:, :2], RuntimeError,
     r"add\(\): The size of tensor a \(3\) must match the size of tensor b \(2\) at non-sing"),
    (lambda x: x @ x, RuntimeError, r"matmul\(\): mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
    (lambda x: x @ x.t().double(), RuntimeError,
     r"same dtype, but got: gradcore.float32 != gradcore.float64; convert one"),
    (lambda x: gc.nn.functional.linear(x, gc.zeros(4, 2)), RuntimeError,
     r"linear\(\): .*cannot be multiplied \(2x3 and 2x4\)"),
    (lambda x: gc.nn.functional.linear(x, x, gc.zeros(3)), RuntimeError,
     r"linear\(\): expected bias of shape \[2\], got \[3\]"),
    (lambda x: x.long().mean(), RuntimeError, r"mean\(\): .*Got: Long; convert it first, as in mean\(x.float\(\)\)"),
    (lambda x: x | 1, NotImplementedError,
     r"\"bitwise_or\" not implemented for 'Float': it takes integer or bool tensors"),
    (lambda x: x.long().softmax(0), NotImplementedError, r"\"softmax\" not implemented for 'Long': pass dtype="),
    (lambda x: x.reshape(5), RuntimeError, r"shape '\[5\]' is invalid for input of size 6"),
    (lambda x: x.t().view(6), RuntimeError, r"Use .reshape\(...\) instead"),
    (lambda x: x.sum(2), IndexError, r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"),
    (lambda x: x + "a", TypeError, r"add\(\): argument 'other' \(position 2\) must be Tensor or Number, not str"),
    (lambda x: gc.relu([1]), TypeError, r"relu\(\): argument 'input' \(position 1\) must be Tensor"),
    (lambda x: gc.cat([x, None]), TypeError,
     r"expected Tensor as element 1 in argument 0, but got NoneType"),
    (lambda x: x.item(), RuntimeError, r"a Tensor with 6 elements cannot be converted to Scalar"),
    (lambda x: bool(x), RuntimeError, r"Boolean value of Tensor with more than one value is ambiguous"),
    (lambda x: x.long().add_(0.5), RuntimeError,
     r"add_\(\): result type Float can't be cast to the desired output type Long"),
    (lambda x: x.add_(gc.ones(2, 2, 3)), RuntimeError,
     r"add_\(\): output with shape \[2, 3\] doesn't match the broadcast shape"),
    (lambda x: gc.tensor([1]) // 0, RuntimeError, r"floor_divide\(\): ZeroDivisionError"),
    (lambda x: gc.tensor([2]) ** -1, RuntimeError, r"Integers to negative integer powers are not allowed"),
    (lambda x: gc.conv9d, AttributeError,
     r"no attribute 'conv9d'. If it is part of PyTorch's public API, it is not covered yet"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "kind", "message"), MESSAGES, ids=[m[:40] for _, _, m in MESSAGES])
def test_messages(case: Callable[..., Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        case(gc.ones(2, 3))


# ---------------------------------------------------------------- mixed devices
F = gc.nn.functional
MIXED = [
    (lambda c, g: c + g, "add", "other"), (lambda c, g: g - c, "sub", "other"),
    (lambda c, g: c**g, "pow", "exponent"), (lambda c, g: c @ g, "matmul", "other"),
    (lambda c, g: gc.mm(c, g), "mm", "mat2"), (lambda c, g: gc.dot(c[0], g[0]), "dot", "tensor"),
    (lambda c, g: gc.bmm(c[None], g[None]), "bmm", "mat2"), (lambda c, g: F.linear(c, g), "linear", "weight"),
    (lambda c, g: F.linear(c, c, g[0]), "linear", "bias"), (lambda c, g: gc.cat([c, g]), "cat", r"tensors\[1\]"),
    (lambda c, g: gc.stack([c, g]), "stack", r"tensors\[1\]"), (lambda c, g: gc.where(c > 0, c, g), "where", "other"),
    (lambda c, g: gc.maximum(c, g), "maximum", "other"), (lambda c, g: c.clamp(g, g), "clamp", "min"),
    (lambda c, g: c == g, "eq", "other"), (lambda c, g: F.mse_loss(c, g), "mse_loss", "target"),
    (lambda c, g: F.cross_entropy(g, gc.tensor([0, 1])), "cross_entropy", "target"),
    (lambda c, g: F.nll_loss(g, gc.tensor([0, 1])), "nll_loss", "target"), (lambda c, g: c.add_(g), "add", "other"),
    (lambda c, g: g.mul_(c), "mul", "other"), (lambda c, g: c * g[0, 0], "mul", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "op", "argument"), MIXED, ids=[f"{op}-{i}" for i, (_, op, _) in enumerate(MIXED)])
def test_mixed_devices(case: Any, op: str, argument: str, cuda: str) -> None:
    """The message names the op, both arguments and devices, and what to write."""
    cpu, gpu = gc.ones(2, 2), gc.ones(2, 2, device=cuda)
    pattern = (
        rf"{op}\(\): expected all tensors to be on the same device, but found at least two devices, (cpu|cuda:0) "
        rf"\(argument '.*'\) and (cpu|cuda:0) \(argument '{argument}'\). Move one of them: "
        rf"{argument}.to\('(cpu|cuda:0)'\)"
    )
    with pytest.raises(RuntimeError, match=pattern):
        case(cpu, gpu)
    assert cpu.tolist() == gpu.tolist() == [[1, 1], [1, 1]] and cpu._version == gpu._version == 0


def test_scalar_tensors_of_the_cpu_go_anywhere(cuda: str) -> None:
    """As in PyTorch: a zero-dimensional CPU tensor takes part in arithmetic on a GPU, and gets its gradient back."""
    s = gc.tensor(2.0, requires_grad=True)
    x = gc.ones(3, device=cuda, requires_grad=True)
    y = s * x + x / s - s
    assert y.device.type == "cuda" and y.tolist() == [0.5, 0.5, 0.5]
    y.sum().backward()
    assert s.grad.device.type == "cpu" and s.grad.item() == -0.75 and x.grad.tolist() == [2.5, 2.5, 2.5]
    z = gc.ones(2, device=cuda)
    assert z.mul_(gc.tensor(3.0)) is z and z.tolist() == [3, 3]
    assert gc.where(z > 0, gc.tensor(1.0), z).device == z.device
    with pytest.raises(RuntimeError, match="same device"):
        gc.tensor(1.0).mul_(gc.tensor(2.0, device=cuda))
    with pytest.raises(RuntimeError, match="same device"):
        gc.tensor([1.0]) * gc.tensor(2.0, device=cuda)


def test_powers_without_an_integer_result(device: str) -> None:
    for name, exponent in (("int64", -1), ("uint8", -1), ("int32", -3), ("bool", -2)):
        with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed"):
            gc.ones(2, dtype=getattr(gc, name), device=device) ** exponent
    x = gc.tensor([1, 2, -1], device=device)
    assert (x ** gc.tensor([-1, -1, -1], device=device)).tolist() == [1, 0, -1] and (x**-1.0).tolist() == [1, 0.5, -1]


def test_copying_between_devices(cuda: str) -> None:
    x, y = gc.zeros(2), gc.ones(2, device=cuda)
    assert x.copy_(y).tolist() == [1, 1] and y.copy_(gc.tensor([3.0, 4.0])).tolist() == [3, 4]


# ---------------------------------------------------------------- nothing half done
FAILING = """
    x.add_(gc.ones(3, 4, device=d)); x.mul_('a'); x.copy_(gc.ones(5, device=d)); x.fill_(gc.ones(2, device=d));
    x.__setitem__(5, 1.0); x.__setitem__([0, 7], 1.0); x.__setitem__(0, gc.ones(9, device=d));
    x.__setitem__(slice(None), 'a'); x.pow_(None); x.__setitem__(x > 0, gc.ones(7, device=d));
    x.clamp_(gc.zeros(2, 2, 3, device=d)); x.div_([2]); x.__iadd__(gc.ones(4, device=d));
    x[0].mul_(gc.ones(2, device=d)); x.sub_(True); x.div_(2, rounding_mode='up'); x.uniform_(2, 1);
    x.t().add_(gc.ones(2, 3, device=d));
"""


@cases(FAILING)
def test_inplace_operations_that_fail(case: str, device: str) -> None:
    """Values, version and history stay what they were, of a plain tensor and of one with a graph."""
    plain = gc.arange(6.0, device=device).reshape(2, 3).clone()
    leaf = gc.ones(2, 3, device=device, requires_grad=True)
    made = leaf * 2
    for x in (plain, made):
        values, version, node = x.tolist(), x._version, x.grad_fn
        with pytest.raises((RuntimeError, IndexError, TypeError)):
            evaluate(case, gc=gc, x=x, d=device)
        assert x.tolist() == values and x._version == version and x.grad_fn is node
    made.sum().backward()
    assert leaf.grad.tolist() == [[2, 2, 2], [2, 2, 2]]


def test_leaves_are_protected(device: str, oracle: Any) -> None:
    for change in (
        lambda x: x.add_(1),
        lambda x: x.zero_(),
        lambda x: x[0].mul_(2),
        lambda x: x.view(2).fill_(1),
        lambda x: x.uniform_(),
    ):
        agree(lambda m, d: change(m.ones(2, device=d, requires_grad=True)), oracle, device)
        x = gc.ones(2, device=device, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            change(x)
        assert x.tolist() == [1, 1] and x._version == 0 and x.is_leaf


# ---------------------------------------------------------------- machines without a GPU
def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter where CuPy cannot be imported and GRADCORE_CUDA is unset unless given."""
    outside = {k: v for k, v in os.environ.items() if k != "GRADCORE_CUDA"}
    prelude = "import sys; sys.modules['cupy'] = None\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + code],
        capture_output=True, text=True, cwd=ROOT, env={**outside, "PYTHONPATH": str(ROOT), **environment}, timeout=120,
    )  # fmt: skip


def test_without_cupy() -> None:
    code = """
import gradcore as gc
for make in (lambda: gc.ones(1).to("cuda"), lambda: gc.ones(1).cuda(), lambda: gc.zeros(1, device="cuda:0")):
    try:
        make()
    except RuntimeError as error:
        print(error)
print(gc.cuda.is_available(), gc.cuda.device_count())
assert "cupy" not in {m.split(".")[0] for m in sys.modules if sys.modules[m]}
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    *messages, last = done.stdout.splitlines()
    assert len(messages) == 3 and len(set(messages)) == 1 and last == "False 0"
    assert "CUDA devices need CuPy" in messages[0] and "pip install 'gradcore[cuda12]'" in messages[0]
    assert "GRADCORE_CUDA=emulate" in messages[0] and "GRADCORE_CUDA=cpu" in messages[0]


def test_without_a_gpu() -> None:
    """CuPy is there, but finds no device: the message says what to look at."""
    code = """
import types
class CUDARuntimeError(RuntimeError): pass
def count(): raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
runtime = types.SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError)
cupy = types.ModuleType("cupy")
cupy.ndarray, cupy.cuda = type("ndarray", (), {}), types.SimpleNamespace(runtime=runtime)
sys.modules["cupy"] = cupy
import gradcore as gc
try:
    gc.ones(1).to("cuda")
except RuntimeError as error:
    print(error)
"""
    done = python(code)
    assert "No CUDA GPUs are available: cudaErrorNoDevice" in done.stdout, done.stderr
    assert "nvidia-smi" in done.stdout and "CUDA_VISIBLE_DEVICES" in done.stdout


def test_cuda_on_the_cpu() -> None:
    """GRADCORE_CUDA=cpu: a script written for "cuda" runs, with one warning."""
    code = """
import gradcore as torch
device = torch.device("cuda")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).to(device)
x, y = torch.randn(16, 4, device=device), torch.randint(0, 2, (16,), device="cuda:0")
optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
for _ in range(60):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
torch.cuda.synchronize()
print(loss.item() < 0.3, x.device, x.is_cuda, loss.cuda() is loss, next(model.parameters()).device)
"""
    done = python(code, GRADCORE_CUDA="cpu")
    assert done.stdout == "True cpu False True cpu\n", done.stderr
    assert done.stderr.count("UserWarning: GRADCORE_CUDA=cpu: 'cuda' tensors are made on the CPU") == 1
    assert "Error" not in done.stderr
