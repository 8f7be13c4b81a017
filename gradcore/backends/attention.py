"""What attention is computed of, on every device."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Dropout(NamedTuple):
    """Zero with probability `p`, else divide by `1 - p`, by the random numbers of (seed, offset)."""

    p: float
    seed: int
    offset: int


class AttentionInputs(NamedTuple):
    """Queries, keys and values, C-contiguous, and how they meet.

    Each head of key and value serves as many heads of query, that follow each other, as there are for it.
    """

    query: Array  # (heads, n, e)
    key: Array  # (heads / group, m, e)
    value: Array  # (heads / group, m, v)
    mask: Array | None  # (heads, n, m), any strides: bool, False without that key, or what is added before the softmax
    causal: bool  # query i has the keys up to i
    scale: float
    dropout: Dropout | None = None  # what multiplies the softmax, as the op `dropout_random` does
