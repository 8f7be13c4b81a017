"""Batch norm, instance norm and group norm; the formulas are in `gradcore.nn.functional`."""

from __future__ import annotations

from typing import Any

from ... import dtypes
from ...tensor.creation import empty, ones, tensor, zeros
from ...tensor.tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Buffer, Parameter
from .module import Module


class _Affine(Module):
    """A module with a weight and a bias for each channel, or without."""

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, channels: int, affine: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(empty(channels, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, made)

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class GroupNorm(_Affine):
    """`functional.group_norm` of (N, num_channels, ...).

    `weight` and `bias`, both (num_channels,), start at 1 and 0; without `affine` there is neither, without `bias` no
    bias.

    >>> from gradcore import nn
    >>> nn.GroupNorm(2, 6)
    GroupNorm(2, 6, eps=1e-05, affine=True, bias=True)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._make(num_channels, affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _Running(_Affine):
    """A norm that may keep running statistics of each channel."""

    dims: tuple[int, ...]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make(num_features, affine, bias, device, dtype)
        if track_running_stats:
            self.running_mean = Buffer(zeros(num_features, device=device, dtype=dtype))
            self.running_var = Buffer(ones(num_features, device=device, dtype=dtype))
            self.num_batches_tracked = Buffer(tensor(0, dtype=dtypes.int64, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Begin anew: mean 0, variance 1, no batch seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0, and begin anew with the running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_dims(self, input: Tensor) -> None:
        if input.ndim not in self.dims:
            kinds = " or ".join(f"{n}D" for n in self.dims)
            raise ValueError(f"expected {kinds} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_dims(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the average of all batches
                momentum = 1 / float(self.num_batches_tracked)
        update = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if update else None,
            self.running_var if update else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_dims(input)
        batched = input.ndim == self.dims[1]
        channels = input.shape[int(batched)]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={int(batched)} to match num_features ({self.num_features}), but got: "
                f"{channels}."
            )
        out = F.instance_norm(
            input if batched else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out if batched else out.squeeze(0)


class BatchNorm1d(_BatchNorm):
    """`functional.batch_norm` of (N, C) or (N, C, L).

    `weight` and `bias` (C,), if `affine`, start at 1 and 0, the buffers `running_mean` and `running_var` at 0 and 1.
    In training these move towards the batch's statistics by `momentum` (None: they are the averages of all batches);
    in evaluation they take the place of these, unless `track_running_stats` is off.
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`functional.batch_norm` of (N, C, H, W).

    `weight` and `bias` (C,), if `affine`, start at 1 and 0, the buffers `running_mean` and `running_var` at 0 and 1.
    In training these move towards the batch's statistics by `momentum` (None: they are the averages of all batches);
    in evaluation they take the place of these, unless `track_running_stats` is off.
    """

    dims = (4,)


class BatchNorm3d(_BatchNorm):
    """`functional.batch_norm` of (N, C, D, H, W).

    `weight` and `bias` (C,), if `affine`, start at 1 and 0, the buffers `running_mean` and `running_var` at 0 and 1.
    In training these move towards the batch's statistics by `momentum` (None: they are the averages of all batches);
    in evaluation they take the place of these, unless `track_running_stats` is off.
    """

    dims = (5,)


class InstanceNorm1d(_InstanceNorm):
    """`functional.instance_norm` of (C, L) or (N, C, L); see `BatchNorm1d` for the options."""

    dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """`functional.instance_norm` of (C, H, W) or (N, C, H, W); see `BatchNorm2d` for the options."""

    dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """`functional.instance_norm` of (C, D, H, W) or (N, C, D, H, W); see `BatchNorm3d` for the options."""

    dims = (4, 5)
