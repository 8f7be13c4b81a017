"""Programs as NumPy that writes into given arrays: for large arrays, worked on block by block within the cache.

An operator's NumPy text in the table of primitives is taken apart into its ufuncs, each of which gets an `out`; the
temporaries live in a few registers, arrays of the block's shape that are used again as soon as their value is dead.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from . import numpy_functions
from .graph import Const, Input, Scalar
from .numpy_emit import constant, execute, variable
from .program import Program, result_kind

# The kinds of a value: an array of the type computed in, a bool array, a Python number; and of an output that is none
# of these, but converted when it is written.
VALUES, TRUTHS, NUMBER, OTHER = "v", "b", "n", "-"


@dataclass(frozen=True)
class BlockFunction:
    """A program over blocks: `function(START, *inputs, *outputs, *values, *truths)` fills the outputs.

    `START` is the number of the block's first element, which random numbers depend on. `values` and `truths` count the
    registers: arrays of the block's shape, of the type computed in and bool.
    """

    function: Callable[..., None]
    values: int
    truths: int


def compile_blocks(program: Program, kinds: str, wanted: str) -> BlockFunction:
    """The form of `program` that writes into arrays. `kinds` has a letter for each input, `wanted` for each output."""
    found: BlockFunction | None = program.compiled.get((kinds, wanted))
    if found is None:
        found = program.compiled[kinds, wanted] = _emit(program, kinds, wanted)
    return found


@dataclass(eq=False)
class _Value:
    """A leaf, or the result of a function of NumPy's or of `numpy_functions`; `text` is the name it goes by."""

    kind: str
    text: str = ""
    function: str = ""
    operands: list[_Value] = field(default_factory=list)


def _emit(program: Program, kinds: str, wanted: str) -> BlockFunction:
    steps: list[_Value] = []
    values: dict[Scalar, _Value] = {}
    for node in program.nodes:
        if isinstance(node, Const):
            values[node] = _Value(NUMBER, constant(node.value))
        elif isinstance(node, Input):
            values[node] = _Value(kinds[program.inputs.index(node.name)], variable(node.name))
        else:
            values[node] = _steps_of(node, [values[a] for a in node.args], steps)
    outputs = [values[o] for o in program.outputs]
    for i, out in enumerate(outputs):
        if out.kind == wanted[i] and out.function and not out.text:
            out.text = f"OUT{i}"
    lines, registers = _allocate(steps, outputs)
    for i, out in enumerate(outputs):
        if out.text != f"OUT{i}":
            lines.append(f"np.copyto(OUT{i}, {out.text}, casting='unsafe')")
    names = ["START", *map(variable, program.inputs), *(f"OUT{i}" for i in range(len(outputs))), *registers]
    text = "\n    ".join([f"def kernel({', '.join(names)}):", *lines]) + "\n"
    truths = sum(r.startswith("B") for r in registers)
    return BlockFunction(execute(text, f"<gradcore {program!r} in blocks>"), len(registers) - truths, truths)


_START = _Value(NUMBER, "START")


def _steps_of(node: Scalar, operands: list[_Value], steps: list[_Value]) -> _Value:
    """Append the steps that compute `node`; its value."""
    assert node.op is not None
    if node.op.numpy == "{0}":
        return operands[0]
    kind = VALUES if node.op.name == "uniform" else _kind(node, operands)
    if kind == NUMBER:
        number = _Value(NUMBER, f"N{len(steps)}", node.op.numpy.format(*(o.text for o in operands)))
        steps.append(number)
        return number
    text = node.op.numpy.format(*(f"_{i}" for i in range(len(operands))))

    def lower(tree: Any) -> _Value:
        if isinstance(tree, ast.Constant):
            return _Value(NUMBER, repr(tree.value))
        if isinstance(tree, ast.Name):
            return _START if tree.id == "SHAPE" else operands[int(tree.id[1:])]
        name, parts = _taken_apart(tree)
        arguments = [lower(part) for part in parts]
        if name in _SLOW_WITH_NUMBERS:
            arguments = [_filled(a, steps) if a.kind == NUMBER else a for a in arguments]
        steps.append(_Value(TRUTHS if isinstance(tree, ast.Compare) else VALUES, "", name, arguments))
        return steps[-1]

    value = lower(ast.parse(text, mode="eval").body)
    value.kind = kind
    return value


