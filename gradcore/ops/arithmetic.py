"""Arithmetic, comparison and logic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import is_array
from ..expr import Scalar, call
from .core import Attrs
from .elementwise import Elementwise, elementwise
from .precision import CUDA_FLOAT32, CUDA_QUOTIENT, CUDA_WIDEST

_EXPONENTS = (1, 2, 3, 0.5, -0.5, -1.0, -2.0)


@elementwise(static={"alpha": (1,)})
def add(input: Scalar, other: Scalar, *, alpha: float = 1) -> Scalar:
    """`input + alpha * other`, elementwise with broadcasting and type promotion."""
    return input + alpha * other


@elementwise(
    static={"alpha": (1,)},
    bool_error="Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
    "mask, use the `~` or `logical_not()` operator instead; of two masks, the `^` or `logical_xor()` operator.",
)
def sub(input: Scalar, other: Scalar, *, alpha: float = 1) -> Scalar:
    """`input - alpha * other`, elementwise with broadcasting and type promotion."""
    return input - alpha * other


@elementwise
def mul(input: Scalar, other: Scalar) -> Scalar:
    """`input * other`, elementwise with broadcasting and type promotion."""
    return input * other


@elementwise(promote="float", inplace=False, precision=CUDA_QUOTIENT)
def div(input: Scalar, other: Scalar) -> Scalar:
    """`input / other`, elementwise; integers give the default floating point type."""
    return input / other


@elementwise(promote="number")
def floor_divide(input: Scalar, other: Scalar) -> Scalar:
    """`input / other` rounded down, elementwise."""
    return input // other


@elementwise(promote="number")
def remainder(input: Scalar, other: Scalar) -> Scalar:
    """Python's `input % other`: the result has the sign of the divisor."""
    return input % other


class Power(Elementwise):
    """Refuses what has no integer for a result, on every device."""

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        base, exponent = inputs
        if exponent.__class__ is int and exponent < 0 and is_array(base) and base.dtype.kind in "biu":
            raise RuntimeError(
                "pow(): Integers to negative integer powers are not allowed. Convert the base: x.float()"
            )
        return super().run(inputs, attrs)


@elementwise(promote="number", static={"exponent": _EXPONENTS}, kind=Power, precision=CUDA_FLOAT32)
def pow(input: Scalar, exponent: Scalar) -> Scalar:
    """`input ** exponent`, elementwise."""
    return call("pow", input, exponent)


@elementwise(
    bool_error="Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
    "the `~` or `logical_not()` operator instead."
)
def neg(input: Scalar) -> Scalar:
    """`-input`."""
    return -input


@elementwise(promote="number")
def abs(input: Scalar) -> Scalar:
    """The absolute value; its derivative at 0 is 0."""
    return call("abs", input)


@elementwise
def sign(input: Scalar) -> Scalar:
    """-1, 0 or 1; of a bool the bool itself."""
    return call("sign", input)


@elementwise(promote="whole", grad_name="PowBackward0", precision=CUDA_FLOAT32)
def square(input: Scalar) -> Scalar:
    """`input * input`; of bools as int64."""
    return input * input


@elementwise(promote="float", precision=CUDA_FLOAT32)
def reciprocal(input: Scalar) -> Scalar:
    """`1 / input`."""
    return 1 / input


@elementwise(promote="number")
def floor(input: Scalar) -> Scalar:
    """The largest integer not above `input`; its derivative is 0."""
    return call("floor", input)


@elementwise(promote="number")
def ceil(input: Scalar) -> Scalar:
    """The smallest integer not below `input`; its derivative is 0."""
    return call("ceil", input)


@elementwise(promote="number")
def round(input: Scalar) -> Scalar:
    """The nearest integer, halves to even; its derivative is 0."""
    return call("round", input)


@elementwise(promote="number")
def trunc(input: Scalar) -> Scalar:
    """`input` without its fraction; its derivative is 0."""
    return call("trunc", input)


@elementwise(inplace=False, tensors=("input", "other"))
def maximum(input: Scalar, other: Scalar) -> Scalar:
    """The larger of the two, NaN if either is NaN; a tie splits the gradient evenly."""
    return call("maximum", input, other)


@elementwise(inplace=False, tensors=("input", "other"))
def minimum(input: Scalar, other: Scalar) -> Scalar:
    """The smaller of the two, NaN if either is NaN; a tie splits the gradient evenly."""
    return call("minimum", input, other)


def _clamp_rule(g: Scalar, input: Scalar, min: Scalar | None, max: Scalar | None) -> tuple[Scalar | None, ...]:
    # Inside is what compares so: NaN gets no gradient.
    if min is None:
        assert max is not None
        return call("where", input <= max, g, 0), None, call("where", input > max, g, 0)
    if max is None:
        return call("where", input >= min, g, 0), call("where", input < min, g, 0), None
    return (
        call("where", call("logical_and", input >= min, input <= max), g, 0),
        call("where", call("logical_and", min < max, input < min), g, 0),
        call("where", call("logical_or", max < min, input > max), g, 0),
    )


@elementwise(grad_name="ClampBackward1", derivative=_clamp_rule)
def clamp(input: Scalar, min: Scalar | None = None, max: Scalar | None = None) -> Scalar:
    """`input` limited to [min, max]; either bound may be None, a number or a tensor. The bounds count as inside."""
    if min is None and max is None:
        raise RuntimeError("clamp(): At least one of 'min' or 'max' must not be None")
    result = input if min is None else call("maximum", input, min)
    return result if max is None else call("minimum", result, max)


@elementwise(promote="floating", static={"value": (1,)}, precision=CUDA_WIDEST)
def addcdiv(input: Scalar, tensor1: Scalar, tensor2: Scalar, *, value: float = 1) -> Scalar:
    """`input + value * tensor1 / tensor2`, elementwise with broadcasting."""
    return input + value * (tensor1 / tensor2)


