"""Convolutions and transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.tape import apply
from ...backends import Sliding
from ...ops import convolution as ops
from ...ops.precision import LOWER
from ...tensor.tensor import Tensor
from .families import documented

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

Sizes = int | Sequence[int]


def _expanded(name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """A parameter for each of the dimensions, given one for all or one for each."""
    given = (value,) if isinstance(value, int) else tuple(value)
    if len(given) not in (1, ndim):
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {ndim} values to match the convolution "
            f"dimensions, but got {name}={list(given)}"
        )
    return given * ndim if len(given) == 1 else given


def _batched(op: str, input: Tensor, ndim: int) -> bool:
    if input.ndim not in (ndim + 1, ndim + 2):
        raise RuntimeError(
            f"Expected {ndim + 1}D (unbatched) or {ndim + 2}D (batched) input to {op}, but got input of size: "
            f"{list(input.shape)}"
        )
    return input.ndim == ndim + 2


def _check(input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, transposed: bool) -> None:
    shape, sizes = list(input.shape), list(weight.shape)
    if len(sizes) != len(shape):
        raise RuntimeError(
            f"Expected {len(sizes)}-dimensional input for {len(sizes)}-dimensional weight {sizes}, but got "
            f"{len(shape)}-dimensional input of size {shape} instead"
        )
    if sizes[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{sizes} instead"
        )
    if sizes[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{sizes}] instead"
        )
    expected = sizes[0] if transposed else sizes[1] * groups
    if shape[1] != expected:
        raise RuntimeError(
            f"Given {f'transposed={int(transposed)}' if transposed else f'groups={groups}'}, weight of size {sizes}, "
            f"expected input{shape} to have {expected} channels, but got {shape[1]} channels instead"
        )
    channels = sizes[1] * groups if transposed else sizes[0]
    if bias is not None and list(bias.shape) != [channels]:
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}weight of size {sizes}, expected bias to be 1-dimensional "
            f"with {channels} elements, but got bias of size {list(bias.shape)} instead"
        )


def _check_dtypes(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"Input type ({input.type()}) and weight type ({weight.type()}) should be the same: convert one, as in "
            "weight.to(input.dtype)"
        )
    if bias is not None and bias.dtype is not input.dtype:
        one, other = (dtypes.type_name(t._array.dtype).lower() for t in (input, bias))
        raise RuntimeError(f"Input type ({one}) and bias type ({other}) should be the same")


def _sliding(ndim: int, weight: Tensor, groups: int, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sliding:
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if weight.ndim < 3:
        raise RuntimeError("weight should have at least three dimensions")
    dims = weight.ndim - 2
    sliding = Sliding(
        tuple(weight.shape[2:]),
        _expanded("stride", stride, dims),
        _expanded("padding", padding, dims),
        _expanded("dilation", dilation, dims),
    )
    if min(sliding.padding) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(sliding.stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(sliding.dilation) <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(sliding.dilation)}")
    return sliding


def _x(sizes: Sequence[int]) -> str:
    return f"({' x '.join(map(str, sizes))})"


@with_precision(LOWER)
def _convolution(
    op: str,
    ndim: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: str | Sizes,
    dilation: Sizes,
    groups: int,
) -> Any:
    batched = _batched(op, input, ndim)
    x: Any = input if batched else input.unsqueeze(0)
    extents = None
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        sliding = _sliding(ndim, weight, groups, stride, 0, dilation)
        if padding == "same":
            if any(s != 1 for s in sliding.stride):
                raise RuntimeError("padding='same' is not supported for strided convolutions")
            # What cannot be shared out evenly goes to the end: the output is as large as the input.
            before = tuple(d * (k - 1) // 2 for k, d in zip(sliding.kernel, sliding.dilation))
            sliding = Sliding(sliding.kernel, sliding.stride, before, sliding.dilation)
            extents = tuple(x.shape[2:])
    else:
        sliding = _sliding(ndim, weight, groups, stride, padding, dilation)
    _check(x, weight, bias, groups, False)
    _check_dtypes(x, weight, bias)
    if extents is None:
        extents = _extents(x, sliding)
    attrs = {"sliding": sliding, "size": extents, "groups": groups}
    out = apply(ops.convolution, (x, weight, bias), attrs)
    return out if batched else out.squeeze(0)


def _extents(x: Tensor, sliding: Sliding) -> tuple[int, ...]:
    """The spatial sizes of a convolution's result."""
    padded = [n + 2 * p for n, p in zip(x.shape[2:], sliding.padding)]
    reach = [d * (k - 1) + 1 for k, d in zip(sliding.kernel, sliding.dilation)]
    if any(n < r for n, r in zip(padded, reach)):
        raise RuntimeError(
            f"Calculated padded input size per channel: {_x(padded)}. Kernel size: {_x(reach)}. Kernel size can't be "
            "greater than actual input size"
        )
    return tuple((n - r) // s + 1 for n, r, s in zip(padded, reach, sliding.stride))


@with_precision(LOWER)
def _transposed(
    op: str,
    ndim: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Any:
    if isinstance(padding, str):
        raise TypeError(f"{op}(): argument 'padding' must be tuple of ints, not str")
    batched = _batched(op, input, ndim)
    x: Any = input if batched else input.unsqueeze(0)
    sliding = _sliding(ndim, weight, groups, stride, padding, dilation)
    more = _expanded("output_padding", output_padding, ndim)
    if min(more) < 0:
        raise RuntimeError("negative output_padding is not supported")
    _check(x, weight, bias, groups, True)
    _check_dtypes(x, weight, bias)
    for extra, s, d in zip(more, sliding.stride, sliding.dilation):
        if extra >= s and extra >= d:
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got output_padding: "
                f"{list(more)}, stride: {list(sliding.stride)}, dilation: {list(sliding.dilation)}"
            )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, k, s, p, d, extra in zip(
            x.shape[2:], sliding.kernel, sliding.stride, sliding.padding, sliding.dilation, more
        )
    )
    if min(size) < 1:
        raise RuntimeError(
            f"Given input size per channel: {_x(x.shape[2:])}. Calculated output size per channel: {_x(size)}. Output "
            "size is too small"
        )
    out = apply(ops.transposed, (x, weight, bias), {"sliding": sliding, "size": size, "groups": groups})
    return out if batched else out.squeeze(0)


