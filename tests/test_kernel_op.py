"""`gradcore.cuda.kernel_op`: a user's CUDA C++ as a differentiable op, on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.autograd import gradcheck, gradgradcheck
from gradcore.backends.cuda import compiler
from gradcore.cuda import Launch, emulator, kernel_op

SOURCE = """
extern "C" __global__ void scaled(const x_t *x, const y_t *y, out_t *out, kept_t *kept, double scale, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  kept[i] = exp(-y[i]);
  out[i] = (x_t)scale * x[i] * kept[i];
}
extern "C" __global__ void scaled_backward(const g_t *g, const x_t *x, const kept_t *kept, grad_x_t *grad_x,
    grad_y_t *grad_y, double scale, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  if (grad_x) grad_x[i] = g[i] * (x_t)scale * kept[i];
  if (grad_y) grad_y[i] = -g[i] * (x_t)scale * x[i] * kept[i];
}
"""
calls: list[str] = []


def forward(x: Any, y: Any, out: Any, kept: Any, scale: float) -> Launch:
    calls.append("forward")
    return Launch(-(-x.size // 64), 64, (x, y, out, kept, np.float64(scale), np.int32(x.size)))


def backward(g: Any, x: Any, kept: Any, grad_x: Any, grad_y: Any, scale: float) -> Any:
    calls.append("backward")
    return (-(-x.size // 64),), (64, 1), (g, x, kept, grad_x, grad_y, np.float64(scale), np.int32(x.size))


def composite(x: Any, y: Any, *, scale: float = 1.0) -> Any:
    """`scale * x * exp(-y)`."""
    calls.append("definition")
    return scale * x * gc.exp(-y)


def outputs(x: Any) -> Any:
    return {"out": (x.shape, x.dtype), "kept": (x.shape, x.dtype)}


whole = kernel_op(
    SOURCE, "scaled", forward, outputs=outputs, backward="scaled_backward", launch_backward=backward, name="scaled"
)(composite)
derived = kernel_op(SOURCE, "scaled", forward, outputs=outputs, name="derived")(composite)
both = pytest.mark.parametrize("op", [whole, derived], ids=["own backward", "derived"])


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def leaves(device: str, shape: tuple[int, ...] = (3, 5)) -> list[Any]:
    return [gc.randn(*shape, dtype=gc.float64, device=device, requires_grad=True) for _ in range(2)]


@both
def test_derivatives(op: Any, device: str) -> None:
    x, y = leaves(device)

    def function(x: Any, y: Any) -> Any:
        return op(x, y, scale=1.5)

    with emulator.using(mode="check"):
        assert gradcheck(function, (x, y)) and gradgradcheck(function, (x, y))
        assert gradcheck(lambda x: function(x.t(), y.detach().t()), x)
        assert gradcheck(lambda y: function(x.detach(), y), y)
        assert gradgradcheck(lambda x: function(x, x), x)


def test_what_runs_where(device: str) -> None:
    x, y = leaves(device)
    result = whole(x, y)
    expected = composite(x.detach(), y.detach())
    assert abs(result - expected).max().item() < 1e-14
    calls.clear()
    whole(x, y).sum().backward()
    derived(x, y).sum().backward()
    if device == "cpu":
        assert calls == ["definition", "definition"]
    else:
        assert calls == ["forward", "backward", "forward", "definition"]
        assert result.grad_fn.name() == "ScaledBackward0"
    assert whole.__name__ == "scaled" and whole.__doc__ == "`scale * x * exp(-y)`."


@both
def test_saved_tensors_are_watched(op: Any, _cuda_reason: str | None) -> None:
    if _cuda_reason is not None:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    x, y = leaves("cuda")
    z = y * 1
    out = op(x, z)
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@both
def test_empty(op: Any, device: str) -> None:
    x, y = leaves(device, (0, 3))
    op(x, y).sum().backward()
    assert x.grad.shape == y.grad.shape == (0, 3)


def test_dtypes(device: str) -> None:
    source = SOURCE.replace("x_t", "float").replace("y_t", "float").replace("grad_float", "float")
    op = kernel_op(source, "scaled", forward, outputs=outputs, dtypes={"x": gc.float32, "y": gc.float32})(composite)
    for dtype in (gc.float32, gc.float64, gc.float16):
        calls.clear()
        x = gc.ones(3, dtype=dtype, device=device)
        assert op(x, x * 0).tolist() == [1, 1, 1] and op(x, x).dtype is dtype
        assert calls[0] == ("forward" if dtype is gc.float32 and device == "cuda" else "definition")
    with pytest.raises(TypeError, match=r"what dtype does composite take for 'x'.*dtypes=\{'x': gradcore.float32\}"):
        kernel_op(source, "scaled", forward, outputs=outputs)(composite)


def test_errors_when_declared() -> None:
    with pytest.raises(TypeError, match="backward and launch_backward go together"):
        kernel_op(SOURCE, "scaled", forward, backward="scaled_backward")
    with pytest.raises(TypeError, match="asks for grad_z; the inputs are x, y"):
        kernel_op(SOURCE, "scaled", forward, backward="b", launch_backward=lambda grad_z: None)(composite)
    with pytest.raises(TypeError, match="tensors are positional parameters with a name"):
        kernel_op(SOURCE, "scaled", forward)(lambda *x: x)


def test_errors_when_called(_cuda_reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if _cuda_reason is not None:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    x = gc.ones(3, device="cuda")
    with pytest.raises(TypeError, match=r"scaled\(\): argument 'y' \(position 2\) must be Tensor, not float"):
        whole(x, 1.0)
    with pytest.raises(RuntimeError, match="same device"):
        whole(x, gc.ones(3))
    with pytest.raises(TypeError, match="asks for 'z'; there are x, y, scale, out"):
        kernel_op(SOURCE, "scaled", lambda z: None)(composite)(x, x)
    with pytest.raises(TypeError, match=r"must return \(grid, block, arguments\), got None"):
        kernel_op(SOURCE, "scaled", lambda x: None)(composite)(x, x)
    monkeypatch.setattr(compiler, "on_compile", [])  # where the tests of the CUDA backend have NVRTC look at every text
    broken = kernel_op(SOURCE + "x_t ;; nonsense y_t", "scaled", forward, outputs=outputs)(composite)
    with pytest.raises(RuntimeError, match="the CUDA kernel for composite does not compile"):
        broken(x, x)


@pytest.mark.skipif(not emulator.is_supported(), reason="needs the emulated device")
def test_mistakes_are_reported(_cuda_reason: str | None) -> None:
    if _cuda_reason is not None or not gc.cuda.get_device_name().startswith("gradcore"):
        pytest.skip("real devices do not check")
    x = gc.ones(3, device="cuda")
    beyond = kernel_op(SOURCE.replace("if (i >= n) return;", ""), "scaled", forward, outputs=outputs)(composite)
    with emulator.using(mode="check"), pytest.raises(emulator.KernelError, match="scaled"):
        beyond(x, x)
    wrong = kernel_op(SOURCE, "scaled", lambda x, y, out: (1, 64, (x, y, out, out, 1.0, 3)))(composite)
    with pytest.raises(Exception, match="kept_t|numbers|int"):
        wrong(x, x)
