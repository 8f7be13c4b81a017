"""Random numbers from expressions over `uniform`: element i of (seed, offset) is the same on every GPU.

A draw that needs several numbers for an element takes them at `offset`, `offset + 2**62`, ...: offsets below 2**62 stay
apart.
"""

from __future__ import annotations

import math

import numpy as np

from ... import expr
from ...expr import Program, Scalar, trace
from ..base import Array
from ..cpp.types import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from .elementwise import Elementwise

_NEXT = 1 << 62


def _fine(seed: Scalar, high: Scalar, low: Scalar) -> Scalar:
    """A uniform number of 48 random bits: exact in float64."""
    return expr.uniform(seed, high) + expr.uniform(seed, low) * 2.0**-24


def _coarse(bits: int) -> Program:
    """Uniform numbers of so few bits that rounding to a 16-bit type never makes a 1 of them."""
    return trace(lambda seed, o: expr.floor(expr.uniform(seed, o) * float(2**bits)) * 2.0**-bits)


_UNIFORM = {
    FLOAT32: trace(lambda seed, o: expr.uniform(seed, o)),
    FLOAT16: _coarse(11),
    BFLOAT16: _coarse(8),
}
_UNIFORM_FINE = trace(_fine)
# G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates", 1958. 1 - u is never 0.
_NORMAL = trace(
    lambda seed, o, p: (
        expr.sqrt(expr.log(1 - expr.uniform(seed, o)) * -2.0) * expr.cos(expr.uniform(seed, p) * (2 * math.pi))
    )
)
_NORMAL_FINE = trace(
    lambda seed, o, p, q, r: (
        expr.sqrt(expr.log(1 - _fine(seed, o, p)) * -2.0) * expr.cos(_fine(seed, q, r) * (2 * math.pi))
    )
)
_INTEGERS = trace(lambda seed, o, p, low, span: low + expr.floor(_fine(seed, o, p) * span))


class Random:
    """Draws random arrays on one device."""

    def __init__(self, elementwise: Elementwise):
        self._elementwise = elementwise

    def _draw(
        self,
        program: Program,
        shape: tuple[int, ...],
        compute: np.dtype,
        dtype: np.dtype,
        seed: int,
        offset: int,
        *parameters: float,
    ) -> Array:
        offsets = [offset + i * _NEXT for i in range(len(program.inputs) - 1 - len(parameters))]
        return self._elementwise(program, [seed, *offsets, *parameters], compute, [dtype], shape)[0]

    def uniform(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        """See `Backend.uniform`."""
        if dtype == FLOAT64:
            return self._draw(_UNIFORM_FINE, shape, FLOAT64, dtype, seed, offset)
        return self._draw(_UNIFORM[dtype], shape, FLOAT32, dtype, seed, offset)

    def normal(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        """See `Backend.normal`."""
        if dtype == FLOAT64:
            return self._draw(_NORMAL_FINE, shape, FLOAT64, dtype, seed, offset)
        return self._draw(_NORMAL, shape, FLOAT32, dtype, seed, offset)

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        """See `Backend.integers`.

        Raises:
            ValueError: for more than 2**48 different integers, or bounds beyond 2**53.
        """
        if high - low > 2**48 or max(abs(low), abs(high)) > 2**53:
            raise ValueError(f"random integers on CUDA: [{low}, {high}) is wider than 2**48, or beyond 2**53")
        return self._draw(_INTEGERS, shape, FLOAT64, dtype, seed, offset, low, high - low)

    @staticmethod
    def permutation(n: int, seed: int, offset: int) -> np.ndarray:
        """A random order of the numbers 0 to n-1, drawn on the host."""
        bits = np.random.Philox(key=seed & (2**64 - 1), counter=[0, offset, 0, 0])
        return np.random.Generator(bits).permutation(n)
