"""Scalar expressions: the graph that tracing an ordinary Python function builds.

A `Scalar` stands for one element of an array. Calling a Python function with `Scalar` arguments records what it does;
the record is then differentiated (`calculus`), and printed as NumPy (`numpy_emit`) or C++ (`cpp_emit`).
Nodes are interned: two equal expressions are the same object, so common subexpressions are shared for free.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Union
from weakref import WeakValueDictionary

import numpy as np

if TYPE_CHECKING:
    from .primitives import Primitive

Number = bool | int | float
ScalarLike = Union["Scalar", Number]

_interned: WeakValueDictionary[tuple[Any, ...], Scalar] = WeakValueDictionary()


class Scalar:
    """A node of an expression: `op` applied to `args`; a leaf has no `op`.

    Leaves are `Input(name)` and `Const(value)`. Build nodes with the operators, the methods and the functions of
    `gradcore.expr`, never directly.
    """

    __slots__ = ("__weakref__", "args", "op")
    op: Primitive | None
    args: tuple[Scalar, ...]

    def __add__(self, other: ScalarLike) -> Scalar:
        return call("add", self, other)

    def __radd__(self, other: ScalarLike) -> Scalar:
        return call("add", other, self)

    def __sub__(self, other: ScalarLike) -> Scalar:
        return call("sub", self, other)

    def __rsub__(self, other: ScalarLike) -> Scalar:
        return call("sub", other, self)

    def __mul__(self, other: ScalarLike) -> Scalar:
        return call("mul", self, other)

    def __rmul__(self, other: ScalarLike) -> Scalar:
        return call("mul", other, self)

    def __truediv__(self, other: ScalarLike) -> Scalar:
        return call("div", self, other)

    def __rtruediv__(self, other: ScalarLike) -> Scalar:
        return call("div", other, self)

    def __floordiv__(self, other: ScalarLike) -> Scalar:
        return call("floor_divide", self, other)

    def __rfloordiv__(self, other: ScalarLike) -> Scalar:
        return call("floor_divide", other, self)

    def __mod__(self, other: ScalarLike) -> Scalar:
        return call("remainder", self, other)

    def __rmod__(self, other: ScalarLike) -> Scalar:
        return call("remainder", other, self)

    def __pow__(self, other: ScalarLike) -> Scalar:
        return call("pow", self, other)

    def __rpow__(self, other: ScalarLike) -> Scalar:
        return call("pow", other, self)

    def __neg__(self) -> Scalar:
        return call("neg", self)

    def __abs__(self) -> Scalar:
        return call("abs", self)

    def __lt__(self, other: ScalarLike) -> Scalar:
        return call("lt", self, other)

    def __le__(self, other: ScalarLike) -> Scalar:
        return call("le", self, other)

    def __gt__(self, other: ScalarLike) -> Scalar:
        return call("gt", self, other)

    def __ge__(self, other: ScalarLike) -> Scalar:
        return call("ge", self, other)

    def __and__(self, other: ScalarLike) -> Scalar:
        return call("bitwise_and", self, other)

    def __rand__(self, other: ScalarLike) -> Scalar:
        return call("bitwise_and", other, self)

    def __or__(self, other: ScalarLike) -> Scalar:
        return call("bitwise_or", self, other)

    def __ror__(self, other: ScalarLike) -> Scalar:
        return call("bitwise_or", other, self)

    def __xor__(self, other: ScalarLike) -> Scalar:
        return call("bitwise_xor", self, other)

    def __rxor__(self, other: ScalarLike) -> Scalar:
        return call("bitwise_xor", other, self)

    def __invert__(self) -> Scalar:
        return call("bitwise_not", self)

    # Expressions are dictionary keys all the same: a dictionary compares what is not the same object only if the hashes
    # are equal, and these are the objects' addresses. Interning makes equal expressions the same object.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Scalar:  # type: ignore[override]
        return call("eq", self, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Scalar:  # type: ignore[override]
        return call("ne", self, other)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        raise TypeError(
            "an expression has no truth value while it is traced: it stands for every element at once. "
            "Choose between values with where(condition, a, b) instead of `if`, `and`, `or`, `max`, `min`"
        )

    def __float__(self) -> float:
        raise TypeError(
            "an expression is no number while it is traced: it stands for every element at once. Use the functions of "
            "gradcore, such as gradcore.exp, instead of those of math"
        )

    __int__ = __index__ = __float__

    def __iter__(self) -> Iterator[Scalar]:
        raise TypeError("an expression is one element while it is traced: it has no elements and no shape")

    def __gradcore_op__(self, op: Any, inputs: Any, attrs: dict[str, Any]) -> Scalar:
        return op.traced(inputs, attrs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"an expression has no attribute {name!r} while it is traced: it stands for one element. Use the functions "
            "of gradcore, such as gradcore.exp(x)"
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(_NUMPY.format("NumPy"))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(_NUMPY.format(f"np.{function.__name__}"))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Scalar:
        # What Python's operators make of a NumPy number and an expression.
        operator = _UFUNC_OPERATORS.get(ufunc.__name__)
        if operator is None or method != "__call__" or not all(isinstance(i, (Scalar, np.generic)) for i in inputs):
            raise TypeError(_NUMPY.format(f"np.{ufunc.__name__}"))
        return call(operator, *inputs)

    def __repr__(self) -> str:
        return f"{self.op.name}({', '.join(map(repr, self.args))})" if self.op else "Scalar()"


_NUMPY = "{} cannot be applied to an expression while it is traced: use gradcore's functions, such as gradcore.exp"
_UFUNC_OPERATORS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "power": "pow",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "ne",
}


class Input(Scalar):
    """A leaf that stands for an element of the array named `name`."""

    __slots__ = ("name",)
    name: str

    def __repr__(self) -> str:
        return self.name


class Const(Scalar):
    """A leaf that holds a Python number."""

    __slots__ = ("value",)
    value: Number

    def __repr__(self) -> str:
        return repr(self.value)


def _intern(key: tuple[Any, ...], cls: type[Scalar], op: Primitive | None, args: tuple[Scalar, ...]) -> Any:
    node = _interned.get(key)
    if node is None:
        node = object.__new__(cls)
        node.op, node.args = op, args
        _interned[key] = node
    return node


def make_input(name: str) -> Input:
    """The leaf for the array called `name`."""
    node: Input = _intern(("input", name), Input, None, ())
    node.name = name
    return node


def make_const(value: Number) -> Const:
    """The leaf for a Python number; `1`, `1.0` and `True` are three different constants."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float)):
        raise TypeError(
            f"an expression's constant must be a bool, int or float, got {type(value).__name__}; a tensor must be a "
            "parameter"
        )
    # repr tells -0.0 from 0.0 and makes nan equal to itself.
    node: Const = _intern(("const", type(value), repr(value)), Const, None, ())
    node.value = value
    return node


