"""Philox4x32-10 in Python, from its paper: what the kernels' random numbers are compared with."""

from __future__ import annotations

import numpy as np


def philox(key: int, low: int, high: int) -> list[int]:
    """The four words of a counter of two 64-bit halves."""
    mask = 2**32 - 1
    k0, k1 = key & mask, key >> 32
    c = [low & mask, low >> 32, high & mask, high >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & mask, (p0 >> 32) ^ c[3] ^ k1, p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c


def uniform(seed: int, offset: int, first: int, count: int) -> np.ndarray:
    """The uniform numbers of the elements from `first` on, as float32."""
    words = [philox(seed, i >> 2, offset)[i & 3] for i in range(first, first + count)]
    return np.array([w >> 8 for w in words], np.float32) * np.float32(2**-24)
