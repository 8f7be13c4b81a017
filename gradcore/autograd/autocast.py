"""Casting the operands of ops while autocast is on, by the rules beside their declarations (`ops.precision`).

While a thread has autocast on it counts as a watcher of operations, so the short ways are closed and `apply` comes
here; nobody else pays. An op, once its operands are cast, runs with autocast off, and so does a function of several ops
that has a rule of its own.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .. import dtypes
from ..backends import backend_of
from ..ops.convert import to_copy
from ..ops.core import Attrs, Op
from ..ops.precision import Precision, Rule
from . import tape
from .grad_mode import mode
from .variable import Variable

F = TypeVar("F", bound=Callable[..., Any])

# The dtype that each type of device has as its lower precision, where it is on.
Lowered = Mapping[str, dtypes.dtype]

BANNED = (
    "gradcore.nn.functional.binary_cross_entropy and gradcore.nn.BCELoss are unsafe to autocast.\nMany models use a "
    "sigmoid layer right before the binary cross entropy layer.\nIn this case, combine the two layers using "
    "gradcore.nn.functional.binary_cross_entropy_with_logits\nor gradcore.nn.BCEWithLogitsLoss.  "
    "binary_cross_entropy_with_logits and BCEWithLogits are\nsafe to autocast."
)


class _Settings(threading.local):
    """What a thread has set, besides where autocast is on (`mode.autocast`)."""

    def __init__(self) -> None:
        self.dtypes = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
        self.keeps_casts = True
        self.nesting = 0
        # Leaves in lower precision, for as long as the outermost block lasts.
        self.casts: dict[Variable, tuple[Any, Any]] = {}


settings = _Settings()


def switch(lowered: Lowered | None) -> Lowered | None:
    """Have autocast on for these types of devices from now on; returns what was on before."""
    before, mode.autocast = mode.autocast, lowered or None
    change = (mode.autocast is not None) - (before is not None)
    if change:
        tape.watch(change)
    return before


class Snapshot:
    """A context manager: within its block autocast is set as it was when this was made."""

    def __init__(self) -> None:
        self._state = mode.autocast, dict(settings.dtypes)
        self._before: list[tuple[Lowered | None, dict[str, dtypes.dtype]]] = []

    def __enter__(self) -> None:
        lowered, lower = self._state
        self._before.append((switch(lowered), settings.dtypes))
        settings.dtypes = dict(lower)

    def __exit__(self, *exc: object) -> None:
        lowered, settings.dtypes = self._before.pop()
        switch(lowered)


def uncast(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function` with autocast off."""
    before, mode.autocast = mode.autocast, None  # (still counted as a watcher)
    try:
        return function(*args, **kwargs)
    finally:
        mode.autocast = before


def run(op: Op, inputs: Sequence[Any], attrs: Attrs) -> Any:
    """Run `op` as autocast wants it."""
    rule, device = _rule_of(op.precision, inputs)
    if rule is Rule.RESULT:
        if attrs.get("dtype") is None and _eligible(inputs[0], device):
            attrs = {**attrs, "dtype": dtypes.float32}
    elif rule is not None:
        inputs = _converted(rule, device, inputs)
    return uncast(tape.apply, op, inputs, attrs)


def with_precision(precision: Precision) -> Callable[[F], F]:
    """Let a function of several ops have a rule of its own (a decorator): its tensors are converted, and what it calls
    runs with autocast off."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if mode.autocast is None:
                return function(*args, **kwargs)
            given = [*args, *kwargs.values()]
            rule, device = _rule_of(precision, given)
            if rule is None:
                return function(*args, **kwargs)
            given = _converted(rule, device, given)
            return uncast(function, *given[: len(args)], **dict(zip(kwargs, given[len(args) :])))

        wrapped.precision = precision  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _rule_of(precision: Precision | None, values: Sequence[Any]) -> tuple[Rule | None, str]:
    """The rule for these operands, and the type of device that they are on."""
    if precision is None:
        return None, ""
    device = "cuda" if any(_type_of_device(t) == "cuda" for t in _tensors(values)) else "cpu"
    if device not in mode.autocast:
        return None, device
    return getattr(precision, device), device


def _tensors(values: Sequence[Any]) -> list[Variable]:
    found = []
    for x in values:
        if isinstance(x, Variable):
            found.append(x)
        elif x.__class__ in (list, tuple):
            found += [y for y in x if isinstance(y, Variable)]
    return found


def _type_of_device(t: Variable) -> str:
    return backend_of(t._array).device.type


def _eligible(t: Any, device: str) -> bool:
    """Whether autocast may convert `t`: to convert float64 is never what the user wants."""
    if not isinstance(t, Variable) or t._array.dtype.kind not in "fV":
        return False
    return t._array.dtype.itemsize < 8 and _type_of_device(t) == device


def _converted(rule: Rule, device: str, values: Sequence[Any]) -> list[Any]:
    """The values with tensors converted, those in lists too."""
    assert mode.autocast is not None
    if rule is Rule.BANNED:
        raise RuntimeError(BANNED)
    lower = mode.autocast[device]
    if rule is Rule.LOWER:
        dtype = lower
    elif rule is Rule.WIDEST:
        dtype = _widest(lower, [t for t in _tensors(values) if _eligible(t, device)])
    elif rule is Rule.QUOTIENT and isinstance(values[0], Variable):
        return list(values)
    else:
        dtype = dtypes.float32

    def convert(x: Any) -> Any:
        if x.__class__ in (list, tuple):
            return type(x)(map(convert, x))
        return cast(x, dtype, dtype is lower) if _eligible(x, device) else x

    return [convert(x) for x in values]


def _widest(lower: dtypes.dtype, tensors: Sequence[Variable]) -> dtypes.dtype:
    found = {dtypes.from_numpy(t._array.dtype) for t in tensors}
    if found - {lower, dtypes.float32}:
        raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")
    return dtypes.float32 if dtypes.float32 in found else lower


def cast(t: Any, dtype: dtypes.dtype, keep: bool = False) -> Any:
    """`t` as `dtype`; of a leaf that requires grad the result is kept, if `keep`, and used again.

    It is not used again once the leaf was changed in place, nor recorded if it was made under `no_grad`.
    """
    array = t._array
    if array.dtype == dtype.numpy:
        return t
    kept = keep and settings.keeps_casts and settings.nesting and t._requires_grad and t._node is None
    if not kept or t._base is not None or mode.levels or mode.dual is not None:
        return uncast(tape.apply, to_copy, (t,), {"dtype": dtype, "device": None})
    key = t.counter()[1], mode.enabled, dtype, id(array)
    found = settings.casts.get(t)
    if found is None or found[0] != key:
        found = settings.casts[t] = key, uncast(tape.apply, to_copy, (t,), {"dtype": dtype, "device": None})
    return found[1]
