"""The ops, by family. Importing this package declares them all; `REGISTRY` holds them by name."""

from . import (
    arithmetic,
    convert,
    decompositions,
    functions,
    indexing,
    linalg,
    losses,
    masking,
    norms,
    rearrange,
    reductions,
    rows,
    scatter,
    shape,
    sorting,
)
from .core import REGISTRY, ArrayOp, Op, Plan, array_op
from .elementwise import Elementwise, elementwise

__all__ = [
    "REGISTRY",
    "ArrayOp",
    "Elementwise",
    "Op",
    "Plan",
    "arithmetic",
    "array_op",
    "convert",
    "decompositions",
    "elementwise",
    "functions",
    "indexing",
    "linalg",
    "losses",
    "masking",
    "norms",
    "rearrange",
    "reductions",
    "rows",
    "scatter",
    "shape",
    "sorting",
]
