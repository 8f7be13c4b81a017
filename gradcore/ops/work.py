"""What an op runs, told from its declaration: a fused expression, kernels of the backend, other ops, or nothing.

The kernels of an op written by hand are read off the code of its function and of the helpers that it calls: methods of
`Backend` by name, and other ops. That is all that it may call; which of several branches was taken, code cannot tell.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from ..backends import Backend
from ..expr import Program
from ..expr.formula import formula
from .core import ArrayOp, Op, Plan


@dataclass(frozen=True)
class Work:
    """What one direction of an op runs.

    `kind` is `"fused"` (one kernel, generated from the expression `detail`), `"kernel"` (methods of the backend, named
    in `detail`), `"composite"` (other ops, named in `detail`, and perhaps kernels), `"library"` (assignments, copies
    and joins by NumPy or CuPy itself), `"view"` (no kernel), `"nothing"` (a gradient that is passed on as it is), or
    `"python"` (a function of the user's).
    """

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


def forward_work(plan: Plan) -> Work:
    """What made the result of an op that was recorded with `plan`."""
    op = plan.op
    if plan.programs is not None:
        return _fused(plan.programs[0])
    if op.view is not False:
        return _view((op,))
    return _work_of((op.function,)) if isinstance(op, ArrayOp) else Work("python", f"{op.name}.forward")


def backward_work(plan: Plan, needs: Sequence[bool]) -> Work:
    """What will make the gradients marked in `needs`."""
    op = plan.op
    if plan.programs is not None:
        return _fused(plan.programs[1])
    if not isinstance(op, ArrayOp):
        return Work("python", f"{op.name}.backward")
    joint = op.rules.get("*")
    names = op.inputs if not op.variadic else ()
    rules = (joint,) if joint else tuple(op.rules[n] for n, need in zip(names, needs) if need)
    if all(_returns_its_argument(rule) for rule in rules):
        return Work("nothing")
    return _work_of(rules)


def _fused(program: Program) -> Work:
    return Work("fused", formula(program)) if program.operations else Work("nothing")


def _returns_its_argument(rule: Callable[..., Any]) -> bool:
    return isinstance(rule, FunctionType) and rule.__code__.co_code == (lambda g: g).__code__.co_code


def _work_of(functions: tuple[Callable[..., Any], ...]) -> Work:
    called = [_called(function) for function in functions]
    kernels = sorted({name for found, _ in called for name in found})
    ops = {op for _, found in called for op in found}
    computing = sorted(op.name for op in ops if op.view is False)
    if computing:
        return Work("composite", ", ".join([*computing, *(f"kernel {name}" for name in kernels)]))
    if kernels:
        return Work("kernel", ", ".join(kernels))
    return _view(ops) if ops else Work("library")


def _view(ops: Iterable[Op]) -> Work:
    return Work("view", "or a copy" if any(op.view is None for op in ops) else "")


_KERNELS = frozenset(name for name, value in vars(Backend).items() if callable(value) and not name.startswith("_"))


@cache
def _called(function: Callable[..., Any]) -> tuple[frozenset[str], frozenset[Op]]:
    """The kernels and the ops that a function, and the helpers of its own package that it calls, mention."""
    kernels: set[str] = set()
    ops: set[Op] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [function]
    while waiting:
        f = waiting.pop()
        if f in seen or not isinstance(f, FunctionType):
            continue
        seen.add(f)
        cells = dict(zip(f.__code__.co_freevars, f.__closure__ or ()))
        for name, is_attribute in _names(f.__code__):
            if is_attribute:
                kernels.update({name} & _KERNELS)
                continue
            value = cells[name].cell_contents if name in cells else f.__globals__.get(name)
            if isinstance(value, Op):
                ops.add(value)
            elif isinstance(value, FunctionType) and _root(value) == _root(function):
                waiting.append(value)
    return frozenset(kernels), frozenset(ops)


def _root(function: Callable[..., Any]) -> str:
    return function.__module__.partition(".")[0]


def _names(code: CodeType) -> Iterator[tuple[str, bool]]:
    """The names that code, and the functions defined in it, looks up; and whether as attributes."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            yield str(instruction.argval), True
        elif instruction.opname in ("LOAD_GLOBAL", "LOAD_DEREF"):
            yield str(instruction.argval), False
        elif isinstance(instruction.argval, CodeType):
            yield from _names(instruction.argval)
