"""Activations and dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from ..expr import Scalar, call, trace
from .arithmetic import mul, ne, where
from .core import array_of, array_op
from .dims import wrap_dim
from .elementwise import elementwise
from .indexing import select_view
from .precision import CUDA_FLOAT32
from .shape import reshape


@elementwise(promote="number", derivative=lambda g, result: call("where", result <= 0, 0, g))
def relu(input: Scalar) -> Scalar:
    """`max(input, 0)`; NaN stays NaN, the derivative at 0 is 0."""
    return call("maximum", input, 0)


def _gelu_rule(g: Scalar, input: Scalar, approximate: str) -> Any:
    x = input
    if approximate == "tanh":
        t = call("tanh", _inner(x))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (_GELU_SCALE * (1 + 3 * _GELU_CUBE * x * x)))
    density = call("exp", x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return g * (call("erf", x * math.sqrt(0.5)) * 0.5 + 0.5 + x * density)


_GELU_SCALE, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def _inner(x: Scalar) -> Scalar:
    return _GELU_SCALE * (x + _GELU_CUBE * x * x * x)


@elementwise(promote="floating", method=False, static={"approximate": ("none", "tanh")}, derivative=_gelu_rule)
def gelu(input: Scalar, *, approximate: str = "none") -> Scalar:
    """`input` times the probability that a standard normal number is smaller (Hendrycks & Gimpel, 2016).

    `approximate="tanh"` is their approximation by a hyperbolic tangent.
    """
    if approximate not in gelu.static["approximate"]:
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
    if approximate == "tanh":
        return 0.5 * input * (1 + call("tanh", _inner(input)))
    return input * (call("erf", input * math.sqrt(0.5)) * 0.5 + 0.5)


def _silu_rule(g: Scalar, input: Scalar) -> Any:
    s = call("sigmoid", input)
    return g * (s * (1 + input * (1 - s)))


@elementwise(promote="floating", method=False, derivative=_silu_rule)
def silu(input: Scalar) -> Scalar:
    """`input * sigmoid(input)`, also called swish (Elfwing et al., Neural Networks 2018)."""
    return input * call("sigmoid", input)


def _softplus_rule(g: Scalar, input: Scalar, beta: Any, threshold: Any) -> Any:
    return g * call("where", input * beta > threshold, 1, call("sigmoid", input * beta))


@elementwise(
    promote="floating",
    method=False,
    derivative=_softplus_rule,
    static={"beta": (1,), "threshold": (20,)},
    precision=CUDA_FLOAT32,
)
def softplus(input: Scalar, *, beta: float = 1.0, threshold: float = 20.0) -> Scalar:
    """`log(1 + exp(beta * input)) / beta`, and `input` itself where `beta * input` is over `threshold`."""
    return call("where", input * beta > threshold, input, call("log1p", call("exp", input * beta)) / beta)


# ---------------------------------------------------------------- piecewise
def _hardtanh_rule(g: Scalar, input: Scalar, min_val: Any, max_val: Any) -> Any:
    outside = call("logical_or", call("le", input, min_val), call("ge", input, max_val))
    return call("where", outside, 0, g)


@elementwise(promote="number", method=False, derivative=_hardtanh_rule, static={"min_val": (-1, 0), "max_val": (1, 6)})
def hardtanh(input: Scalar, *, min_val: float = -1.0, max_val: float = 1.0) -> Scalar:
    """`input` limited to [min_val, max_val]; the derivative at the bounds is 0."""
    return call("minimum", call("maximum", input, min_val), max_val)


@elementwise(
    promote="floating",
    method=False,
    derivative=lambda g, input, negative_slope: call("where", input > 0, g, g * negative_slope),
    static={"negative_slope": (0.01,)},
)
def leaky_relu(input: Scalar, *, negative_slope: float = 0.01) -> Scalar:
    """`input` where it is positive, else `negative_slope * input` (Maas et al., ICML 2013)."""
    return call("where", input > 0, input, input * negative_slope)


def _elu_rule(g: Scalar, input: Scalar, alpha: Any, scale: Any, input_scale: Any) -> Any:
    negative = g * (alpha * scale * input_scale * call("exp", input * input_scale))
    return call("where", input <= 0, negative, g * scale)


@elementwise(
    promote="floating",
    method=False,
    grad_name="EluBackward0",
    derivative=_elu_rule,
    static={"alpha": (1.0,), "scale": (1,), "input_scale": (1,)},
)
def elu(input: Scalar, *, alpha: float = 1.0, scale: float = 1, input_scale: float = 1) -> Scalar:
    """`scale * input` where it is positive, else `scale * alpha * (exp(input_scale * input) - 1)`.

    With both scales 1 that is ELU (Clevert et al., ICLR 2016); SELU (Klambauer et al., NeurIPS 2017) has a scale, CELU
    (Barron, 2017) an input_scale.
    """
    negative = call("expm1", input * input_scale) * (alpha * scale)
    return call("where", input <= 0, negative, input * scale)


def _hardswish_rule(g: Scalar, input: Scalar) -> Any:
    middle = g * (input / 3 + 0.5)
    return call("where", input <= -3, 0, call("where", input < 3, middle, g))


@elementwise(promote="floating", method=False, derivative=_hardswish_rule)
def hardswish(input: Scalar) -> Scalar:
    """`input * relu6(input + 3) / 6` (Howard et al., ICCV 2019)."""
    return input * call("minimum", call("maximum", input + 3, 0), 6) / 6


@elementwise(
    promote="floating",
    method=False,
    derivative=lambda g, input: call("where", call("logical_and", input > -3, input < 3), g * (1 / 6), 0),
)
def hardsigmoid(input: Scalar) -> Scalar:
    """`relu6(input + 3) / 6`."""
    return call("minimum", call("maximum", input + 3, 0), 6) / 6


@elementwise(
    promote="number",
    method=False,
    derivative=lambda g, input, threshold: call("where", input <= threshold, 0, g),
)
def threshold(input: Scalar, *, threshold: float, value: float) -> Scalar:
    """`input` where it is above `threshold`, else `value`; NaN stays NaN."""
    return call("where", input <= threshold, value, input)


def _within(input: Scalar, lambd: Any) -> Scalar:
    return call("logical_and", input >= -lambd, input <= lambd)


def _shrink_rule(g: Scalar, input: Scalar, lambd: Any) -> Any:
    return call("where", _within(input, lambd), 0, g)


@elementwise(promote="floating", inplace=False, derivative=_shrink_rule, static={"lambd": (0.5,)})
def hardshrink(input: Scalar, *, lambd: float = 0.5) -> Scalar:
    """`input` outside [-lambd, lambd], else 0."""
    return call("where", _within(input, lambd), 0, input)


@elementwise(promote="floating", method=False, derivative=_shrink_rule, static={"lambd": (0.5,)})
def softshrink(input: Scalar, *, lambd: float = 0.5) -> Scalar:
    """`input` nearer to 0 by `lambd`, and 0 within [-lambd, lambd]; NaN stays NaN."""
    return call("where", input > lambd, input - lambd, call("where", input < -lambd, input + lambd, input * 0))


# ---------------------------------------------------------------- smooth
@elementwise(
    name="log_sigmoid",
    promote="floating",
    method=False,
    derivative=lambda g, input: g * call("sigmoid", -input),
)
def log_sigmoid(input: Scalar) -> Scalar:
    """`log(sigmoid(input))`, finite for every finite input."""
    return call("minimum", input, 0) - call("log1p", call("exp", -call("abs", input)))


def _mish_rule(g: Scalar, input: Scalar) -> Any:
    t, s = call("tanh", _softplus(input)), call("sigmoid", input)
    return g * (t + input * s * (1 - t * t))


def _softplus(x: Scalar) -> Scalar:
    return call("maximum", x, 0) + call("log1p", call("exp", -call("abs", x)))


@elementwise(promote="floating", method=False, derivative=_mish_rule)
def mish(input: Scalar) -> Scalar:
    """`input * tanh(log(1 + exp(input)))` (Misra, BMVC 2020)."""
    return input * call("tanh", _softplus(input))


@elementwise(promote="float", method=False, grad_name="DivBackward0")
def softsign(input: Scalar) -> Scalar:
    """`input / (1 + abs(input))`."""
    return input / (1 + call("abs", input))


# ---------------------------------------------------------------- with a second operand
@elementwise(
    promote="floating",
    method=False,
    grad_name="PreluKernelBackward0",
    derivative=lambda g, input, weight: (
        call("where", input > 0, g, weight * g),
        call("where", input > 0, 0, input * g),
    ),
)
def prelu_kernel(input: Scalar, weight: Scalar) -> Scalar:
    """`input` where it is positive, else `weight * input` (He et al., ICCV 2015)."""
    return call("where", input > 0, input, weight * input)


_GLU = trace(lambda a, b: a * call("sigmoid", b))


@elementwise(name="glu_halves_backward", promote="floating", method=False)
def glu_backward(g: Scalar, a: Scalar, b: Scalar, half: Scalar) -> Scalar:
    """The gradient of `a * sigmoid(b)`: by `a` where `half` is 0, by `b` where it is 1."""
    s = call("sigmoid", b)
    return call("where", call("eq", half, 0), g * s, g * a * (s * (1 - s)))


def _glu_shape(shape: Any, dim: int) -> tuple[int, int, int]:
    """The shape (outer, 2, inner) in which the halves of dimension `dim` lie beside each other."""
    return math.prod(shape[:dim]), 2, math.prod(shape[dim:]) // 2


@array_op(public=False, grad_name="GluBackward0")
def glu(input: Array, dim: int) -> Array:
    """`a * sigmoid(b)` of the halves of `input` along `dim` (Dauphin et al., ICML 2017)."""
    backend = backend_of(input)
    if not dtypes.from_numpy(input.dtype).is_floating_point:
        raise NotImplementedError(f"\"glu\" not implemented for '{dtypes.type_name(input.dtype)}': convert first")
    if not input.ndim:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    axis = wrap_dim(dim, input.ndim)
    size = input.shape[axis]
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    a, b = (input[(slice(None),) * axis + (half,)] for half in (slice(size // 2), slice(size // 2, None)))
    return backend.elementwise(_GLU, (a, b), input.dtype, (input.dtype,), a.shape)[0]


# One kernel writes both halves of the gradient, instead of two that are joined afterwards.
def _glu_rule(g: Any, input: Any, input_shape: Any, dim: int) -> Any:
    shape = _glu_shape(input_shape, wrap_dim(dim, len(input_shape)))
    halves = reshape(input, shape=shape)
    a, b = (select_view(halves, key=(slice(None), half)) for half in (slice(0, 1), slice(1, 2)))
    half = backend_of(array_of(input)).xp.arange(2).reshape(2, 1)
    return reshape(glu_backward(reshape(g, shape=(shape[0], 1, shape[2])), a, b, half), shape=input_shape)


@glu.batching
def _glu_batch(input: Any, input_shape: Any, dim: int) -> Any:
    return glu(input, dim=wrap_dim(dim, len(input_shape)) + 1)


glu.derivative(input=_glu_rule)


@elementwise(name="dropout_random", grad_name="DropoutBackward0", method=False)
def dropout(input: Scalar, *, p: float, seed: int, offset: int) -> Scalar:
    """Zero each element with probability `p` and scale the others by `1 / (1 - p)`.

    The random numbers are a function of (seed, offset, element): the backward pass draws them again instead of
    keeping a mask.
    """
    return call("where", call("uniform", seed, offset) < p, 0, input * (1 / (1 - p)))


@dropout.batching
def _dropout_batch(
    op: Any, inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], attrs: dict[str, Any]
) -> Any:
    # All members share the numbers, which are those of the elements of one: so does the backward pass, whose ops have
    # this rule, too, when it draws them again. (Members with numbers of their own are given a mask.)
    (x,) = [x for x, b in zip(inputs, batched) if b]
    array = array_of(x)
    ones = [backend_of(array).full(s, 1, array.dtype) if b else v for v, s, b in zip(inputs, shapes, batched)]
    scale = op(*ones, **attrs)
    return where(ne(scale, 0), mul(x, scale), 0)
