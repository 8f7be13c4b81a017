"""C++ text of recurrent cells: programs over arrays that hold several values of each unit side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ...expr import Program
from ...expr.cpp_emit import Value, emit
from .emission import indented

# How many values of a unit each array holds.
Counts = tuple[int, ...]


def counts(arrays: Sequence[object], size: int) -> Counts:
    """The `Counts` of arrays (rows, count * size)."""
    return tuple([array.shape[1] // size for array in arrays])  # type: ignore[attr-defined]


def parameters(reads: Counts, writes: Counts) -> str:
    """A kernel's first parameters: the arrays."""
    inputs = [f"const T *x{i}" for i in range(len(reads))]
    return ", ".join(inputs + [f"T *y{i}" for i in range(len(writes))])


def statements(program: Program, reads: Counts, writes: Counts, compute: str, depth: int) -> str:
    """What computes unit `j` of `row`, for layers of `size` units."""
    lines, names = [], iter(program.inputs)
    values = {}
    for i, count in enumerate(reads):
        for k in range(count):
            text = f"v{i}_{k}"
            lines.append(f"const A {text} = gc::to<A>(x{i}[(row * {count} + {k}) * size + j]);")
            values[next(names)] = Value(text, compute)
    body, results = emit(program, values, compute)
    found = iter(results)
    stores = []
    for i, count in enumerate(writes):
        stores += [f"y{i}[(row * {count} + {k}) * size + j] = gc::to<T>({next(found).text});" for k in range(count)]
    return indented(lines + body + stores, depth)
