"""C++ text shared by the generated kernels: a program's operands and its statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...expr import Program
from ...expr.cuda_emit import SEED_TYPE, Value, emit, seed_inputs
from .types import HALVES, computed, scalar, stored

# What an input of a program is: the dtype of an array, or, for a Python number, its type.
InputType = np.dtype | type
_SEED_MASK = 2**64 - 1


def number_types(program: Program, types: Sequence[InputType], compute: str) -> dict[str, str]:
    """The C++ types of the inputs that are Python numbers."""
    seeds = seed_inputs(program)
    return {
        name: SEED_TYPE if name in seeds else "bool" if kind is bool else compute
        for name, kind in zip(program.inputs, types)
        if isinstance(kind, type)
    }


def typed(value: Any, ctype: str) -> Any:
    """A Python number as the NumPy scalar that a parameter of type `ctype` takes."""
    return np.uint64(int(value) & _SEED_MASK) if ctype == SEED_TYPE else scalar(ctype)(value)


@dataclass
class Operands:
    """A program's inputs in C++.

    Arrays are members `p0`, `p1`, ... of the Body, are loaded into registers `v0`, `v1`, ... and bound, converted, to
    `x0`, `x1`, ...; numbers are members `s0`, `s1`, ... throughout.
    """

    program: Program
    types: Sequence[InputType]
    patterns: str
    compute: str
    parameters: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    bindings: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    slots: int = 0

    def __post_init__(self) -> None:
        numbers = number_types(self.program, self.types, self.compute)
        patterns = iter(self.patterns)
        for i, (name, kind) in enumerate(zip(self.program.inputs, self.types)):
            if name in numbers:
                self._declare(f"{numbers[name]} s{i}", f"s{i}")
                self.values[name] = Value(f"s{i}", numbers[name])
            else:
                self._array(i, name, kind, next(patterns))  # type: ignore[arg-type]

    def _declare(self, declaration: str, name: str) -> None:
        self.parameters.append(f"const {declaration}")
        self.members.append(f"{declaration};")
        self.arguments.append(name)

    def _array(self, i: int, name: str, dtype: np.dtype, pattern: str) -> None:
        element = stored(dtype)
        ctype = "bool" if element == "bool" else self.compute
        self.parameters.append(f"const {element} *__restrict__ p{i}")
        self.members.append(f"const {element} *p{i};")
        self.arguments.append(f"p{i}")
        if pattern == "v":
            self.registers.append(f"gc::Vec<{element}, N> v{i};")
            self.loads.append(f"r.v{i} = gc::load<N>(p{i} + at[{self.slots}]);")
        else:
            self.registers.append(f"{element} v{i};")
            self.loads.append(f"r.v{i} = p{i}[{'0' if pattern == 'u' else f'at[{self.slots}]'}];")
        self.slots += pattern != "u"
        source = f"r.v{i}[k]" if pattern == "v" else f"r.v{i}"
        self.bindings.append(f"const {ctype} x{i} = gc::to<{ctype}>({source});")
        self.values[name] = Value(f"x{i}", ctype)

    def statements(self, index: str = "index") -> tuple[list[str], list[Value]]:
        """What computes the outputs of element `k` of registers `r`, and the outputs' values."""
        lines, outputs = emit(self.program, self.values, self.compute, index)
        return self.bindings + lines, outputs


def headers(main: str, program: Program, dtypes: Sequence[np.dtype]) -> str:
    """The #include lines of a generated kernel."""
    names = [main, "math.cuh"]
    if program.random:
        names.append("random.cuh")
    if any(d in HALVES for d in dtypes):
        names.append("half.cuh")
    return "".join(f'#include "{name}"\n' for name in names)


def kernel_name(prefix: str, program: Program) -> str:
    """A kernel's name for profilers: the operators it fuses."""
    operators = "_".join(n.op.name for n in program.nodes if n.op is not None)
    return f"{prefix}_{operators}"[:60].rstrip("_")


def described(program: Program, types: Sequence[InputType], compute: np.dtype) -> str:
    """A program and its types, for errors."""
    inputs = ", ".join(
        f"{name}: {kind.__name__ if isinstance(kind, type) else kind.name}" for name, kind in zip(program.inputs, types)
    )
    return f"{program.key} ({inputs}; computed in {compute.name})"


def indented(lines: Sequence[str], depth: int) -> str:
    """The lines as C++ text at a depth of two spaces each."""
    return "".join(f"{'  ' * depth}{line}\n" for line in lines)


__all__ = ["InputType", "Operands", "computed", "described", "headers", "indented", "kernel_name", "typed"]
