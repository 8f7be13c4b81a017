"""Reductions as values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..expr import Program, trace
from ..expr.graph import input_names


@dataclass(frozen=True)
class Reduction:
    """`finish(combine over the reduced elements of map(x, ...), count)`, in one pass over the inputs.

    `combine` is `"sum"`, `"prod"`, `"max"`, `"min"`, `"any"` or `"all"`; max and min propagate NaN. `map` has one
    output and as many inputs as arrays and numbers are given; `finish`, if any, is a program of `acc` and `count` and
    of the numbers given by name to `Backend.reduce`.
    """

    map: Program
    combine: str
    finish: Program | None = None


IDENTITY = trace(lambda x: x)


@cache
def each_sum(map: Program) -> list[tuple[Reduction, list[int]]]:
    """The sum of each output alone, and which inputs it takes."""
    found = []
    for output in map.outputs:
        used = input_names((output,))
        at = [i for i, name in enumerate(map.inputs) if name in used]
        found.append((Reduction(Program([map.inputs[i] for i in at], [output]), "sum"), at))
    return found
