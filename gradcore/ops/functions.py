"""Elementwise functions and activations. Integers are computed in the default floating point type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backends import backend_of
from ..expr import Scalar, call
from .arithmetic import mul, ne, where
from .core import array_of
from .elementwise import elementwise


@elementwise(promote="float")
def exp(input: Scalar) -> Scalar:
    """The exponential."""
    return call("exp", input)


@elementwise(promote="float")
def expm1(input: Scalar) -> Scalar:
    """`exp(input) - 1`, accurate near 0."""
    return call("expm1", input)


@elementwise(promote="float")
def log(input: Scalar) -> Scalar:
    """The natural logarithm."""
    return call("log", input)


@elementwise(promote="float")
def log1p(input: Scalar) -> Scalar:
    """`log(1 + input)`, accurate near 0."""
    return call("log1p", input)


@elementwise(promote="float")
def log2(input: Scalar) -> Scalar:
    """The logarithm to base 2."""
    return call("log2", input)


@elementwise(promote="float")
def log10(input: Scalar) -> Scalar:
    """The logarithm to base 10."""
    return call("log10", input)


@elementwise(promote="float")
def sqrt(input: Scalar) -> Scalar:
    """The square root; its derivative at 0 is infinite."""
    return call("sqrt", input)


@elementwise(promote="float")
def rsqrt(input: Scalar) -> Scalar:
    """`1 / sqrt(input)`."""
    return call("rsqrt", input)


@elementwise(promote="float")
def sin(input: Scalar) -> Scalar:
    """The sine of an angle in radians."""
    return call("sin", input)


@elementwise(promote="float")
def cos(input: Scalar) -> Scalar:
    """The cosine of an angle in radians."""
    return call("cos", input)


@elementwise(promote="float")
def tan(input: Scalar) -> Scalar:
    """The tangent of an angle in radians."""
    return call("tan", input)


@elementwise(promote="float")
def asin(input: Scalar) -> Scalar:
    """The angle in radians, in [-pi/2, pi/2], whose sine is `input`."""
    return call("asin", input)


@elementwise(promote="float")
def acos(input: Scalar) -> Scalar:
    """The angle in radians, in [0, pi], whose cosine is `input`."""
    return call("acos", input)


@elementwise(promote="float")
def atan(input: Scalar) -> Scalar:
    """The angle in radians, in [-pi/2, pi/2], whose tangent is `input`."""
    return call("atan", input)


@elementwise(promote="float")
def sinh(input: Scalar) -> Scalar:
    """The hyperbolic sine."""
    return call("sinh", input)


@elementwise(promote="float")
def cosh(input: Scalar) -> Scalar:
    """The hyperbolic cosine."""
    return call("cosh", input)


@elementwise(promote="float")
def tanh(input: Scalar) -> Scalar:
    """The hyperbolic tangent."""
    return call("tanh", input)


@elementwise(promote="float")
def sigmoid(input: Scalar) -> Scalar:
    """The logistic function `1 / (1 + exp(-input))`."""
    return call("sigmoid", input)


@elementwise(promote="float")
def erf(input: Scalar) -> Scalar:
    """The error function `2 / sqrt(pi) * integral from 0 to input of exp(-t**2)`."""
    return call("erf", input)


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


@elementwise(promote="floating", method=False, derivative=_softplus_rule, static={"beta": (1,), "threshold": (20,)})
def softplus(input: Scalar, *, beta: float = 1.0, threshold: float = 20.0) -> Scalar:
    """`log(1 + exp(beta * input)) / beta`, and `input` itself where `beta * input` is over `threshold`."""
    return call("where", input * beta > threshold, input, call("log1p", call("exp", input * beta)) / beta)


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
