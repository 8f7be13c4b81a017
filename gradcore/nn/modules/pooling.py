"""Pooling; the formulas are in `gradcore.nn.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...tensor.tensor import Tensor
from .. import functional as F
from .module import Module

Sizes = int | Sequence[int]


class _MaxPool(Module):
    ndim: int

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation)
        return getattr(F, f"max_pool{self.ndim}d")(input, *sizes, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class _AvgPool(Module):
    ndim: int

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        args = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        more = () if self.ndim == 1 else (self.divisor_override,)
        return getattr(F, f"avg_pool{self.ndim}d")(input, *args, *more)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Adaptive(Module):
    ndim: int

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_Adaptive):
    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, f"adaptive_avg_pool{self.ndim}d")(input, self.output_size)


class _AdaptiveMaxPool(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return getattr(F, f"adaptive_max_pool{self.ndim}d")(input, self.output_size, self.return_indices)


class MaxPool1d(_MaxPool):
    """`functional.max_pool1d`."""

    ndim = 1


class MaxPool2d(_MaxPool):
    """`functional.max_pool2d`."""

    ndim = 2


class MaxPool3d(_MaxPool):
    """`functional.max_pool3d`."""

    ndim = 3


class AvgPool1d(_AvgPool):
    """`functional.avg_pool1d`."""

    ndim = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        kernel, stride, padding = (
            (n,) if isinstance(n, int) else tuple(n) for n in (kernel_size, stride or kernel_size, padding)
        )
        super().__init__(kernel, stride, padding, ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool):
    """`functional.avg_pool2d`."""

    ndim = 2


class AvgPool3d(_AvgPool):
    """`functional.avg_pool3d`."""

    ndim = 3


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """`functional.adaptive_avg_pool1d`."""

    ndim = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """`functional.adaptive_avg_pool2d`."""

    ndim = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """`functional.adaptive_avg_pool3d`."""

    ndim = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """`functional.adaptive_max_pool1d`."""

    ndim = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """`functional.adaptive_max_pool2d`."""

    ndim = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """`functional.adaptive_max_pool3d`."""

    ndim = 3


class _LPPool(Module):
    ndim: int

    def __init__(self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"lp_pool{self.ndim}d")
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return ", ".join(f"{n}={getattr(self, n)}" for n in ("norm_type", "kernel_size", "stride", "ceil_mode"))


class LPPool1d(_LPPool):
    """`functional.lp_pool1d`."""

    ndim = 1


class LPPool2d(_LPPool):
    """`functional.lp_pool2d`."""

    ndim = 2


class LPPool3d(_LPPool):
    """`functional.lp_pool3d`."""

    ndim = 3


class _MaxUnpool(Module):
    ndim: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0):
        super().__init__()
        given = (kernel_size, kernel_size if stride is None else stride, padding)
        self.kernel_size, self.stride, self.padding = (
            (n,) * self.ndim if isinstance(n, int) else tuple(n) for n in given
        )

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        unpool = getattr(F, f"max_unpool{self.ndim}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """`functional.max_unpool1d`."""

    ndim = 1


class MaxUnpool2d(_MaxUnpool):
    """`functional.max_unpool2d`."""

    ndim = 2


class MaxUnpool3d(_MaxUnpool):
    """`functional.max_unpool3d`."""

    ndim = 3
