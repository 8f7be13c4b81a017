"""The ops, by family. Importing this package declares them all; `REGISTRY` holds them by name."""

from . import (
    activations,
    arithmetic,
    convert,
    ctc,
    functions,
    indexing,
    linalg,
    losses,
    norms,
    reductions,
    rows,
    sampling,
    scans,
    shape,
)
from .core import REGISTRY, ArrayOp, Op, Plan, array_op
from .elementwise import Elementwise, elementwise

__all__ = [
    "REGISTRY",
    "ArrayOp",
    "Elementwise",
    "Op",
    "Plan",
    "activations",
    "arithmetic",
    "array_op",
    "convert",
    "ctc",
    "elementwise",
    "functions",
    "indexing",
    "linalg",
    "losses",
    "norms",
    "reductions",
    "rows",
    "sampling",
    "scans",
    "shape",
]