@elementwise(promote="number", static={"value": (1,)}, precision=CUDA_WIDEST)
def addcmul(input: Scalar, tensor1: Scalar, tensor2: Scalar, *, value: float = 1) -> Scalar:
    """`input + value * tensor1 * tensor2`, elementwise with broadcasting and type promotion."""
    return input + value * (tensor1 * tensor2)


class _OfOneDtype(Elementwise):
    """Refuses tensors of several dtypes instead of promoting them."""

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        first = inputs[0]
        for name, value in zip(self.inputs, inputs):
            if is_array(value) and is_array(first) and value.dtype != first.dtype:
                expected, found = dtypes.from_numpy(first.dtype), dtypes.from_numpy(value.dtype)
                raise RuntimeError(
                    f"{self.name}(): expected dtype {expected.name} for `{name}` but got dtype {found.name}; convert "
                    f"it, as in {name}.to({self.inputs[0]}.dtype)"
                )
        return super().run(inputs, attrs)


@elementwise(
    promote="floating",
    kind=_OfOneDtype,
    grad_name="LerpBackward0",
    tensors=("input", "end"),
    derivative=lambda g, input, end, weight: (g * (1 - weight), g * weight, g * (end - input)),
)
def lerp(input: Scalar, end: Scalar, weight: Scalar) -> Scalar:
    """`input + weight * (end - input)`: `input` where `weight`, a tensor or a number, is 0, and `end` where it is 1."""
    difference = end - input
    near = call("lt", call("abs", weight), 0.5)  # from the nearer end, so that both ends are exact
    return call("where", near, input + weight * difference, end - difference * (1 - weight))


def _bounded(g: Scalar, inside: Scalar) -> tuple[Scalar, Scalar]:
    return call("where", inside, g, 0), call("where", inside, 0, g)


@elementwise(tensors=("input",), derivative=lambda g, input, min: _bounded(g, input >= min))
def clamp_min(input: Scalar, min: Scalar) -> Scalar:
    """The larger of `input` and `min`, a tensor or a number; where they are equal, `input` gets the gradient."""
    return call("maximum", input, min)


@elementwise(tensors=("input",), derivative=lambda g, input, max: _bounded(g, input <= max))
def clamp_max(input: Scalar, max: Scalar) -> Scalar:
    """The smaller of `input` and `max`, a tensor or a number; where they are equal, `input` gets the gradient."""
    return call("minimum", input, max)


@elementwise(name="finite", grad_name="NanToNumBackward0", promote="floating", method=False)
def finite(input: Scalar, *, nan: float, posinf: float, neginf: float) -> Scalar:
    """`input` with these numbers in the place of NaN and the infinities, where the derivative is 0."""
    rest = call("where", call("eq", input, -math.inf), neginf, input)
    rest = call("where", call("eq", input, math.inf), posinf, rest)
    return call("where", call("isnan", input), nan, rest)


@elementwise(method=False)
def where(condition: Scalar, input: Scalar, other: Scalar) -> Scalar:
    """`input` where the bool tensor `condition` holds, else `other`; all three broadcast."""
    return call("where", condition, input, other)


def _comparison(name: str, symbol: str) -> Elementwise:
    def compare(input: Scalar, other: Scalar) -> Scalar:
        return call(name, input, other)

    compare.__doc__ = f"`input {symbol} other`, elementwise: a bool tensor."
    op: Elementwise = elementwise(compare, name=name, tensors=("input",))
    return op


eq = _comparison("eq", "==")
ne = _comparison("ne", "!=")
lt = _comparison("lt", "<")
le = _comparison("le", "<=")
gt = _comparison("gt", ">")
ge = _comparison("ge", ">=")


@elementwise(inplace=False)
def isnan(input: Scalar) -> Scalar:
    """Whether each element is NaN."""
    return call("isnan", input)


@elementwise(inplace=False)
def isinf(input: Scalar) -> Scalar:
    """Whether each element is positive or negative infinity."""
    return call("isinf", input)


@elementwise(inplace=False)
def isfinite(input: Scalar) -> Scalar:
    """Whether each element is neither infinite nor NaN."""
    return call("isfinite", input)


@elementwise(tensors=("input", "other"))
def logical_and(input: Scalar, other: Scalar) -> Scalar:
    """Whether both are nonzero."""
    return call("logical_and", input, other)


@elementwise(tensors=("input", "other"))
def logical_or(input: Scalar, other: Scalar) -> Scalar:
    """Whether either is nonzero."""
    return call("logical_or", input, other)


@elementwise(tensors=("input", "other"))
def logical_xor(input: Scalar, other: Scalar) -> Scalar:
    """Whether exactly one is nonzero."""
    return call("logical_xor", input, other)


@elementwise(tensors=("input",))
def logical_not(input: Scalar) -> Scalar:
    """Whether it is zero."""
    return call("logical_not", input)


@elementwise(promote="integral")
def bitwise_and(input: Scalar, other: Scalar) -> Scalar:
    """Bitwise and of integers, logical and of bools."""
    return input & other


@elementwise(promote="integral")
def bitwise_or(input: Scalar, other: Scalar) -> Scalar:
    """Bitwise or of integers, logical or of bools."""
    return input | other


@elementwise(promote="integral")
def bitwise_xor(input: Scalar, other: Scalar) -> Scalar:
    """Bitwise exclusive or of integers, logical exclusive or of bools."""
    return input ^ other


@elementwise(promote="integral")
def bitwise_not(input: Scalar) -> Scalar:
    """Bitwise complement of integers, logical not of bools."""
    return ~input
