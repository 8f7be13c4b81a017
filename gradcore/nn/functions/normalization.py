"""Batch norm, instance norm and group norm."""

from __future__ import annotations

from math import prod
from typing import Any

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.grad_mode import no_grad
from ...autograd.tape import apply
from ...ops import channel_norms
from ...ops.precision import CUDA_FLOAT32
from ...tensor.tensor import Tensor
from .pooling import avg_pool1d
from .resampling import pad

__all__ = ["batch_norm", "group_norm", "instance_norm", "local_response_norm"]


def _check_sizes(channels: int, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {tensor.numel()}")


def _update(running: Tensor | None, latest: Tensor, momentum: float, factor: float = 1.0) -> None:
    """Move a running average towards `factor` times the latest values, their mean where there are several images'."""
    if running is not None:
        with no_grad():
            each = latest.reshape(-1, running.numel())
            latest = each[0] if each.shape[0] == 1 else each.mean(0)
            running.mul_(1 - momentum).add_(latest.to(running.dtype), alpha=momentum * factor)


def _moments(input: Tensor, groups: int | None, eps: float) -> Any:
    with no_grad():
        return apply(channel_norms.channel_moments, (input,), {"groups": groups, "eps": float(eps)})


def _evaluated(input: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Normalized by given statistics."""
    shape = (1, -1) + (1,) * (input.ndim - 2)
    x = input.float() if input.dtype in (dtypes.float16, dtypes.bfloat16) else input
    out = (x - mean.detach().reshape(shape)) * (variance.detach().reshape(shape) + eps).rsqrt()
    out = out if weight is None else out * weight.reshape(shape)
    out = out if bias is None else out + bias.reshape(shape)
    return out if out.dtype is input.dtype else out.to(input.dtype)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(variance + eps) * weight + bias` of each channel (Ioffe & Szegedy, ICML 2015).

    Args:
        input: (N, C, ...), floating point.
        running_mean, running_var: (C,), or both None. In training, mean and (biased) variance are the batch's, and
            these are updated by `momentum` towards them (towards the unbiased variance); else they are used.
        weight, bias: (C,), in the input's dtype or, with a float16 or bfloat16 input, in float32.

    Raises:
        ValueError: in training, there is but one value for each channel.
        RuntimeError, IndexError, NotImplementedError: shapes or dtypes do not fit.
    """
    if input.ndim < 2:
        if input.numel() == 0:
            return input.clone()
        if training and input.ndim == 0:
            raise IndexError("tuple index out of range")
        raise IndexError(f"Dimension out of range (expected to be in range of [-{input.ndim or 1}, 0], but got 1)")
    channels, count = input.shape[1], input.shape[0] * prod(input.shape[2:])
    if training and count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
    if not training:
        for name, tensor in (("running_mean", running_mean), ("running_var", running_var)):
            if tensor is None:
                raise RuntimeError(f"{name} must be defined in evaluation mode")
    elif (running_mean is None) is not (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    _check_sizes(channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        return _evaluated(input, running_mean, running_var, weight, bias, eps)
    mean, variance, rstd = _moments(input, None, eps)
    out = apply(channel_norms.channel_norm, (input, weight, bias, mean, rstd), {"groups": None, "eps": float(eps)})
    if count:
        _update(running_mean, mean, momentum)
        _update(running_var, variance, momentum, count / (count - 1))
    return out


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(variance + eps) * weight + bias` of each channel of each image (Ulyanov et al., 2016).

    Args:
        input: (N, C, ...), floating point.
        running_mean, running_var: (C,), or both None. With `use_input_stats`, mean and (biased) variance are those of
            the channel, and these are updated by `momentum` towards the averages over the images; else they are used.
        weight, bias: (C,), in the input's dtype or, with a float16 or bfloat16 input, in float32.

    Raises:
        ValueError: the statistics are the input's, and there is but one value for each.
        RuntimeError, NotImplementedError: shapes or dtypes do not fit.
    """
    channels, count = input.shape[1], prod(input.shape[2:])
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    if use_input_stats and count == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    _check_sizes(channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not use_input_stats:
        return _evaluated(input, running_mean, running_var, weight, bias, eps)
    attrs = {"groups": channels, "eps": float(eps)}
    mean, variance, rstd = _moments(input, channels, eps)
    out = apply(channel_norms.channel_norm, (input, weight, bias, mean, rstd), attrs)
    if count and input.shape[0]:
        _update(running_mean, mean, momentum)
        _update(running_var, variance, momentum, count / (count - 1))
    return out


@with_precision(CUDA_FLOAT32)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """`(x - mean) / sqrt(variance + eps) * weight + bias` of each group of channels (Wu & He, ECCV 2018).

    Args:
        input: (N, C, ...), floating point; C is divisible by `num_groups`.
        num_groups: how many groups the channels are divided into. Mean and (biased) variance are taken over a group of
            one image.
        weight, bias: (C,), in the input's dtype or, with a float16 or bfloat16 input, in float32.

    Raises:
        RuntimeError, ValueError, NotImplementedError: shapes or dtypes do not fit.
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    shape, channels = list(input.shape), input.shape[1]
    if input.shape[0] * channels // num_groups * prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")
    if num_groups < 0 or channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{shape} and num_groups={num_groups}"
        )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and list(tensor.shape) != [channels]:
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of "
                f"shape {list(tensor.shape)} and input of shape {shape}"
            )
    attrs = {"groups": num_groups, "eps": float(eps)}
    mean, _, rstd = _moments(input, num_groups, eps)
    return apply(channel_norms.channel_norm, (input, weight, bias, mean, rstd), attrs)


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """`input / (k + alpha * mean of squares)^beta` of (N, C, ...), the mean over `size` neighbouring channels, of which
    those that are not there count as 0 (Krizhevsky et al., NeurIPS 2012).

    Raises:
        ValueError: the input has less than 3 dimensions.
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if not input.numel():
        return input
    last = (input * input).transpose(1, -1)
    rows = pad(last.reshape(-1, 1, input.shape[1]), (size // 2, (size - 1) // 2))
    means = avg_pool1d(rows, size, stride=1).reshape(last.shape).transpose(1, -1)
    return input / (means * alpha + k) ** beta
