"""An interpreter of pickles that makes values and nothing else.

A pickle is a program: it may call whatever it can name. Here it names what the caller finds for it and calls what was
made for that (`Callee`), and its memory is bounded by its own length. Python's `pickle.Unpickler` with another
`find_class` would still hash tuples of tuples, a hundred deep, that are all one, or copy one text a million times.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable, Sized
from typing import Any

from .files import LoadError

_LONGEST_INTEGER = 1 << 8192
# What calls may copy in all, in elements for each byte of the pickle.
_COPIED = 16
# Keys are of these types, or tuples of a few of them.
_LONGEST_KEY = 64
_KEYS = (str, int, float, bool, bytes, complex, type(None))
_DAMAGE = (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, StopIteration, TypeError, ValueError)


class UnpicklingError(LoadError, pickle.UnpicklingError):
    """A pickle is damaged, or asks for what it cannot have."""


class Callee:
    """A function that pickles may call; it checks what it is given."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]):
        self.function = function


def checked_key(key: Any) -> Any:
    """A key or an element of a set, if its hash is no long work."""
    parts = key if type(key) is tuple and len(key) <= _LONGEST_KEY else (key,)
    if not all(type(part) in _KEYS for part in parts):
        raise UnpicklingError(f"its pickle has a key of type {type(key).__name__}, which weights do not need")
    return key


def unpickle(data: bytes, find: Callable[[str], Any], persistent: Callable[[Any], Any]) -> Any:
    """The value of a pickle.

    Args:
        data: the pickle.
        find: what the pickle means by `module.name`, or UnpicklingError; it can call those that are `Callee`.
        persistent: the object that the pickle means by an identifier.

    Raises:
        UnpicklingError: the pickle is damaged, or does what is none of its business.
    """
    machine = _Machine(len(data), find)
    operations = pickletools.genops(data)
    place: int | None = 0
    while True:
        try:
            operation, argument, place = next(operations)
            if operation.name == "STOP":
                return machine.stack.pop()
            if operation.name != "BINPERSID":
                machine.do(operation.name, argument)
                continue
            identifier = machine.stack.pop()
        except LoadError:
            raise
        except _DAMAGE as error:
            raise UnpicklingError(
                f"its pickle is damaged at byte {place}: {type(error).__name__}: {error!s:.100}"
            ) from None
        machine.stack.append(persistent(identifier))


class _Machine:
    """The stack of values, those that lie below marks, and what was put aside."""

    def __init__(self, length: int, find: Callable[[str], Any]):
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._find = find
        self._left = _COPIED * length

    def do(self, name: str, argument: Any) -> None:
        """One operation that needs nothing from outside."""
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self._spend(_EMPTY[name][1])
            stack.append(_EMPTY[name][0]())
        elif name in _ARGUMENTS:
            if type(argument) is int and not -_LONGEST_INTEGER < argument < _LONGEST_INTEGER:
                raise ValueError("an integer of more than 8192 bits")
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise IndexError("a tuple of more than there is")
            stack[-count:] = [tuple(stack[-count:])]
        elif name not in ("PROTO", "FRAME"):
            action = _ACTIONS.get(name)
            if action is None:
                raise UnpicklingError(f"its pickle uses the operation {name}, which files of weights do not need")
            action(self, argument)

    def _mark(self, argument: Any) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _tuple(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(tuple(items))

    def _frozenset(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(frozenset(map(checked_key, items)))

    def _append(self, argument: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, argument: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._target(list)
        target.extend(items)

    def _additems(self, argument: Any) -> None:
        items = self._since_mark()
        self._target(set).update(map(checked_key, items))

    def _setitem(self, argument: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _setitems(self, argument: Any) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._target(dict, OrderedDict, Counter)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _target(self, *kinds: type) -> Any:
        """What is on top, which must be of one of these types."""
        target = self.stack[-1]
        if type(target) not in kinds:
            raise TypeError(f"{type(target).__name__} where {kinds[0].__name__} was expected")
        return target

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise UnpicklingError("its pickle copies its values again and again, as only malicious ones do")

    def _global(self, argument: str) -> None:
        self.stack.append(self._find(argument.replace(" ", ".", 1)))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a name that is no text")
        self.stack.append(self._find(f"{module}.{name}"))

    def _reduce(self, argument: Any) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if type(callee) is not Callee or type(arguments) is not tuple:
            raise UnpicklingError(f"its pickle calls {callee!r:.80}, which is not a function for pickles")
        self._spend(sum(len(value) for value in arguments if isinstance(value, Sized)))
        self.stack.append(callee.function(*arguments))

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        target = self._target(OrderedDict)
        # The versions of modules, which PyTorch keeps beside their state; no other attributes, which hide methods.
        if type(state) is not dict or state.keys() != {"_metadata"}:
            raise UnpicklingError("its pickle sets attributes of an OrderedDict, which weights do not need")
        target._metadata = state["_metadata"]


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
# With what they cost of what calls may copy: an empty set is two hundred bytes.
_EMPTY: dict[str, tuple[Callable[[], Any], int]] = {
    "EMPTY_LIST": (list, 0),
    "EMPTY_DICT": (dict, 0),
    "EMPTY_SET": (set, 64),
}
_ARGUMENTS = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINSTRING BINSTRING "
    "SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "ADDITEMS": _Machine._additems,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "BUILD": _Machine._build,
    "FROZENSET": _Machine._frozenset,
    "GLOBAL": _Machine._global,
    "MARK": _Machine._mark,
    "REDUCE": _Machine._reduce,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "STACK_GLOBAL": _Machine._stack_global,
    "TUPLE": _Machine._tuple,
}
