"""C++ text of recurrent cells."""

from __future__ import annotations

from ...expr.cpp_emit import Value, emit
from ..recurrence import Step
from .emission import indented


def parameters(step: Step) -> str:
    """A kernel's first parameters: the arrays."""
    inputs = [f"const T *x{i}" for i in range(len(step.reads))]
    return ", ".join(inputs + [f"T *y{i}" for i in range(len(step.writes))])


def statements(step: Step, compute: str, depth: int) -> str:
    """What computes unit `j` of `row`, for layers of `size` units."""
    lines, values, names = [], {}, iter(step.program.inputs)
    for i, count in enumerate(step.reads):
        for k in range(count):
            text = f"v{i}_{k}"
            lines.append(f"const A {text} = gc::to<A>(x{i}[(row * {count} + {k}) * size + j]);")
            values[next(names)] = Value(text, compute)
    body, results = emit(step.program, values, compute)
    found = iter(results)
    for i, count in enumerate(step.writes):
        body += [f"y{i}[(row * {count} + {k}) * size + j] = gc::to<T>({next(found).text});" for k in range(count)]
    return indented(lines + body, depth)