_CONVOLUTION = """The cross-correlation of `input` with `weight`, and `bias`, over {ndim} spatial dimension{s}.

Args:
    input: (N, C, {space}) or (C, {space}).
    weight: (O, C / groups, {kernel}), in the input's dtype, and bias (O,).
    stride, padding, dilation: an int, or one for each dimension. `padding` is what is added, as zeros, on both sides;
        "valid" means 0, "same" what keeps the input's size (with a stride of 1).
    groups: the channels, of the input and of the result, are divided into as many groups, each with its own weight.

Returns:
    (N, O, ...) or (O, ...), each size `(n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1`.

Raises:
    RuntimeError: shapes, dtypes or options do not fit.
"""

_TRANSPOSED = """The transpose of `conv{ndim}d`: what it does to gradients, as a layer of its own (Zeiler et al., 2010).

Args:
    input: (N, C, {space}) or (C, {space}).
    weight: (C, O / groups, {kernel}), in the input's dtype, and bias (O,).
    stride, padding, dilation, groups: those of the convolution that it is the transpose of.
    output_padding: how much larger than the least possible the result is, below stride or dilation.

Returns:
    (N, O, ...) or (O, ...), each size
    `(n - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1`.

Raises:
    RuntimeError: shapes, dtypes or options do not fit.
"""


@documented(_CONVOLUTION, 1)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@documented(_CONVOLUTION, 2)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@documented(_CONVOLUTION, 3)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    return _convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@documented(_TRANSPOSED, 1)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    args = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose1d", 1, *args)


@documented(_TRANSPOSED, 2)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    args = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose2d", 2, *args)


@documented(_TRANSPOSED, 3)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    args = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose3d", 3, *args)
