"""Batch norm and group norm (instance norm: a group for each channel), forward and backward in two passes each.

Statistics of x (images, groups, channels of a group, elements) are taken over a group's channels and elements and, by
batch norm, over the images, too. With `h = (x - mean) rstd` and `m()` the mean over what a statistic is taken of:

    y = h w + b        dx = rstd (g - m(g) - h m(g h)) with g = dy w        dw = sum(dy h)        db = sum(dy)

The sums of dy and dy h over each channel (of each image, for group norm) give dw, db and, weighted, both means.
(S. Ioffe and C. Szegedy, ICML 2015; Y. Wu and K. He, ECCV 2018.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from ..backends.cpp.types import wide
from ..expr import Program, trace
from .arithmetic import add, mul, sub
from .convert import to_copy
from .core import array_of, array_op, one_backend, whole
from .functions import rsqrt
from .norms import check_mixed, widened
from .reductions import mean as mean_op
from .shape import each_batched, reshape, transpose

Shape = tuple[int, ...]

_BOTH = trace(lambda level, slope: (level, slope))
_WEIGHTED = trace(lambda level, slope, weight: (level * weight, slope * weight))


@cache
def _input(weighted: bool, inside: bool) -> Program:
    """The gradient of the input, with a weight `inside` the means (of a group's channels) or in front of all."""

    def expression(g: Any, x: Any, mean: Any, rstd: Any, level: Any, slope: Any, n: Any, *weight: Any) -> Any:
        g = g * weight[0] if weighted and inside else g
        # What is the same for a channel is put together first: where that is smaller it is computed once.
        scale = rstd * weight[0] if weighted and not inside else rstd
        return (g - level / n - (x - mean) * (rstd * slope / n)) * scale

    return trace(expression, ["g", "x", "mean", "rstd", "level", "slope", "n"] + ["weight"] * weighted)


@cache
def _normal(weighted: bool, biased: bool) -> Program:
    names = ["x", "mean", "rstd"] + ["weight"] * weighted + ["bias"] * biased

    def expression(x: Any, mean: Any, rstd: Any, *parameters: Any) -> Any:
        out = (x - mean) * (rstd * parameters[0] if weighted else rstd)
        return out + parameters[-1] if biased else out

    return trace(expression, names)


class _Layout:
    """An input (images, channels, ...) as the kernels see it, and where statistics and parameters lie beside it."""

    def __init__(self, shape: Shape, groups: int | None):
        images, channels = shape[:2]
        self.batch = groups is None  # statistics are taken over the images, too
        self.groups = channels if groups is None else groups
        self.images, self.channels, self.elements = images, channels, prod(shape[2:])
        self.each = channels // self.groups if self.groups else 0
        self.shape = (images, self.groups, self.each, self.elements)
        self.count = self.each * self.elements * (images if self.batch else 1)
        # One statistic for each channel of this (outer, channels, inner), and in the full shape.
        statistics = self.groups if self.batch else images * self.groups
        self.moments = (
            images if self.batch else 1,
            statistics,
            self.count // images if self.batch and images else self.count,
        )
        self.statistic = (1 if self.batch else images, self.groups, 1, 1)
        self.parameter = (1, self.groups, self.each, 1)
        # The same for the sums over each channel: (outer, statistics, channels of each, inner).
        self.summed = (images if self.batch else 1, statistics, self.each, self.elements)


def _check(op: str, input: Array, weight: Array | None, bias: Array | None) -> Any:
    if not dtypes.from_numpy(input.dtype).is_floating_point:
        kernel = "batch_norm" if op == "batch_norm" else "GroupNormKernelImpl"
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{dtypes.type_name(input.dtype)}': convert the input first, as in "
            "input.float()"
        )
    check_mixed(input, (weight, bias))
    return one_backend(op, (input, weight, bias), ("input", "weight", "bias"))


@array_op(public=False)
def channel_moments(input: Array, groups: int | None, eps: float) -> tuple[Array, Array, Array]:
    """The mean, the (biased) variance and `(variance + eps) ** -0.5` of each group of each image or, if `groups` is
    None, of each channel.

    They are in the dtype computed in, and take no part in derivatives: those of the norms go through the input.
    """
    backend, layout, work = backend_of(input), _Layout(input.shape, groups), wide(input.dtype)
    if input.size:
        return backend.channel_moments(whole(input).reshape(layout.moments), eps)
    mean, variance, rstd = (backend.full((layout.moments[1],), n, work) for n in (0, 0 if groups is None else 1, 1))
    return mean, variance, rstd


channel_moments.derivative(input=lambda gs: None)


