"""Programs as formulas, for people: `grad0 * (1 - result0 * result0)`."""

from __future__ import annotations

import re

from .graph import Scalar
from .numpy_emit import constant
from .program import Const, Input, Program

# Operators that Python writes as operators, by their NumPy text.
_OPERATOR = re.compile(r"\(\{0\} \S+ \{1\}\)|\([-~]\{0\}\)")


def formula(program: Program) -> str:
    """What a program computes, as Python would write it; values used several times are named first: `t0 = ...`.

    >>> from gradcore.expr import call, trace
    >>> formula(trace(lambda x, y: (call("exp", x) + 1) / (call("exp", x) * y)))
    't0 = exp(x); (t0 + 1) / (t0 * y)'
    """
    users: dict[Scalar, int] = {}
    for used in (*(arg for node in program.nodes for arg in node.args), *program.outputs):
        users[used] = users.get(used, 0) + 1
    text: dict[Scalar, str] = {}
    named: list[str] = []
    for node in program.nodes:
        if isinstance(node, Const):
            text[node] = constant(node.value)
        elif isinstance(node, Input):
            text[node] = node.name
        else:
            assert node.op is not None
            if _OPERATOR.fullmatch(node.op.numpy):
                text[node] = node.op.numpy.format(*(text[a] for a in node.args))
            else:
                text[node] = f"{node.op.name}({', '.join(_bare(text[a], a) for a in node.args)})"
            if users[node] > 1:
                name = f"t{len(named)}"
                named.append(f"{name} = {_bare(text[node], node)}")
                text[node] = name
    return "; ".join([*named, ", ".join(_bare(text[o], o) for o in program.outputs)])


def _bare(text: str, node: Scalar) -> str:
    """The text of `node` without the brackets around an operator."""
    return text[1:-1] if text.startswith("(") and (node.op or text.startswith("(-")) else text
