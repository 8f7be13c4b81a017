"""The exponent of a curve: how a cost grows with a size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# From here on growth is called super-linear, and by so much it has to exceed the peer's.
LIMIT, MARGIN = 1.15, 0.1


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """`p` of `cost = a + b * size**p`, by least squares in logarithms.

    The cost of the smallest size stands for the constant `a`, and the fit is over the sizes that cost at least twice as
    much and lie in the upper half. NaN where there are fewer than two: the curve is flat as far as it goes.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(costs, np.float64)
    if len(x) < 2 or len(x) != len(y):
        raise ValueError(f"exponent() takes as many costs as sizes, at least two, but got {len(x)} and {len(y)}")
    least = y[np.argmin(x)]
    upper = (x >= (x.min() * x.max()) ** 0.5) & (y >= 2 * least) & (y > least)
    if upper.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(x[upper]), np.log(y[upper] - least), 1)[0])


def flag(ours: float, theirs: float | None) -> str:
    """`super-linear` where a cost grows faster than its size and faster than the peer's; empty otherwise."""
    above = ours > LIMIT and (theirs is None or np.isnan(theirs) or ours > theirs + MARGIN)
    return "super-linear" if above else ""
