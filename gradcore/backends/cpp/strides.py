"""Shapes and strides as loops want them: repeated and merged dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

Ints = tuple[int, ...]


def broadcast_strides(shape: Ints, strides: Ints, itemsize: int, target: Ints) -> Ints:
    """An array's strides, in elements, as seen from the shape it broadcasts to: 0 along dimensions it repeats in."""
    lead = len(target) - len(shape)
    own = [0 if size == 1 else stride // itemsize for size, stride in zip(shape, strides)]
    return (0,) * lead + tuple(own)


def collapse(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[Ints, tuple[Ints, ...]]:
    """Merge neighbouring dimensions that every operand steps through evenly; dimensions of size 1 vanish.

    >>> collapse((2, 3, 4), [(12, 4, 1), (0, 0, 1)])
    ((6, 4), ((4, 1), (0, 1)))
    """
    kept: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d, size in enumerate(sizes):
        if size == 1:
            continue
        if kept and all(own[-1] == s[d] * size for own, s in zip(steps, strides)):
            kept[-1] *= size
            for own, s in zip(steps, strides):
                own[-1] = s[d]
        else:
            kept.append(size)
            for own, s in zip(steps, strides):
                own.append(s[d])
    return tuple(kept), tuple(tuple(own) for own in steps)


def reach(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> int:
    """The largest index or offset, either way, that occurs in a layout."""
    spans = (sum((size - 1) * abs(s) for size, s in zip(sizes, own)) for own in strides)
    return max(math.prod(sizes), *spans, 0)


def padded(sizes: Ints, strides: tuple[Ints, ...]) -> tuple[Ints, tuple[Ints, ...]]:
    """The same layout with one dimension of size 1 where it had none: kernels need a rank of at least 1."""
    return (sizes, strides) if sizes else ((1,), tuple((0,) for _ in strides))
