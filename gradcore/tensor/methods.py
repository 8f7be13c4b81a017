"""Installs the methods, operators and indexing of `Tensor`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import mode
from ..autograd.inplace import apply_inplace, copy_values
from ..autograd.tape import apply, elementwise_function, wants_grad
from ..autograd.tracer import Tracer
from ..autograd.variable import Variable
from ..backends import backend_of, is_array
from ..ops import REGISTRY, Elementwise, indexing
from ..ops.broadcast import broadcastable
from ..ops.convert import to_copy
from ..ops.shape import clone
from . import creation
from .functions import FUNCTIONS, METHODS
from .tensor import Tensor

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)


# ---------------------------------------------------------------- operators
def _reflected(f: Any) -> Any:
    def operator(self: Any, other: Any) -> Any:
        try:
            return f(other, self)
        except TypeError:
            if isinstance(other, (Variable, bool, int, float)):
                raise
            return NotImplemented  # Python tries what else there is, as for [0] * tensor(3)

    return operator


def _equality(f: Any) -> Any:
    def operator(self: Any, other: Any) -> Any:
        try:
            return f(self, other)
        except TypeError:  # None, a string, ...: neither equal nor an error
            return NotImplemented

    return operator


BINARY = {
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
COMPARISON = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
UNARY = {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}


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


for _symbol, _name in BINARY.items():
    _operator(_symbol, _name)
    _operator(f"r{_symbol}", _name, _reflected)
    if f"{_name}_" in METHODS:
        setattr(Tensor, f"__i{_symbol}__", METHODS[f"{_name}_"])
_operator("rdiv", "div", _reflected)  # another name that PyTorch has for it
for _symbol, _name in COMPARISON.items():
    _operator(_symbol, _name, _equality if _name in ("eq", "ne") else None)
for _symbol, _name in UNARY.items():
    _operator(_symbol, _name)


# ---------------------------------------------------------------- indexing
def _key(tensor: Any, key: Any) -> tuple[Any, ...]:
    """The key as a tuple of ints, slices, None, Ellipsis and index or bool arrays of the tensor's device."""
    if not isinstance(key, tuple):
        # A list that holds more than numbers is a key of several entries, as it was in NumPy once.
        several = isinstance(key, list) and any(isinstance(k, _NOT_NUMBERS) or k in (None, Ellipsis) for k in key)
        key = tuple(key) if several else (key,)
    return tuple([k if k.__class__ in (int, slice, type(None), type(Ellipsis)) else _entry(tensor, k) for k in key])


_NOT_NUMBERS = (slice, list, tuple, range, np.ndarray, Variable)


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
            array = to_copy(array, dtype=dtypes.bool_)
    elif is_array(k):
        array = k
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(k).__name__})"
        )
    if array.ndim == 0 and array.dtype.kind in "iu" and not isinstance(array, Tracer):
        return int(array)
    if backend_of(array) is not backend:
        host = backend_of(array).to_host(array)
        if backend_of(array).device.type != "cpu":
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({backend.device}), got "
                f"{backend_of(array).device}"
            )
        array = backend.from_host(host)
    return array


def _getitem(self: Tensor, key: Any) -> Tensor:
    full = _key(self, key)
    if indexing.is_basic(full):
        return apply(indexing.select_view, (self,), {"key": full})
    self, full = _as_numpy(self, full)
    return apply(indexing.index, (self,), {"key": _lasting(full, self)})


def _as_numpy(tensor: Any, key: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """A tensor and a key with index or bool arrays for which NumPy's rules give what PyTorch's give for these.

    They differ in where the new dimensions go. For PyTorch an int beside the arrays selects first and is no index array
    itself, and an Ellipsis that stands for no dimension does not come between two arrays.
    """
    indexing.check_key("index", tensor._array, key)
    everything = slice(None)
    spans = {id(k): k.ndim if k.dtype.kind == "b" else 1 for k in key if is_array(k)}
    consumed = sum(spans.get(id(k), 1) for k in key if k is not None and k is not Ellipsis)
    full: list[Any] = []
    for k in key:
        full += [everything] * (tensor._array.ndim - consumed) if k is Ellipsis else [k]
    if not any(isinstance(k, int) for k in full):
        return tensor, tuple(full)
    first: list[Any] = []
    for k in full:
        first += [everything] * spans[id(k)] if is_array(k) else [k]
    rest = [k if is_array(k) else everything for k in full if not isinstance(k, int)]
    return apply(indexing.select_view, (tensor,), {"key": tuple(first)}), tuple(rest)


def _lasting(key: tuple[Any, ...], *operands: Any) -> tuple[Any, ...]:
    """The key for the tape, which needs its arrays as they are now: copied, for they may be changed."""
    if not (mode.enabled and any(isinstance(t, Variable) and wants_grad(t) for t in operands)):
        return key
    return tuple([clone(k) if is_array(k) else k for k in key])


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    full = _key(self, key)
    if not indexing.is_basic(full):
        self, full = _as_numpy(self, full)
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
    if not isinstance(value, Variable):
        dtypes.check_fits(value, self.dtype)
    if isinstance(value, Variable):
        value = _squeezed(value, self._array[full].shape)
    if indexing.is_basic(full):
        view = apply(indexing.select_view, (self,), {"key": full})
        apply_inplace(copy_values, (view, value), {})
        return
    backend.synchronize()  # nothing is written if an index is out of range
    apply_inplace(
        indexing.index_put,
        (self, value),
        {"key": _lasting(full, self, value)},
        write=lambda target, given: indexing.write(target, given, full),
    )


def _squeezed(value: Any, expected: tuple[int, ...]) -> Any:
    """`value` without leading dimensions of size 1 beyond those expected; RuntimeError if it does not broadcast."""
    given = tuple(value._array.shape)
    while len(value._array.shape) > len(expected) and value._array.shape[0] == 1:
        value = value.squeeze(0)
    if not broadcastable(value._array.shape, tuple(expected)):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing result of shape "
            f"{list(expected)}"
        )
    return value


Tensor.__getitem__ = _getitem  # type: ignore[method-assign, assignment]
Tensor.__setitem__ = _setitem  # type: ignore[method-assign, assignment]


# ---------------------------------------------------------------- new_*
def _new(name: str, make: Any) -> None:
    def new(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
        return make(*args, dtype=dtype or self.dtype, device=device or self.device, **options)

    new.__name__ = name
    new.__doc__ = f"`{make.__name__}` with this tensor's dtype and device."
    setattr(Tensor, name, new)


for _make in (creation.zeros, creation.ones, creation.empty, creation.full, creation.tensor):
    _new(f"new_{_make.__name__}", _make)
