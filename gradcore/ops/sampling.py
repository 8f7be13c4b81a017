"""Random choices that are elementwise: drawn from (seed, offset, element), in one kernel."""

from __future__ import annotations

from ..expr import Scalar, call
from .elementwise import elementwise


@elementwise(name="bernoulli_random", grad_name="BernoulliBackward0", promote="floating", method=False)
def bernoulli(input: Scalar, *, seed: int, offset: int) -> Scalar:
    """1 with probability `input`, else 0."""
    return call("where", call("uniform", seed, offset) < input, 1.0, 0.0)
