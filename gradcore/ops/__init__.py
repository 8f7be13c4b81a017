"""The ops, by family. Importing this package declares them all; `REGISTRY` holds them by name."""

from . import (
    arithmetic,
    channel_norms,
    convert,
    convolution,
    functions,
    indexing,
    linalg,
    losses,
    norms,
    reductions,
    rows,
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
    "arithmetic",
    "array_op",
    "attention",
    "channel_norms",
    "convert",
    "convolution",
    "elementwise",
    "functions",
    "indexing",
    "linalg",
    "losses",
    "norms",
    "pooling",
    "reductions",
    "rows",
    "shape",
]
