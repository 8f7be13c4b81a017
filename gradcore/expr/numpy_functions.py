"""Scalar operators that NumPy lacks or spells differently; used by generated code as `fn`."""

from __future__ import annotations

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


def sign(x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    return np.subtract(np.greater(x, 0), np.less(x, 0), dtype=np.asarray(x).dtype)


def uniform(seed: int, offset: int, shape: tuple[int, ...]) -> Any:
    """Uniform float32 numbers in [0, 1) from counter-based Philox: the same arguments give the same numbers.

    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    bits = np.random.Philox(key=seed & 0xFFFFFFFFFFFFFFFF, counter=[0, offset, 0, 0])
    return np.random.Generator(bits).random(shape, dtype=np.float32)


def item(value: Any) -> Any:
    """`value` as a Python number."""
    return value.item() if hasattr(value, "item") else value
