"""Programs as C++, for CUDA and for the host: one typed statement for each operator.

The statements call the functions of `kernels/math.cuh` (and `kernels/random.cuh` for `uniform`). Types are C++ type
names: a value is of the type computed in, `bool`, or, for what seeds a random number, `unsigned long long`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .graph import Const, Input, Scalar
from .program import Program, result_kind

SEED_TYPE = "unsigned long long"
# Overflow wraps around in unsigned arithmetic, and is undefined in signed. (Narrower types are computed as int.)
_WRAPPING = {"int": "unsigned int", "long long": "unsigned long long", "unsigned short": "unsigned int"}
_OVERFLOWING = frozenset(("add", "sub", "mul", "neg"))


@dataclass(frozen=True)
class Value:
    """A C++ expression and its type."""

    text: str
    type: str


def constant(value: float, ctype: str) -> str:
    """The C++ literal of a Python number as a `ctype`."""
    if isinstance(value, bool) and ctype == "bool":
        return "true" if value else "false"
    if ctype in ("float", "double"):
        if isinstance(value, float) and not math.isfinite(value):
            text = f"gc::nan<{ctype}>()" if math.isnan(value) else f"gc::infinity<{ctype}>()"
            return f"(-{text})" if value < 0 else text
        text = repr(float(value)) + ("f" if ctype == "float" else "")
        return f"({text})" if text.startswith("-") else text
    # One past the end of the type is how the lowest integer would be spelled: as a difference it fits.
    whole = int(value)
    literal = f"{whole}ULL" if whole >= 2**63 else f"{whole}LL" if whole > -(2**63) else f"({whole + 1}LL - 1)"
    return f"(({ctype})({literal}))"


def seed_inputs(program: Program) -> frozenset[str]:
    """The names of the inputs that are seeds or offsets of random numbers: 64-bit integers, whatever is computed in."""
    uniform = [n for n in program.nodes if n.op is not None and n.op.name == "uniform"]
    return frozenset(a.name for n in uniform for a in n.args if isinstance(a, Input))


def emit(
    program: Program, inputs: Mapping[str, Value], compute: str, index: str = "index"
) -> tuple[list[str], list[Value]]:
    """The statements that compute `program` from `inputs`, and the values of its outputs.

    `compute` is the type computed in; `index` the text of the 64-bit linear element index.
    """
    values: dict[Scalar, Value] = {}
    lines: list[str] = []

    def cast(value: Value, ctype: str) -> str:
        return value.text if value.type == ctype else f"(({ctype}){value.text})"

    for node in program.nodes:
        if isinstance(node, Input):
            values[node] = inputs[node.name]
            continue
        if isinstance(node, Const):
            ctype = "bool" if isinstance(node.value, bool) else compute
            values[node] = Value(constant(node.value, ctype), ctype)
            continue
        assert node.op is not None
        args = [values[a] for a in node.args]
        kind = result_kind(node)
        if kind == "operand":
            kind = "bool" if all(a.type == "bool" for a in args[-2:]) else "value"
        ctype = "bool" if kind == "bool" else compute
        if node.op.name == "uniform":
            texts = [
                constant(a.value, SEED_TYPE) if isinstance(a, Const) else cast(v, SEED_TYPE)
                for a, v in zip(node.args, args)
            ]
        elif node.op.name == "where":
            texts = [args[0].text, cast(args[1], ctype), cast(args[2], ctype)]
        elif all(a.type == "bool" for a in args) and kind == "bool":
            texts = [a.text for a in args]
        elif node.op.name in _OVERFLOWING and ctype in _WRAPPING:
            texts = [f"({_WRAPPING[ctype]}){a.text}" for a in args]
        else:
            texts = [cast(a, compute) for a in args]
        # A declared type after each operator, so that narrow integers wrap around as NumPy's do.
        name = f"t{len(lines)}"
        expression = node.op.cpp.format(*texts).replace("INDEX", index)
        lines.append(f"const {ctype} {name} = {expression};")
        values[node] = Value(name, ctype)
    return lines, [values[o] for o in program.outputs]
