"""Programs as NumPy: a Python function generated once for each program, with the least overhead for small arrays."""

from __future__ import annotations

import linecache
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import numpy_functions
from .graph import Const, Input, Scalar
from .program import Program


def constant(value: float) -> str:
    """The Python text of a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return f"({value!r})" if value < 0 else repr(value)


def source(program: Program, scalars: frozenset[str] = frozenset(), name: str = "kernel") -> str:
    """The Python source of a function of the program's inputs that returns one array, or a tuple of them.

    `scalars` names the inputs that will be Python numbers. What depends on them alone is made a Python number again:
    a NumPy scalar would take part in type promotion, which a Python number does not.
    """
    users: dict[Scalar, int] = {}
    for node in program.nodes:
        for arg in node.args:
            users[arg] = users.get(arg, 0) + 1
    for out in program.outputs:
        users[out] = users.get(out, 0) + 1
    text: dict[Scalar, str] = {}
    pure: dict[Scalar, bool] = {}  # a Python number at run time
    lines: list[str] = []
    for node in program.nodes:
        if isinstance(node, Const):
            text[node], pure[node] = constant(node.value), True
        elif isinstance(node, Input):
            text[node], pure[node] = variable(node.name), node.name in scalars
        else:
            assert node.op is not None
            call = node.op.numpy.format(*(text[a] for a in node.args))
            pure[node] = all(pure[a] for a in node.args) and node.op.name != "uniform"
            if pure[node]:
                call = f"fn.item({call})"
            if users[node] > 1:
                text[node] = f"t{len(lines)}"
                lines.append(f"    {text[node]} = {call}")
            else:
                text[node] = call
    result = ", ".join(text[o] for o in program.outputs)
    return "\n".join(
        [f"def {name}({', '.join(map(variable, program.inputs))}, SHAPE=None):", *lines, f"    return {result}", ""]
    )


def variable(name: str) -> str:
    """An input's name, changed if the generated functions may call something else so."""
    return f"{name}_" if re.fullmatch(r"np|fn|abs|float|t\d+|[A-Z]+\d*", name) else name


_INFIX = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def _single(program: Program) -> Callable[..., Any] | None:
    """A program of one operator on its inputs is that operator or ufunc: no Python function around it."""
    out = program.outputs[0]
    if len(program.outputs) > 1 or out.op is None or [repr(a) for a in out.args] != list(program.inputs):
        return None
    if match := re.fullmatch(r"np\.(\w+)\(\{0\}(?:, \{1\})?\)", out.op.numpy):
        function: Callable[..., Any] = getattr(np, match[1])
        return function
    match = re.fullmatch(r"\(\{0\} (\S+) \{1\}\)", out.op.numpy)
    return _INFIX.get(match[1]) if match else None


def compile_numpy(program: Program, scalars: frozenset[str] = frozenset()) -> Callable[..., Any]:
    """The generated function; `SHAPE` is only needed by programs that draw random numbers."""
    function: Callable[..., Any] | None = program.compiled.get(scalars)
    if function is None:
        function = program.compiled[scalars] = _single(program)
    if function is None:
        function = program.compiled[scalars] = execute(source(program, scalars), f"<gradcore {program!r}>")
    return function


def execute(text: str, filename: str) -> Callable[..., Any]:
    """The function `kernel` that a generated source defines."""
    # The module name is what the warning filter in gradcore/__init__.py goes by.
    scope: dict[str, Any] = {"np": np, "fn": numpy_functions, "__name__": "gradcore.generated"}
    exec(compile(text, filename, "exec"), scope)
    # Tracebacks show the generated line.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    function: Callable[..., Any] = scope["kernel"]
    return function
