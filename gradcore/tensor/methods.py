"""Installs the methods, operators and indexing of `Tensor`."""

from __future__ import annotations

from typing import Any

from ..autograd.tape import elementwise_function
from ..autograd.variable import Variable
from ..ops import REGISTRY, Elementwise
from . import creation, indexing
from . import einsum as _einsum  # noqa: F401  what they add is installed, too
from . import joining as _joining  # noqa: F401
from . import pinning as _pinning  # noqa: F401
from . import selecting as _selecting  # noqa: F401
from .functions import FUNCTIONS, METHODS
from .tensor import Tensor

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
Tensor.__getitem__ = indexing.getitem  # type: ignore[method-assign, assignment]
Tensor.__setitem__ = indexing.setitem  # type: ignore[method-assign, assignment]


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


# ---------------------------------------------------------------- new_*
def _new(name: str, make: Any) -> None:
    def new(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
        return make(*args, dtype=dtype or self.dtype, device=device or self.device, **options)

    new.__name__ = name
    new.__doc__ = f"`{make.__name__}` with this tensor's dtype and device."
    setattr(Tensor, name, new)


for _make in (creation.zeros, creation.ones, creation.empty, creation.full, creation.tensor):
    _new(f"new_{_make.__name__}", _make)
