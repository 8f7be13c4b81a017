"""C++ text shared by kernels: a program's operands and statements, and what written-out kernels are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...expr import Program
from ...expr.cpp_emit import Value, emit
from ..cpp.emission import InputType, number_types
from ..cpp.types import HALVES, computed, half_header, stored


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


def prologue(types: dict[str, np.dtype], compute: np.dtype, **constants: bool | int) -> str:
    """What is defined before a file of kernels: element types, A, the type computed in, and constants."""
    lines = [f"typedef {stored(dtype)} {name};" for name, dtype in types.items()]
    lines.append(f"typedef {computed(compute)} A;")
    lines += [
        f"constexpr {'bool' if isinstance(value, bool) else 'int'} {name} = {str(value).lower()};"
        for name, value in constants.items()
    ]
    return half_header(types.values()) + "".join(f"{line}\n" for line in lines)
