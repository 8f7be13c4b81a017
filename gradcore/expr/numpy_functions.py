"""Scalar operators that NumPy lacks or spells differently; used by generated code as `fn`.

A function may take `out`, an array of the operands' common shape and none of them, for its result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def power(a: Any, b: Any) -> Any:
    """`a ** b`, through the ndarray operator, which has fast paths for small exponents."""
    try:
        return a**b
    except ValueError:  # integers to negative integer powers, which leave only the powers of 1 and -1
        if not isinstance(b, np.ndarray):
            raise
    return np.where(b < 0, np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0)), a ** np.maximum(b, 0))


def sign(x: Any, out: Any = None) -> Any:
    """-1, 0 or 1; 0 for NaN, as in PyTorch; a bool is its own sign."""
    if np.asarray(x).dtype.kind == "b":
        return np.logical_and(x, True, out=out)
    return np.subtract(np.greater(x, 0), np.less(x, 0), out=out, dtype=np.asarray(x).dtype)


# Elements from which floats are kept or made 0 by their bits.
_MANY = 1024
_INTEGERS = {size: np.dtype(f"i{size}") for size in (2, 4, 8)}


def where(condition: Any, a: Any, b: Any, out: Any = None) -> Any:
    """`np.where(condition, a, b)`.

    Floats are chosen by their bits: NumPy's loop branches, and takes three to ten times as long where no predictor
    guesses the condition.
    """
    if out is None:
        kept = b if _is_zero(a) else a
        if not (kept is b or _is_zero(b)) or not _pays(condition, kept):
            return np.where(condition, a, b)
        out = np.empty_like(kept)
    if isinstance(condition, (bool, int, float)):  # of numbers alone: the same for all elements
        np.copyto(out, a if condition else b, casting="unsafe")
        return out
    if condition.dtype != np.bool_:
        condition = np.not_equal(condition, 0)
    if out.dtype.kind != "f":
        np.copyto(out, b, casting="unsafe")
        np.copyto(out, a, casting="unsafe", where=condition)
        return out
    result = out.view(_INTEGERS[out.itemsize])
    if _is_zero(a):
        result[...] = condition
        result -= 1  # all bits where the condition fails
        result &= _bits(b, out.dtype)
    elif _is_zero(b):
        result[...] = condition
        np.negative(result, out=result)
        result &= _bits(a, out.dtype)
    else:
        mask = condition.astype(result.dtype)
        np.negative(mask, out=mask)
        b = _bits(b, out.dtype)
        np.bitwise_xor(_bits(a, out.dtype), b, out=result)
        result &= mask
        result ^= b
    return out


def _pays(condition: Any, kept: Any) -> bool:
    """Whether it is faster to keep or drop elements by their bits."""
    return (
        condition.__class__ is np.ndarray
        and kept.__class__ is np.ndarray
        and kept.size >= _MANY
        and kept.shape == condition.shape
        and kept.dtype.kind == "f"
    )


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0 and math.copysign(1, value) > 0


def _bits(value: Any, dtype: np.dtype) -> Any:
    return np.asarray(value, dtype).view(_INTEGERS[dtype.itemsize])


def erf(x: Any, out: Any = None) -> Any:
    """The error function, within 4 units in the last place of float32 and 3 of float64; 1 and -1 far out.

    float32: `tanh(x p(x^2))`, as E. Page approximated the normal distribution (Applied Statistics 26, 1977), with p of
    degree 6 fitted to atanh(erf(x)) / x on [0, 5] for the least relative error of erf (Lawson's reweighted least
    squares): 9.5e-8 before rounding. float64: S. L. Moshier's Cephes library (`ndtr.c`), a rational function up to 1,
    beyond it one times `exp(-x^2)`, which leaves 1 - erf(x).
    """
    if np.ndim(x) == 0:  # NumPy makes scalars of these, which nothing is written to
        return np.positive(erf(np.reshape(x, 1))[0], out=out)
    if x.dtype != np.float64:
        result = _polynomial(_ERF32, x * x)
        result *= x
        return np.tanh(result, out=result if out is None else out)
    size = np.minimum(np.abs(x), 6.0)  # where erf is 1
    square = size * size
    tail = np.exp(-square)
    tail *= _polynomial(_ERFC64[0], size)
    tail /= _polynomial(_ERFC64[1], size)
    np.copysign(np.subtract(1, tail, out=tail), x, out=tail)
    small = np.minimum(square, 1.0)
    center = x * _polynomial(_ERF64[0], small)
    center /= _polynomial(_ERF64[1], small)
    result = np.empty_like(x) if out is None else out
    where(size <= 1, center, tail, result)
    return result


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """The polynomial with these coefficients, that of the highest power first."""
    total = coefficients[0] * x
    for c in coefficients[1:-1]:
        total += c
        total *= x
    total += coefficients[-1]
    return total


_ERF32 = (
    1.4185190355004026e-07, -5.668470199148929e-06, 8.763729553985333e-05, -0.0006197845782312296,
    -0.00019183089067690098, 0.10276905582887791, 1.128379274302585,
)  # fmt: skip
_ERF64 = (
    (
        9.60497373987051638749, 9.00260197203842689217e1, 2.23200534594684319226e3, 7.00332514112805075473e3,
        5.55923013010394962768e4,
    ),
    (
        1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3, 2.26290000613890934246e4,
        4.92673942608635921086e4,
    ),
)  # fmt: skip
_ERFC64 = (
    (
        2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687, 4.86371970985681366614e1,
        1.96520832956077098242e2, 5.26445194995477358631e2, 9.34528527171957607540e2, 1.02755188689515710272e3,
        5.57535335369399327526e2,
    ),
    (
        1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2, 9.75708501743205489753e2,
        1.82390916687909736289e3, 2.24633760818710981792e3, 1.65666309194161350182e3, 5.57535340817727675546e2,
    ),
)  # fmt: skip


def uniform(seed: int, offset: int, place: Any, out: Any = None) -> Any:
    """Uniform float32 numbers in [0, 1) from counter-based Philox: the same arguments give the same numbers.

    `place` is the shape of the result, or, with `out`, which number is the first of those it is filled with.
    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    bits = np.random.Philox(key=seed & 0xFFFFFFFFFFFFFFFF, counter=[0, offset, 0, 0])
    generator = np.random.Generator(bits)
    if out is None:
        return generator.random(place, dtype=np.float32)
    bits.advance(place // 8)  # a step makes four 64-bit numbers
    generator.random(place % 8, dtype=np.float32)
    return generator.random(dtype=np.float32, out=out)


def item(value: Any) -> Any:
    """`value` as a Python number."""
    return value.item() if hasattr(value, "item") else value
