"""C++ text of the native kernels: a program's operands, where they come from, and its statements."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ....expr import Program
from ....expr.cpp_emit import Value, emit
from ...base import Array, Number
from ...cpp.emission import InputType, number_types, typed
from ...cpp.types import FLOAT64, HALVES, is_stored, stored

_FLOATS = ("float", "double")
_MASK = 2**64 - 1


def packer(numbers: Sequence[str | None]) -> struct.Struct:
    """Packs a kernel's arguments, 8 bytes each: addresses (None) and numbers, by their C++ types."""
    return struct.Struct("=" + "".join("d" if n in _FLOATS else "Q" for n in numbers))


def slot(value: Number, ctype: str) -> Number:
    """A Python number as `packer` packs it."""
    return float(value) if ctype in _FLOATS else int(typed(value, ctype)) & _MASK


def function(library: ctypes.CDLL, name: str) -> Any:
    """A kernel's function of its arguments and of the numbers of the first item and of the one after the last."""
    found = getattr(library, name)
    found.argtypes, found.restype = (ctypes.c_char_p, ctypes.c_longlong, ctypes.c_longlong), None
    return found


def address(array: Array) -> int:
    """Where an array's elements begin."""
    return array.__array_interface__["data"][0]


# Integer division raises for zero divisors, and so do integer powers for negative exponents: NumPy finds them.
_RAISING = frozenset(("div", "floor_divide", "remainder", "pow"))


def supported(program: Program, types: Sequence[InputType], compute: np.dtype, out_dtypes: Sequence[np.dtype]) -> bool:
    """Whether there are native kernels for a program."""
    dtypes = [t for t in types if isinstance(t, np.dtype)]
    operators = {n.op.name for n in program.nodes if n.op is not None}
    return (
        bool(dtypes)
        and not program.random
        and all(is_stored(d) for d in (*dtypes, compute, *out_dtypes))
        and not (compute.kind in "iu" and operators & _RAISING)
        # Through float there would be two roundings.
        and not (compute == FLOAT64 and any(d in HALVES for d in out_dtypes))
    )


class Operands:
    """A program's inputs in C++, and its statements.

    `patterns` says how each array moves along a run: `v` by 1, `b` not at all, `s` by a stride. Of input `i`, `p{i}` is
    where a run starts, and `x{i}` the element, converted, or the number.
    """

    def __init__(self, program: Program, types: Sequence[InputType], patterns: str, compute: str):
        numbers = number_types(program, types, compute)
        self.slots: list[str | None] = [numbers.get(n) for n in program.inputs]
        values: dict[str, Value] = {}
        # At the start of a kernel, of a run, and for each element.
        self.kernel: list[str] = []
        self.run: list[str] = []
        self.element: list[str] = []
        operand = 0
        for i, (name, kind) in enumerate(zip(program.inputs, types)):
            if name in numbers:
                ctype = numbers[name]
                self.kernel.append(f"const {ctype} x{i} = gc::Argument<{ctype}>::from(a[{i}]);")
            else:
                element, pattern = stored(kind), patterns[operand]  # type: ignore[arg-type]
                ctype = "bool" if element == "bool" else compute
                self.kernel.append(f"const {element} *const b{i} = gc::Argument<const {element} *>::from(a[{i}]);")
                self.run.append(f"const {element} *const p{i} = b{i} + at({operand});")
                if pattern == "s":
                    self.run.append(f"const long long s{i} = stride({operand});")
                place = {"v": f"p{i}[i]", "s": f"p{i}[i * s{i}]", "b": f"*p{i}"}[pattern]
                (self.run if pattern == "b" else self.element).append(f"const {ctype} x{i} = gc::to<{ctype}>({place});")
                operand += 1
            values[name] = Value(f"x{i}", ctype)
        lines, self.values = emit(program, values, compute)
        self.element += lines


def headers(main: str, dtypes: Iterable[np.dtype]) -> str:
    """The #include lines of a kernel over arrays of these dtypes."""
    names = ["host/host.h", "types.cuh", "host/functions.h", "math.cuh", main]
    if any(d in HALVES for d in dtypes):
        names.append("host/half.h")
    return "".join(f'#include "{name}"\n' for name in names)


def arguments(inputs: Sequence[Array | Number], slots: Sequence[str | None]) -> list[Number] | None:
    """The inputs as they are packed; None if an array is not aligned to its elements."""
    values: list[Number] = []
    for value, ctype in zip(inputs, slots):
        if ctype is None:
            values.append(address(value))
            if values[-1] % value.itemsize:  # type: ignore[union-attr]
                return None
        else:
            values.append(slot(value, ctype))
    return values


def input_types(inputs: Sequence[Any]) -> list[InputType]:
    """What a kernel's text must know of its inputs."""
    return [x.dtype if x.__class__ is np.ndarray else bool if isinstance(x, bool) else float for x in inputs]
