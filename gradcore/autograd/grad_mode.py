"""Whether operations are recorded: `no_grad`, `enable_grad`, `set_grad_enabled`; for each thread separately."""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True
    # Whether what is made now are inference tensors.
    inference = False
    # The transforms that run, outermost first, whose tensors stand for more than they are (see `tracer`); and, for
    # each, whether operations on what is below it are recorded.
    levels: tuple[Any, ...] = ()
    below: tuple[bool, ...] = ()
    # While gradients are checked: complaints about gradients that had to be converted to their tensor's dtype.
    converted: list[str] | None = None
    # The innermost backward pass that is running.
    running: Any = None
    # The level of forward mode that is entered, and the same while operations pass tangents on.
    dual_level: Any = None
    dual: Any = None
    # Pairs of functions that saved tensors go through, innermost last, and why there must be none now.
    saved_hooks: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = ()
    no_saved_hooks: str | None = None
    # The dtypes that ops are computed in, by type of device, where autocast is on; None if it is on nowhere.
    autocast: Any = None
    # The `tape.Observer`s of this thread.
    observers: tuple[Any, ...] = ()


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether this thread records operations."""
    return mode.enabled


def _set(value: bool) -> None:
    """What the user asks for holds for everything that runs."""
    value = value and not mode.inference
    mode.enabled, mode.below = value, (value,) * len(mode.below)


class recording:
    """Set the mode of the uppermost tape alone: what is below the running transforms is recorded as it was."""

    __slots__ = ("_before", "_value")

    def __init__(self, value: bool) -> None:
        self._value = value

    def __enter__(self) -> None:
        self._before, mode.enabled = mode.enabled, self._value

    def __exit__(self, *exc: object) -> None:
        mode.enabled = self._before


class _GradMode:
    """A context manager and decorator that sets the mode on entry and restores it on exit."""

    _value: bool

    def __init__(self) -> None:
        self._previous: list[tuple[bool, tuple[bool, ...]]] = []

    def __enter__(self) -> None:
        self._previous.append((mode.enabled, mode.below))
        _set(self._value)

    def __exit__(self, *exc: object) -> None:
        mode.enabled, mode.below = self._previous.pop()

    def _fresh(self) -> _GradMode:
        return type(self)()

    def _driven(self, running: Any) -> Any:
        """Run a generator or coroutine: the mode holds in its own code, not while it is suspended."""
        step, value = running.send, None
        while True:
            try:
                with self._fresh():
                    item = step(value)
            except StopIteration as stop:
                return stop.value
            try:
                step, value = running.send, (yield item)
            except GeneratorExit:
                with self._fresh():
                    running.close()
                raise
            except BaseException as error:
                step, value = running.throw, error

    def __call__(self, function: F) -> F:
        wrapped: Any
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                return (yield from self._driven(function(*args, **kwargs)))

        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                return await types.coroutine(self._driven)(function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self._fresh():
                    return function(*args, **kwargs)

        return wrapped


class no_grad(_GradMode):
    """Record nothing: results do not require grad.

    >>> import gradcore as torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    _value = False

    @overload
    def __new__(cls, function: None = None) -> Self: ...
    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        # Used as a bare decorator: @no_grad
        return super().__new__(cls) if function is None else super().__new__(cls)(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()


class enable_grad(no_grad):
    """Record again, inside `no_grad`."""

    _value = True


class set_grad_enabled(_GradMode):
    """Set the mode at once; used with `with`, until the end of the block."""

    def __init__(self, mode_: bool):
        super().__init__()
        self._value = bool(mode_)
        self._before = mode.enabled, mode.below
        _set(self._value)

    def __enter__(self) -> None:
        self._previous.append(self._before)
        _set(self._value)

    def _fresh(self) -> _GradMode:
        return set_grad_enabled(self._value)

    def __call__(self, function: F) -> F:
        mode.enabled, mode.below = self._before
        return super().__call__(function)