@channel_moments.batching
def _channel_moments_batch(input: Any, input_shape: Shape, groups: int | None, eps: float, size: int) -> Any:
    found = channel_moments(_merged(input, groups is None), groups=groups, eps=eps)
    return tuple([reshape(x, shape=(size, x.shape[0] // size)) for x in found])


def _every(
    at: Sequence[int], inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int
) -> list[Any]:
    """Some of the inputs, each with the batch in front."""
    return each_batched([inputs[i] for i in at], [shapes[i] for i in at], [batched[i] for i in at], size)


def _merged(x: Any, channels: bool) -> Any:
    """The members' channels as channels of one, or their images as images of one."""
    if channels:
        x = transpose(x, dim0=0, dim1=1)
        return reshape(x, shape=(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]))
    return reshape(x, shape=(x.shape[0] * x.shape[1], *x.shape[2:]))


def _name(node: Any) -> str:
    return f"Native{'Batch' if node.attrs['groups'] is None else 'Group'}NormBackward0"


@array_op(public=False, grad_name=_name)
def channel_norm(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    groups: int | None,
    eps: float,
) -> Array:
    """`(x - mean) / sqrt(variance + eps) * weight + bias`, over a group's channels and the further dimensions or, if
    `groups` is None, over all dimensions but the second.

    `mean` and `rstd` are what `channel_moments` gives for the input.
    """
    backend = _check("batch_norm" if groups is None else "group_norm", input, weight, bias)
    layout, x = _Layout(input.shape, groups), whole(input)
    parameters = [p.reshape(layout.parameter) for p in (weight, bias) if p is not None]
    statistics = [s.reshape(layout.statistic) for s in (mean, rstd)]
    program = _normal(weight is not None, bias is not None)
    operands = (x.reshape(layout.shape), *statistics, *parameters)
    (out,) = backend.elementwise(program, operands, mean.dtype, (x.dtype,), layout.shape)
    return out.reshape(input.shape)


@channel_norm.batching
def _channel_norm_batch(
    inputs: Sequence[Any],
    shapes: Sequence[Any],
    batched: Sequence[bool],
    size: int,
    groups: int | None,
    eps: float,
) -> Any:
    over_images = groups is None
    if not over_images and (batched[1] or batched[2]):
        return NotImplemented
    each = [i for i in range(1 if over_images else 3, 5) if inputs[i] is not None]
    x, *others = _every((0, *each), inputs, shapes, batched, size)
    given = [_merged(x, over_images), *inputs[1:]]
    for i, other in zip(each, others):
        given[i] = reshape(other, shape=(size * other.shape[1],))
    out = channel_norm(*given, groups=groups, eps=eps)
    images, *sizes = shapes[0]
    if over_images:
        return transpose(reshape(out, shape=(images, size, *sizes)), dim0=0, dim1=1)
    return reshape(out, shape=(size, images, *sizes))


@channel_norm.joint_derivative
def _rule(
    g: Array,
    input: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    groups: int | None,
    needs: tuple[bool, ...],
) -> tuple[Array | None, ...]:
    # On arrays only: a higher derivative is taken of the composite below.
    backend, layout, work = backend_of(g), _Layout(input.shape, groups), wide(input.dtype)
    kept = input.dtype if weight is None else weight.dtype
    if not input.size:
        dw, db = (backend.full((layout.channels,), 0, kept) if need else None for need in needs[1:3])
        return backend.full(input.shape, 0, input.dtype) if needs[0] else None, dw, db, None, None
    g, x = whole(g), whole(input)
    level, slope = backend.channel_sums(g.reshape(layout.summed), x.reshape(layout.summed), mean, rstd)
    found: list[Array | None] = [None] * 5
    if needs[1] or needs[2]:
        parts = [a.reshape(-1, layout.channels) for a in (level, slope)]
        if parts[0].shape[0] > 1 or kept != work:
            db, dw = backend.sums(_BOTH, parts, work, kept, parts[0].shape, (0,))
        else:
            db, dw = (a.reshape(-1) for a in parts)
        found[1:3] = (dw if needs[1] else None, db if needs[2] else None)
    if needs[0]:
        # The weight of a statistic's only channel is a factor of all.
        inside = layout.each > 1
        if inside:
            parts = [a.reshape(*layout.statistic[:2], layout.each) for a in (level, slope)]
            given = parts if weight is None else [*parts, weight.reshape(layout.parameter[1:3])]
            level, slope = backend.sums(_BOTH if weight is None else _WEIGHTED, given, work, work, parts[0].shape, (2,))
        statistics = [a.reshape(layout.statistic) for a in (mean, rstd, level, slope)]
        given = [g.reshape(layout.shape), x.reshape(layout.shape), *statistics, layout.count]
        if weight is not None:
            given.append(weight.reshape(layout.parameter))
        (dx,) = backend.elementwise(_input(weight is not None, inside), given, work, (x.dtype,), layout.shape)
        found[0] = dx.reshape(input.shape)
    return tuple(found)


@channel_norm.composite_of
def _composite(input: Any, weight: Any, mean: Any, rstd: Any, groups: int | None, eps: float, bias: Any = None) -> Any:
    layout = _Layout(tuple(input.shape), groups)
    x = reshape(widened(input), shape=layout.shape)
    dims = (0, 2, 3) if groups is None else (2, 3)
    c = sub(x, mean_op(x, dim=dims, keepdim=True))
    out = mul(c, rsqrt(add(mean_op(mul(c, c), dim=dims, keepdim=True), eps)))
    out = out if weight is None else mul(out, reshape(weight, shape=layout.parameter))
    out = out if bias is None else add(out, reshape(bias, shape=layout.parameter))
    dtype = array_of(input).dtype
    out = out if array_of(out).dtype == dtype else to_copy(out, dtype=dtypes.from_numpy(dtype))
    return reshape(out, shape=tuple(input.shape))
