"""C++ text of a program's inputs and statements, and the names of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...expr import Program
from ...expr.cpp_emit import SEED_TYPE, seed_inputs
from .types import scalar

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