def _kind(node: Scalar, operands: list[_Value]) -> str:
    if all(o.kind == NUMBER for o in operands):
        return NUMBER
    kind = result_kind(node)
    if kind == "operand":  # (the condition of a choice does not count)
        kind = "bool" if all(o.kind == TRUTHS for o in operands[-2:]) else "value"
    return TRUTHS if kind == "bool" else VALUES


# Several times slower with a number than with an array of it.
_SLOW_WITH_NUMBERS = ("np.maximum", "np.minimum")


def _filled(number: _Value, steps: list[_Value]) -> _Value:
    steps.append(_Value(VALUES, "", "fill", [number]))
    return steps[-1]


_UFUNCS: dict[type, str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "true_divide",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder",
    ast.USub: "negative",
    ast.Invert: "invert",
    ast.BitAnd: "bitwise_and",
    ast.BitOr: "bitwise_or",
    ast.BitXor: "bitwise_xor",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}


def _taken_apart(tree: Any) -> tuple[str, list[Any]]:
    """The function that a node of a text's syntax tree stands for, and its arguments."""
    if isinstance(tree, ast.BinOp):
        return f"np.{_UFUNCS[type(tree.op)]}", [tree.left, tree.right]
    if isinstance(tree, ast.UnaryOp):
        return f"np.{_UFUNCS[type(tree.op)]}", [tree.operand]
    if isinstance(tree, ast.Compare):
        return f"np.{_UFUNCS[type(tree.ops[0])]}", [tree.left, tree.comparators[0]]
    name = ast.unparse(tree.func)
    if name == "abs":
        name = "np.absolute"
    elif name.startswith("np.") and not _is_ufunc(name):
        name = f"fn.{name[3:]}"
    return name, tree.args


def _is_ufunc(name: str) -> bool:
    return isinstance(getattr(np, name.removeprefix("np."), None), np.ufunc)


@cache
def _takes_out(name: str) -> bool:
    return _is_ufunc(name) or "out" in inspect.signature(getattr(numpy_functions, name[3:])).parameters


def _allocate(steps: list[_Value], outputs: list[_Value]) -> tuple[list[str], list[str]]:
    """The line of each step, its result in a register unless it has a place; and the names of the registers."""
    last_use = {operand: i for i, step in enumerate(steps) for operand in step.operands}
    for out in outputs:
        last_use[out] = len(steps)
    free: dict[str, list[str]] = {VALUES: [], TRUTHS: []}
    registers: list[str] = []
    lines: list[str] = []
    for i, step in enumerate(steps):
        if step.kind == NUMBER:
            lines.append(f"{step.text} = fn.item({step.function})")
            continue
        dead = {o for o in step.operands if last_use[o] == i and o.text in registers}
        in_place = _is_ufunc(step.function)  # it may write where it reads; other functions may not
        if in_place:
            for value in dead:
                free[value.kind].append(value.text)
        if not step.text:
            if not free[step.kind]:
                registers.append(f"{step.kind.upper()}{len(registers)}")
                free[step.kind].append(registers[-1])
            step.text = free[step.kind].pop()
        if not in_place:
            for value in dead:
                free[value.kind].append(value.text)
        arguments = ", ".join(o.text for o in step.operands)
        if step.function == "fill":
            lines.append(f"{step.text}.fill({arguments})")
        elif _takes_out(step.function):
            lines.append(f"{step.function}({arguments}, out={step.text})")
        else:
            lines.append(f"np.copyto({step.text}, {step.function}({arguments}), casting='unsafe')")
    return lines, sorted(registers, key=lambda name: (name[0] == "B", int(name[1:])))