def as_scalar(value: ScalarLike) -> Scalar:
    """`value` itself if it is an expression, else a constant."""
    return value if isinstance(value, Scalar) else make_const(value)


def make_node(op: Primitive, args: tuple[Scalar, ...]) -> Scalar:
    """`op` applied to `args`, without simplification."""
    node: Scalar = _intern((op.name, *map(id, args)), Scalar, op, args)
    return node


def call(name: str, *args: ScalarLike) -> Scalar:
    """Apply the primitive called `name`, simplifying what can be simplified on the spot."""
    from .primitives import PRIMITIVES

    op = PRIMITIVES[name]
    if len(args) != op.arity:
        raise TypeError(f"{name} takes {op.arity} arguments, got {len(args)}")
    return _simplified(op, tuple(map(as_scalar, args)))


_FOLD: dict[str, Callable[..., Number]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


def _simplified(op: Primitive, args: tuple[Scalar, ...]) -> Scalar:
    """Rewrites that keep the value for every finite, infinite and NaN input, and the arithmetic type.

    `x * 0` is therefore left alone, and so is `x + 0.0` where it could turn integers into floats: only integer
    constants are dropped as neutral elements (`1` and `0` adapt to any type).
    """
    fold = _FOLD.get(op.name)
    if fold and all(isinstance(a, Const) for a in args):
        return make_const(fold(*(a.value for a in args)))
    if op.name in ("add", "sub", "mul", "div", "pow", "neg", "where"):
        simpler = _REWRITES[op.name](*args)
        if simpler is not None:
            return simpler
    return make_node(op, args)


def _integer(node: Scalar, value: int) -> bool:
    return isinstance(node, Const) and type(node.value) is int and node.value == value


def _rewrite_add(a: Scalar, b: Scalar) -> Scalar | None:
    if _integer(a, 0):
        return b
    if _integer(b, 0):
        return a
    if b.op and b.op.name == "neg":
        return a - b.args[0]
    return None


def _rewrite_sub(a: Scalar, b: Scalar) -> Scalar | None:
    if _integer(b, 0):
        return a
    if _integer(a, 0):
        return -b
    if b.op and b.op.name == "neg":
        return a + b.args[0]
    return None


def _rewrite_mul(a: Scalar, b: Scalar) -> Scalar | None:
    for x, y in ((a, b), (b, a)):
        if _integer(x, 1):
            return y
        if _integer(x, -1):
            return -y
        if x.op and x.op.name == "neg":
            return -(x.args[0] * y)
    return None


def _rewrite_div(a: Scalar, b: Scalar) -> Scalar | None:
    if a.op and a.op.name == "neg":
        return -(a.args[0] / b)
    return None


def _rewrite_pow(a: Scalar, b: Scalar) -> Scalar | None:
    if not isinstance(b, Const) or isinstance(b.value, bool):
        return None
    if b.value == 1:
        return a
    if b.value == 2:
        return a * a
    if b.value == 3:
        return a * a * a
    if type(b.value) is float:
        if b.value == 0.5:
            return call("sqrt", a)
        if b.value == -0.5:
            return call("rsqrt", a)
        if b.value == -1.0:
            return 1 / a
        if b.value == -2.0:
            return 1 / (a * a)
    return None


def _rewrite_neg(a: Scalar) -> Scalar | None:
    return a.args[0] if a.op and a.op.name == "neg" else None


def _rewrite_where(c: Scalar, a: Scalar, b: Scalar) -> Scalar | None:
    if a is b:
        return a
    if isinstance(c, Const):
        return a if c.value else b
    return None


_REWRITES: dict[str, Callable[..., Scalar | None]] = {
    "add": _rewrite_add,
    "sub": _rewrite_sub,
    "mul": _rewrite_mul,
    "div": _rewrite_div,
    "pow": _rewrite_pow,
    "neg": _rewrite_neg,
    "where": _rewrite_where,
}


def topological(outputs: Iterable[Scalar]) -> list[Scalar]:
    """Every node below `outputs`, arguments before users, each once, in a reproducible order."""
    order: list[Scalar] = []
    seen: set[Scalar] = set()
    stack: list[tuple[Scalar, Iterator[Scalar]]] = []
    for out in outputs:
        if out in seen:
            continue
        seen.add(out)
        stack.append((out, iter(out.args)))
        while stack:
            node, rest = stack[-1]
            for arg in rest:
                if arg not in seen:
                    seen.add(arg)
                    stack.append((arg, iter(arg.args)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def substitute(outputs: Iterable[Scalar], replacements: dict[Scalar, Scalar]) -> tuple[Scalar, ...]:
    """`outputs` with every occurrence of a key replaced by its value, simplified again."""
    outputs = tuple(outputs)
    done: dict[Scalar, Scalar] = dict(replacements)
    # Only what is reached without passing through a replaced node needs rebuilding.
    for node in topological(outputs):
        if node not in done:
            done[node] = _simplified(node.op, tuple(done[a] for a in node.args)) if node.op else node
    return tuple(done[o] for o in outputs)


def input_names(outputs: Iterable[Scalar]) -> list[str]:
    """The names of the inputs that `outputs` depend on, each once, in a reproducible order."""
    return [n.name for n in topological(outputs) if isinstance(n, Input)]


def key_of(outputs: Iterable[Scalar]) -> str:
    """A text that two sets of expressions share exactly if they are equal (for caches on disk and kernel names)."""
    number: dict[Scalar, int] = {}
    parts = []
    outputs = tuple(outputs)
    for node in topological(outputs):
        number[node] = len(number)
        if node.op:
            parts.append(f"{node.op.name}({','.join(str(number[a]) for a in node.args)})")
        else:
            parts.append(repr(node) if not isinstance(node, Const) else f"{type(node.value).__name__}:{node!r}")
    return ";".join(parts) + "->" + ",".join(str(number[o]) for o in outputs)
