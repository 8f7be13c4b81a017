"""Installs the methods, operators and indexing of `Tensor`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.inplace import apply_inplace, copy_values
from ..autograd.tape import apply, elementwise_function
from ..autograd.variable import Variable
from ..backends import backend_of, is_array
from ..ops import REGISTRY, Elementwise, indexing
from . import creation, functions
from .functions import FUNCTIONS, METHODS
from .tensor import Tensor

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)

Tensor.T = property(functions.transposed, doc="The tensor with its dimensions reversed.")  # type: ignore[attr-defined]
Tensor.mT = property(lambda self: self.transpose(-2, -1), doc="The tensor with its last two dimensions swapped.")  # type: ignore[attr-defined]


# ---------------------------------------------------------------- operators
def _reflected(f: Any) -> Any:
    return lambda self, other: f(other, self)


def _equality(f: Any) -> Any:
    def operator(self: Any, other: Any) -> Any:
        try:
            return f(self, other)
        except TypeError:  # None, a string, ...: neither equal nor an error
            return NotImplemented

    return operator


_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}


def _operator(slot: str, name: str, change: Any = None) -> None:
    """Put an op behind `__slot__`. The short way of an elementwise op is made when it is first used."""
    op = REGISTRY[name]

    def first(*operands: Any) -> Any:
        fast = elementwise_function(op) if isinstance(op, Elementwise) and op.promote != "integral" else None
        function = fast or FUNCTIONS[name]
        function = change(function) if change is not None else function
        setattr(Tensor, f"__{slot}__", function)
        return function(*operands)

    setattr(Tensor, f"__{slot}__", first)


for _symbol, _name in _BINARY.items():
    _operator(_symbol, _name)
    _operator(f"r{_symbol}", _name, _reflected)
    if f"{_name}_" in METHODS:
        setattr(Tensor, f"__i{_symbol}__", METHODS[f"{_name}_"])
for _name in ("lt", "le", "gt", "ge"):
    _operator(_name, _name)
for _name in ("eq", "ne"):
    _operator(_name, _name, _equality)
for _symbol, _name in {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}.items():
    _operator(_symbol, _name)
Tensor.__pos__ = lambda self: self  # type: ignore[attr-defined]
Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]


# ---------------------------------------------------------------- indexing
def _key(tensor: Any, key: Any) -> tuple[Any, ...]:
    """The key as a tuple of ints, slices, None, Ellipsis and index or bool arrays of the tensor's device."""
    if not isinstance(key, tuple):
        key = (key,)
    return tuple([k if k.__class__ in (int, slice, type(None), type(Ellipsis)) else _entry(tensor, k) for k in key])


def _entry(tensor: Any, k: Any) -> Any:
    backend = backend_of(tensor._array)
    if isinstance(k, slice):
        return k
    if isinstance(k, (bool, np.bool_)):
        return backend.from_host(np.array(bool(k)))
    if isinstance(k, (int, np.integer)):
        return int(k)
    if k is None or k is Ellipsis:
        return k
    if isinstance(k, (list, range, tuple)):
        k = creation.tensor(list(k))
        if k.numel() == 0:
            k = k.long()
    if isinstance(k, Variable):
        array = k._array
        if array.dtype.kind not in "biu":
            raise IndexError(
                f"tensors used as indices must be long, int, byte or bool tensors, got {k.dtype}"  # type: ignore[attr-defined]
            )
        if array.dtype == np.uint8:
            array = array.astype(bool)
        if array.ndim == 0 and array.dtype.kind in "iu":
            return int(k.item())  # type: ignore[attr-defined]
    elif is_array(k):
        array = k
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(k).__name__})"
        )
    if backend_of(array) is not backend:
        host = backend_of(array).to_host(array)
        if backend_of(array).device.type != "cpu":
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({backend.device}), got "
                f"{backend_of(array).device}"
            )
        array = backend.from_host(host)
    return array


def _getitem(self: Any, key: Any) -> Any:
    full = _key(self, key)
    return apply(indexing.select_view if indexing.is_basic(full) else indexing.index, (self,), {"key": full})


def _setitem(self: Any, key: Any, value: Any) -> None:
    full = _key(self, key)
    if isinstance(value, np.generic):
        value = value.item()
    elif not isinstance(value, (Variable, bool, int, float)):
        value = creation.as_tensor(value)
    backend = backend_of(self._array)
    if isinstance(value, Variable) and backend_of(value._array) is not backend:
        if value._array.ndim:
            raise RuntimeError(
                f"__setitem__(): the tensor is on {backend.device}, the value on {backend_of(value._array).device}; "
                "move one with .to()"
            )
        value = value.item()  # type: ignore[attr-defined]
    indexing.check_key("__setitem__", self._array, full)
    if isinstance(value, Variable):
        value = _squeezed(value, self._array[full].shape)
    if indexing.is_basic(full):
        view = apply(indexing.select_view, (self,), {"key": full})
        apply_inplace(copy_values, (view, value), {})
        return
    array = value._array if isinstance(value, Variable) else value
    apply_inplace(
        indexing.index_put, (self, value), {"key": full}, write=lambda target: indexing.write(target, array, full)
    )


def _squeezed(value: Any, expected: tuple[int, ...]) -> Any:
    """`value` without leading dimensions of size 1 beyond those expected; RuntimeError if it does not broadcast."""
    given = tuple(value._array.shape)
    while len(value._array.shape) > len(expected) and value._array.shape[0] == 1:
        value = value.squeeze(0)
    if not functions._fits(value._array.shape, tuple(expected)):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing result of shape "
            f"{list(expected)}"
        )
    return value


Tensor.__getitem__ = _getitem  # type: ignore[method-assign]
Tensor.__setitem__ = _setitem  # type: ignore[method-assign]


# ---------------------------------------------------------------- new_*
def _new(name: str, make: Any) -> None:
    def new(self: Any, *args: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        return make(
            *args, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
        )

    new.__name__ = name
    new.__doc__ = f"`{make.__name__}` with this tensor's dtype and device."
    setattr(Tensor, name, new)


for _make in (creation.zeros, creation.ones, creation.empty, creation.full, creation.tensor):
    _new(f"new_{_make.__name__}", _make)
