"""Every op, by its samples: derivatives against finite differences, values and gradients against PyTorch, devices
against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE
from samples import SAMPLES, Sample

import gradcore as gc

samples = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)


class OnDevice:
    """A module whose samples make their index tensors on one device."""

    def __init__(self, module: Any, device: str):
        self._module, self.device_in_use = module, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def tensors(sample: Sample, dtype: str, device: str = "cpu") -> list[Any]:
    made = [gc.tensor(a, device=device) for a in sample.arrays(dtype)]
    return [t.requires_grad_() if sample.differentiable else t for t in made]


def forward_backward(module: Any, sample: Sample, inputs: list[Any]) -> tuple[Any, list[Any]]:
    """The result, and the gradients of the sum of its elements weighted 1, 2, 3, ..."""
    out = sample.function(module, *inputs)
    if not sample.differentiable:
        return out, []
    weights = module.arange(1, out.numel() + 1, dtype=out.dtype, device=out.device).reshape(out.shape)
    grads = module.autograd.grad((out * weights).sum(), inputs, allow_unused=True)
    return out, list(grads)


def close(found: np.ndarray, expected: np.ndarray, dtype: Any) -> None:
    rtol, atol = TOLERANCE.get(dtype, (0, 0))
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)


@samples
def test_derivatives(sample: Sample) -> None:
    if not sample.differentiable:
        pytest.skip("not differentiable")
    inputs = tensors(sample, "float64")

    def function(*xs: Any) -> Any:
        return sample.function(gc, *xs)

    assert gc.autograd.gradcheck(function, inputs, check_grad_dtypes=True)
    assert gc.autograd.gradgradcheck(function, inputs, check_grad_dtypes=True)


@samples
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_pytorch(sample: Sample, dtype: str, oracle: Any) -> None:
    if dtype not in sample.dtypes:
        pytest.skip(f"PyTorch's result is not one of {dtype}")
    if sample.registered and not hasattr(oracle, sample.name):
        pytest.skip("PyTorch has no such function")
    theirs_in = [oracle.tensor(a) for a in sample.arrays(dtype)]
    if sample.differentiable:
        for t in theirs_in:
            t.requires_grad_()
    ours, our_grads = forward_backward(gc, sample, tensors(sample, dtype))
    theirs, their_grads = forward_backward(oracle, sample, theirs_in)
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    close(ours.detach().numpy(), theirs.detach().numpy(), ours.dtype)
    for a, b, x in zip(our_grads, their_grads, theirs_in):
        assert (a is None) == (b is None)
        if a is not None:
            assert tuple(a.shape) == tuple(x.shape)
            assert str(a.dtype).split(".")[1] == dtype
            close(a.numpy(), b.numpy(), a.dtype)


@samples
def test_inputs_are_left_alone(sample: Sample) -> None:
    inputs = tensors(sample, "float64")
    before = [t.detach().clone() for t in inputs]
    forward_backward(gc, sample, inputs)
    for t, b in zip(inputs, before):
        assert gc.equal(t, b)


@samples
def test_strides_do_not_matter(sample: Sample) -> None:
    """The same values in other memory layouts (transposed, sliced from something larger) give the same results."""
    if not sample.any_strides:
        pytest.skip("needs contiguous input")
    plain = tensors(sample, "float64")
    strided = []
    for t in plain:
        a = t.detach().numpy()
        padded = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype).T
        view = padded.T[(*(slice(1, None, 2) for _ in a.shape), Ellipsis)]
        view[...] = a
        strided.append(gc.from_numpy(view).requires_grad_(sample.differentiable))
    out, grads = forward_backward(gc, sample, plain)
    other, other_grads = forward_backward(gc, sample, strided)
    close(other.detach().numpy(), out.detach().numpy(), out.dtype)
    for a, b in zip(other_grads, grads):
        assert (a is None) == (b is None)
        if a is not None:
            close(a.numpy(), b.numpy(), a.dtype)


@samples
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cuda_equals_cpu(sample: Sample, dtype: str, _cuda_reason: str | None) -> None:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    out, grads = forward_backward(OnDevice(gc, "cpu"), sample, tensors(sample, dtype))
    there, grads_there = forward_backward(OnDevice(gc, "cuda"), sample, tensors(sample, dtype, "cuda"))
    assert there.device.type == "cuda" and there.shape == out.shape and there.dtype is out.dtype
    close(there.detach().cpu().numpy(), out.detach().numpy(), out.dtype)
    for a, b in zip(grads_there, grads):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.device.type == "cuda"
            close(a.cpu().numpy(), b.numpy(), a.dtype)
