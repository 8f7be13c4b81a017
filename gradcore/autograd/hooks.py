"""Hooks: functions that the backward pass calls with the gradients of tensors, nodes and leaves."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..ops.shape import clone
from .tape import type_name, wrap
from .variable import Extra, Variable

_ids = itertools.count()

# Held while gradients are added up: several passes may reach one tensor at once.
accumulating = threading.Lock()

Hooks = dict[int, Callable[..., Any]]


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook away."""

    def __init__(self, hooks: dict[int, Any], key: int):
        self._hooks, self.id = hooks, key

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register(hooks: dict[int, Any], hook: Any) -> RemovableHandle:
    """Add `hook` to those of a tensor or node."""
    key = next(_ids)
    hooks[key] = hook
    return RemovableHandle(hooks, key)


def not_ours(array: Any) -> Any:
    """`array`, which somebody else may hold, as a view: what is a view is copied, not handed over to `.grad`."""
    return array[...]


def run_tensor_hooks(extra: Extra, g: Any, several: bool, create_graph: bool) -> Any:
    """The gradient, or gradients, of a node's results after the hooks of those; retained gradients are noted."""
    values = list(g) if several else [g]
    for index, hooks in extra.hooks.items():
        if values[index] is not None:
            values[index] = apply_hooks(hooks, values[index], create_graph)
    for index, reference in extra.retained.items():
        t, g = reference(), values[index]
        if t is not None and g is not None:
            g = clone(g if create_graph else wrap(g))
            with accumulating:
                t._grad = g if t._grad is None else t._grad + g
    return values if several else values[0]


def apply_hooks(hooks: Hooks, g: Any, create_graph: bool) -> Any:
    """The gradient after the hooks of a tensor, each of which may replace it."""
    for hook in tuple(hooks.values()):
        t = g if create_graph else wrap(g)
        result = hook(t)
        if result is not None:
            _check(hook, t, result)
            g = result if create_graph else result._array
    # A hook may have kept it.
    return g if create_graph else not_ours(g)


def run_prehooks(hooks: Hooks, gs: Sequence[Any], create_graph: bool) -> list[Any]:
    """The gradients of a node's results after its prehooks, each of which may replace all of them."""
    values = _shown(gs, create_graph)
    for hook in tuple(hooks.values()):
        values = _replaced(hook, values, hook(values))
    return _taken(values, create_graph)


def run_posthooks(hooks: Hooks, results: Sequence[Any], gs: Sequence[Any], create_graph: bool) -> list[Any]:
    """The gradients of a node's inputs after its hooks, each of which may replace all of them."""
    values, given = _shown(results, create_graph), _shown(gs, create_graph)
    for hook in tuple(hooks.values()):
        values = _replaced(hook, values, hook(values, given))
    return _taken(values, create_graph)


def _shown(gs: Sequence[Any], create_graph: bool) -> tuple[Any, ...]:
    return tuple(gs) if create_graph else tuple([None if g is None else wrap(g) for g in gs])


def _taken(values: Sequence[Any], create_graph: bool) -> list[Any]:
    return list(values) if create_graph else [None if t is None else not_ours(t._array) for t in values]


def _replaced(hook: Any, values: tuple[Any, ...], result: Any) -> tuple[Any, ...]:
    if result is None:
        return values
    if not isinstance(result, tuple):
        raise TypeError(
            f"expected tuple, but hook returned '{type(result).__name__}' (hook '{_name(hook)}': return a tuple of "
            f"{len(values)} gradients, or None)"
        )
    if len(result) != len(values):
        raise RuntimeError(
            f"hook '{_name(hook)}' has returned an incorrect number of values (got {len(result)}, but expected "
            f"{len(values)})"
        )
    for before, after in zip(values, result):
        if after is not None:
            _check(hook, before, after)
    return result


def _check(hook: Any, before: Any, after: Any) -> None:
    """Complain unless `after` can stand in the place of `before`."""
    if not isinstance(after, Variable):
        raise TypeError(
            f"expected Variable, but hook returned '{type(after).__name__}' (hook '{_name(hook)}': return a Tensor or "
            "None)"
        )
    if before is None:
        return
    if after._array.shape != before._array.shape:
        raise RuntimeError(f"hook '{_name(hook)}' has changed the size of value")
    if after._array.dtype != before._array.dtype:
        raise RuntimeError(
            f"hook '{_name(hook)}' has changed the type of value (was {type_name(before._array)} got "
            f"{type_name(after._array)})"
        )


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
