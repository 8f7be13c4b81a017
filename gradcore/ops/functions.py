"""Elementwise functions. Integers are computed in the default floating point type."""

from __future__ import annotations

from ..expr import Scalar, call
from .elementwise import elementwise
from .precision import CUDA_FLOAT32


@elementwise(promote="float", precision=CUDA_FLOAT32)
def exp(input: Scalar) -> Scalar:
    """The exponential."""
    return call("exp", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def expm1(input: Scalar) -> Scalar:
    """`exp(input) - 1`, accurate near 0."""
    return call("expm1", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def log(input: Scalar) -> Scalar:
    """The natural logarithm."""
    return call("log", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def log1p(input: Scalar) -> Scalar:
    """`log(1 + input)`, accurate near 0."""
    return call("log1p", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def log2(input: Scalar) -> Scalar:
    """The logarithm to base 2."""
    return call("log2", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def log10(input: Scalar) -> Scalar:
    """The logarithm to base 10."""
    return call("log10", input)


@elementwise(promote="float")
def sqrt(input: Scalar) -> Scalar:
    """The square root; its derivative at 0 is infinite."""
    return call("sqrt", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
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


@elementwise(promote="float", precision=CUDA_FLOAT32)
def tan(input: Scalar) -> Scalar:
    """The tangent of an angle in radians."""
    return call("tan", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def asin(input: Scalar) -> Scalar:
    """The angle in radians, in [-pi/2, pi/2], whose sine is `input`."""
    return call("asin", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def acos(input: Scalar) -> Scalar:
    """The angle in radians, in [0, pi], whose cosine is `input`."""
    return call("acos", input)


@elementwise(promote="float")
def atan(input: Scalar) -> Scalar:
    """The angle in radians, in [-pi/2, pi/2], whose tangent is `input`."""
    return call("atan", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
def sinh(input: Scalar) -> Scalar:
    """The hyperbolic sine."""
    return call("sinh", input)


@elementwise(promote="float", precision=CUDA_FLOAT32)
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
