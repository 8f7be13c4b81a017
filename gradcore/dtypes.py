"""Data types and PyTorch's promotion rules."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np


class dtype:
    """The type of a tensor's elements, such as `gradcore.float32`.

    `numpy` is the NumPy dtype that stores it, `category` its rank in promotion: 0 bool, 1 integer, 2 floating point.
    """

    __slots__ = ("category", "itemsize", "name", "numpy")
    name: str
    numpy: np.dtype[Any]
    category: int
    itemsize: int

    def __init__(self, name: str, numpy: Any, category: int):
        self.name, self.numpy, self.category = name, np.dtype(numpy), category
        self.itemsize = self.numpy.itemsize
        _from_numpy[self.numpy] = self

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.category == 2 or self.numpy.kind == "i"

    def __repr__(self) -> str:
        return f"gradcore.{self.name}"

    def __reduce__(self) -> str:
        return self.name if self.name != "bool" else "bool_"


_from_numpy: dict[np.dtype[Any], dtype] = {}

bool_ = dtype("bool", np.bool_, 0)
uint8 = dtype("uint8", np.uint8, 1)
int8 = dtype("int8", np.int8, 1)
int16 = dtype("int16", np.int16, 1)
int32 = dtype("int32", np.int32, 1)
int64 = dtype("int64", np.int64, 1)
float16 = dtype("float16", np.float16, 2)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, 2)
float32 = dtype("float32", np.float32, 2)
float64 = dtype("float64", np.float64, 2)

ALL: tuple[dtype, ...] = tuple(_from_numpy.values())

# PyTorch's other names for them.
ALIASES: dict[str, dtype] = {
    "short": int16,
    "int": int32,
    "long": int64,
    "half": float16,
    "float": float32,
    "double": float64,
}

_default: dtype = float32


def from_numpy(numpy: Any) -> dtype:
    """The dtype stored as `numpy`.

    Raises TypeError for types that tensors cannot hold.
    """
    try:
        return _from_numpy[numpy]
    except (KeyError, TypeError):
        found = _from_numpy.get(np.dtype(numpy).newbyteorder("="))
        if found is None:
            names = ", ".join(t.name for t in ALL)
            raise TypeError(
                f"can't convert np.ndarray of type {np.dtype(numpy)}. The only supported types are: {names}."
            ) from None
        return found


def get_default_dtype() -> dtype:
    """The floating point dtype of tensors made from Python floats: float32 unless changed."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the floating point dtype of tensors made from Python floats."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d!r}")
    _default = d


@cache
def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both convert to, by PyTorch's rules: an integer never widens a float.

    >>> promote_types(int64, float16)
    gradcore.float16
    >>> promote_types(float16, bfloat16)
    gradcore.float32
    """
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == 2:
        if a.itemsize == b.itemsize:
            return float32
        return a if a.itemsize > b.itemsize else b
    return from_numpy(np.promote_types(a.numpy, b.numpy))


# Python's types as PyTorch takes them for dtypes.
_PYTHON: dict[Any, dtype] = {bool: bool_, int: int64, float: float64}


def given(op: str, d: Any) -> dtype | None:
    """The argument `dtype` of `op`; None stays None, and Python's bool, int and float stand for dtypes too.

    Raises TypeError for anything else.
    """
    if d is None or d.__class__ is dtype:
        return d
    try:
        return _PYTHON[d]
    except (KeyError, TypeError):
        raise TypeError(f"{op}(): argument 'dtype' must be gradcore.dtype, not {type(d).__name__}") from None


def check_fits(value: bool | int | float, d: dtype) -> None:
    """RuntimeError unless a number can be an element of type `d`."""
    if isinstance(value, complex):
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")
    if d.category == 1:
        limits = iinfo(d)
        if not limits.min <= value <= limits.max:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")


def of_number(value: bool | int | float) -> dtype:
    """The dtype that a Python number brings into promotion."""
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else _default


def result_type(*groups: dtype | None) -> dtype:
    """Combine the promoted types of tensors with dimensions, of zero-dimensional tensors, and of Python numbers.

    A later group counts only if its category is higher than that of the groups before it.
    """
    result: dtype | None = None
    for group in groups:
        if group is None:
            continue
        if result is None:
            result = group
        elif group.category > result.category:
            result = group
    assert result is not None
    return result


_TYPE_NAMES = {
    bool_: "Bool",
    uint8: "Byte",
    int8: "Char",
    int16: "Short",
    int32: "Int",
    int64: "Long",
    float16: "Half",
    bfloat16: "BFloat16",
    float32: "Float",
    float64: "Double",
}


def of_type_name(name: str) -> dtype:
    """The dtype of a tensor type such as `gradcore.FloatTensor` or `gradcore.cuda.LongTensor`."""
    for d, camel in _TYPE_NAMES.items():
        if name.endswith(f".{camel}Tensor"):
            return d
    raise ValueError(f"invalid type: '{name}'")


def type_name(numpy: Any) -> str:
    """PyTorch's name of the scalar type in messages: `Float`, `Long`, ..."""
    return _TYPE_NAMES[from_numpy(numpy)]


class finfo:
    """Machine limits of a floating point dtype: `bits`, `eps`, `max`, `min`, `tiny`, `smallest_normal`."""

    def __init__(self, type: dtype | None = None):
        d = type or _default
        if not d.is_floating_point:
            raise TypeError(f"gradcore.finfo() requires a floating point input type. Use gradcore.iinfo to handle {d}")
        info = ml_dtypes.finfo(d.numpy)
        self.dtype = d.name
        self.bits = d.itemsize * 8
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = float(f"1e-{info.precision}")


class iinfo:
    """Machine limits of an integer dtype: `bits`, `max`, `min`."""

    def __init__(self, type: dtype):
        if type.category != 1:
            raise TypeError(f"gradcore.iinfo() requires an integer input type. Use gradcore.finfo to handle {type}")
        info = np.iinfo(type.numpy)
        self.dtype, self.bits, self.max, self.min = type.name, info.bits, int(info.max), int(info.min)
