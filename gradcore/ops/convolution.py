"""Convolution, its transpose, and the gradient of its weight: three ops, whose derivatives are each other.

All three are linear in both arguments: sum(g * convolution(x, w)) = sum(x * transposed(g, w)) = sum(w * weight(g, x)).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ..backends import Array, Sliding, backend_of
from .arithmetic import add, mul
from .core import Op, array_op, one_backend, whole
from .reductions import sum as sum_op
from .shape import each_batched, reshape, transpose

Size = tuple[int, ...]


def _of_nothing(shape: Size, like: Array, bias: Array | None) -> Array:
    """What a sum over nothing gives: the bias."""
    backend = backend_of(like)
    if bias is None:
        return backend.full(shape, 0, like.dtype)
    return backend.copy(backend.broadcast(bias.reshape(-1, *(1,) * (len(shape) - 2)), shape))


@array_op(public=False, grad_name="ConvolutionBackward0")
def convolution(input: Array, weight: Array, bias: Array | None, sliding: Sliding, size: Size, groups: int) -> Array:
    """`weight` (channels out, channels in / groups, *kernel) slid over `input` (images, channels in, *spatial).

    The result is (images, channels out, *size).
    """
    backend = one_backend("convolution", (input, weight, bias), ("input", "weight", "bias"))
    shape = (input.shape[0], weight.shape[0], *size)
    if not (prod(shape) and input.size and weight.size):
        return _of_nothing(shape, input, bias)
    return backend.convolution(whole(input), weight, bias, sliding, size, groups)


@array_op(public=False, grad_name="ConvolutionBackward0")
def transposed(input: Array, weight: Array, bias: Array | None, sliding: Sliding, size: Size, groups: int) -> Array:
    """The transpose of `convolution`: from what would be its result to its input, (images, channels in, *size)."""
    backend = one_backend("convolution", (input, weight, bias), ("input", "weight", "bias"))
    shape = (input.shape[0], weight.shape[1] * groups, *size)
    if not (prod(shape) and input.size and weight.size):
        return _of_nothing(shape, input, bias)
    return backend.convolution_input(whole(input), weight, bias, sliding, size, groups)


@array_op(public=False, grad_name="ConvolutionBackward0", linear=["grad", "input"])
def weight_gradient(grad: Array, input: Array, sliding: Sliding, groups: int) -> Array:
    """The gradient of `convolution`'s weight from that of its result and its input."""
    shape = (grad.shape[1], input.shape[1] // groups, *sliding.kernel)
    if not (prod(shape) and grad.size and input.size):
        return _of_nothing(shape, input, None)
    return backend_of(input).convolution_weight(whole(grad), whole(input), sliding, groups)


def _by_channel(g: Any) -> Any:
    return sum_op(g, dim=(0, *range(2, g.ndim)))


convolution.derivative(
    input=lambda g, weight, input_shape, sliding, groups: transposed(
        g, weight, None, sliding=sliding, size=tuple(input_shape[2:]), groups=groups
    ),
    weight=lambda g, input, sliding, groups: weight_gradient(g, input, sliding=sliding, groups=groups),
    bias=_by_channel,
)
transposed.derivative(
    input=lambda g, weight, input_shape, sliding, groups: convolution(
        g, weight, None, sliding=sliding, size=tuple(input_shape[2:]), groups=groups
    ),
    weight=lambda g, input, sliding, groups: weight_gradient(input, g, sliding=sliding, groups=groups),
    bias=_by_channel,
)
weight_gradient.derivative(
    grad=lambda g, input, grad_shape, sliding, groups: convolution(
        input, g, None, sliding=sliding, size=tuple(grad_shape[2:]), groups=groups
    ),
    input=lambda g, grad, input_shape, sliding, groups: transposed(
        grad, g, None, sliding=sliding, size=tuple(input_shape[2:]), groups=groups
    ),
)


def _among_images(x: Any) -> Any:
    return reshape(x, shape=(x.shape[0] * x.shape[1], *x.shape[2:]))


def _among_channels(x: Any) -> Any:
    """(batch, images, channels, ...) as (images, batch * channels, ...)."""
    x = transpose(x, dim0=0, dim1=1)
    return reshape(x, shape=(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]))


def _batch(
    op: Op, inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, groups: int, attrs: Any
) -> Any:
    # Members that share weight and bias are more images; else they are more groups of channels.
    images = shapes[0][0]
    if not any(batched[1:]):
        out = op(_among_images(inputs[0]), *inputs[1:], **attrs)
        return reshape(out, shape=(size, images, *out.shape[1:]))
    count = 2 if inputs[2] is None else 3
    x, *parameters = each_batched(inputs[:count], shapes[:count], batched[:count], size)
    weight, *bias = map(_among_images, parameters)
    out = op(_among_channels(x), weight, *(bias or (None,)), **{**attrs, "groups": groups * size})
    out = reshape(out, shape=(images, size, out.shape[1] // size, *out.shape[2:]))
    return transpose(out, dim0=0, dim1=1)


convolution.batching(_batch)
transposed.batching(_batch)


@weight_gradient.batching
def _weight_gradient_batch(
    inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, sliding: Sliding, groups: int
) -> Any:
    grad, x = map(_among_channels, each_batched(inputs, shapes, batched, size))
    out = weight_gradient(grad, x, sliding=sliding, groups=groups * size)
    return reshape(out, shape=(size, out.shape[0] // size, *out.shape[1:]))


def _tangent(op: Op) -> Any:
    def rule(
        input: Any,
        weight: Any,
        input_tangent: Any,
        weight_tangent: Any,
        bias_tangent: Any,
        sliding: Sliding,
        size: Size,
        groups: int,
    ) -> Any:
        attrs = {"sliding": sliding, "size": size, "groups": groups}
        parts = []
        if input_tangent is not None or bias_tangent is not None:
            x = input_tangent if input_tangent is not None else mul(input, 0)
            parts.append(op(x, weight, bias_tangent, **attrs))
        if weight_tangent is not None:
            parts.append(op(input, weight_tangent, None, **attrs))
        return parts[0] if len(parts) == 1 else add(*parts)

    return rule


convolution.forward_derivative(_tangent(convolution))
transposed.forward_derivative(_tangent(transposed))
