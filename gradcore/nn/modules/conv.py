"""Convolutions and transposed convolutions; the formulas are in `gradcore.nn.functional`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...tensor.creation import empty
from ...tensor.tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module

Sizes = int | Sequence[int]


def _each(value: Sizes, ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else tuple(value)


class _Convolution(Module):
    """What all of them have in common."""

    ndim: int
    transposed = False
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: str | Sizes,
        output_padding: Sizes,
        dilation: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ):
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} must be divisible by groups")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
        self.stride, self.dilation = _each(stride, self.ndim), _each(dilation, self.ndim)
        if padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"padding_mode must be one of {set(modes)}, but got padding_mode={padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _each(kernel_size, self.ndim)
        self.padding: Any = padding if isinstance(padding, str) else _each(padding, self.ndim)
        self.output_padding = _each(output_padding, self.ndim)
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(empty(*shape, device=device, dtype=dtype))
        made = Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        # This gain makes the bound of Kaiming's uniform distribution 1/sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        none = (0,) * self.ndim
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != none else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1,) * self.ndim else []
        parts += [f"output_padding={self.output_padding}"] if self.output_padding != none else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: str | Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        first, rest = (in_channels, out_channels, kernel_size, stride, padding), (bias, padding_mode, device, dtype)
        super().__init__(*first, 0, dilation, groups, *rest)

    def _sides(self) -> list[tuple[int, int]]:
        """What is added before and after, for each dimension."""
        if self.padding == "valid":
            return [(0, 0)] * self.ndim
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            return [(n // 2, n - n // 2) for n in total]
        return [(int(p), int(p)) for p in self.padding]

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            sides = [n for pair in reversed(self._sides()) for n in pair]  # the last dimension first
            input, padding = F.pad(input, sides, self.padding_mode), 0
        function = getattr(F, f"conv{self.ndim}d")
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        first = (in_channels, out_channels, kernel_size, stride, padding, output_padding)
        super().__init__(*first, dilation, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """`output_size`, the spatial sizes of the result or all of them, chooses among those that are possible."""
        more = self.output_padding if output_size is None else self._missing(input, tuple(output_size))
        function = getattr(F, f"conv_transpose{self.ndim}d")
        return function(input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def _missing(self, input: Tensor, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding that gives the wanted size."""
        ndim = self.ndim
        if len(wanted) == input.ndim:
            wanted = wanted[-ndim:]
        if len(wanted) != ndim:
            raise ValueError(
                f"ConvTranspose{ndim}D: for {input.ndim}D input, output_size must have {ndim} or {input.ndim} elements "
                f"(got {len(wanted)})"
            )
        each = zip(input.shape[-ndim:], self.stride, self.padding, self.dilation, self.kernel_size)
        least = [(n - 1) * s - 2 * int(p) + d * (k - 1) + 1 for n, s, p, d, k in each]
        most = [n + s - 1 for n, s in zip(least, self.stride)]
        if any(not a <= n <= b for a, n, b in zip(least, wanted, most)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {least} to {most} (for an input of "
                f"{input.shape[-ndim:]})"
            )
        return tuple(n - a for n, a in zip(wanted, least))


class Conv1d(_Conv):
    """`functional.conv1d` of (N, C, L), with or without N.

    `weight` (out_channels, in_channels / groups, *kernel_size) and `bias` (out_channels,) start uniform in
    [-1/sqrt(k), 1/sqrt(k)], k being the products that are summed. `padding_mode` says what is added on both sides:
    "zeros", "reflect", "replicate" or "circular".

    >>> from gradcore import nn
    >>> nn.Conv1d(3, 8, 3, padding="same")
    Conv1d(3, 8, kernel_size=(3,), stride=(1,), padding=same)
    """

    ndim = 1


class Conv2d(_Conv):
    """`functional.conv2d` of (N, C, H, W), with or without N; parameters are those of `Conv1d`.

    >>> import gradcore as gc
    >>> gc.nn.Conv2d(3, 8, 3, padding=1)(gc.zeros(1, 3, 28, 28)).shape
    gradcore.Size([1, 8, 28, 28])
    """

    ndim = 2


class Conv3d(_Conv):
    """`functional.conv3d` of (N, C, D, H, W), with or without N; parameters are those of `Conv1d`."""

    ndim = 3


class ConvTranspose1d(_ConvTranspose):
    """`functional.conv_transpose1d` of (N, C, L), with or without N.

    `weight` (in_channels, out_channels / groups, *kernel_size) and `bias` (out_channels,) start uniform in
    [-1/sqrt(k), 1/sqrt(k)], k being a row of the weight.
    """

    ndim = 1


class ConvTranspose2d(_ConvTranspose):
    """`functional.conv_transpose2d` of (N, C, H, W), with or without N; parameters are those of `ConvTranspose1d`."""

    ndim = 2


class ConvTranspose3d(_ConvTranspose):
    """`functional.conv_transpose3d` of (N, C, D, H, W), with or without N; parameters are those of
    `ConvTranspose1d`."""

    ndim = 3
