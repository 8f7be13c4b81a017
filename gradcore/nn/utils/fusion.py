"""Batch norms that are part of the layer before them, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from ..parameter import Parameter


def _fused(
    weight: Any, bias: Any, mean: Any, var: Any, eps: float, scale: Any, shift: Any, dim: int
) -> tuple[Parameter, Parameter]:
    factor = (var + eps).rsqrt()
    factor = factor if scale is None else factor * scale
    bias = (0 if bias is None else bias) - mean
    shape = [1] * weight.ndim
    shape[dim] = -1
    fused = weight * factor.reshape(shape)
    moved = bias * factor if shift is None else bias * factor + shift
    return Parameter(fused.detach().to(weight.dtype), weight.requires_grad), Parameter(moved.detach().to(weight.dtype))


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any, transpose: bool = False
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution that also does what a batch norm after it does with its running averages."""
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear map that also does what a batch norm after it does with its running averages."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _with_norm(layer: Any, bn: Any, dim: int) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None:
        raise ValueError("fusion: the batch norm has no running averages (track_running_stats=False)")
    fused = copy.deepcopy(layer)
    averages = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    fused.weight, fused.bias = _fused(fused.weight, fused.bias, *averages, dim)
    return fused


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution that does what it and a batch norm after it do; both are in evaluation mode."""
    return _with_norm(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear map that does what it and a batch norm after it do; both are in evaluation mode."""
    return _with_norm(linear, bn, 0)
