"""Scalar expressions: trace, differentiate, simplify, emit.

>>> from gradcore import expr
>>> program = expr.trace(lambda x, y: x * expr.exp(-y))
>>> program.inputs
('x', 'y')
>>> program.outputs
(mul(x, exp(neg(y))),)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graph import Const, Input, Scalar, ScalarLike, call, make_const, make_input
from .primitives import PRIMITIVES, Primitive
from .program import Program, trace

__all__ = [
    "PRIMITIVES",
    "Const",
    "Input",
    "Primitive",
    "Program",
    "Scalar",
    "call",
    "make_const",
    "make_input",
    "trace",
]


def _function(name: str) -> Callable[..., Scalar]:
    def primitive(*args: ScalarLike) -> Scalar:
        return call(name, *args)

    primitive.__name__ = primitive.__qualname__ = name
    primitive.__doc__ = f"The scalar operator `{name}` applied to expressions or Python numbers."
    return primitive


def __getattr__(name: str) -> Any:
    """Every primitive is a function of this module: `expr.exp`, `expr.where`, ..."""
    if name not in PRIMITIVES:
        raise AttributeError(f"module 'gradcore.expr' has no attribute {name!r}")
    function = globals()[name] = _function(name)
    return function
