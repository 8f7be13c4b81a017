"""Hooks of optimizers: functions called before and after a step, and when state is saved or loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..autograd.hooks import RemovableHandle, register

if TYPE_CHECKING:
    from .optimizer import Optimizer

Hook = Callable[..., Any]

# Those of all optimizers.
_before: dict[int, Hook] = {}
_after: dict[int, Hook] = {}


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before every step of every optimizer."""
    return register(_before, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after every step of every optimizer."""
    return register(_after, hook)


class Hooked:
    """The hooks of one optimizer."""

    # By what they are called for; made when the first is registered.
    _hooks: dict[str, dict[int, Hook]] | None = None
    _is_stepping = False

    def _register(self, event: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        if self._hooks is None:
            self._hooks = {}
        hooks = self._hooks.setdefault(event, {})
        handle = register(hooks, hook)
        if prepend:
            others = {key: h for key, h in hooks.items() if key != handle.id}
            hooks.clear()
            hooks.update({handle.id: hook, **others})
        return handle

    def _hooks_of(self, event: str) -> Iterator[Hook]:
        return iter(()) if self._hooks is None else iter(tuple(self._hooks.get(event, {}).values()))

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before a step; it may return other `(args, kwargs)`."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after a step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict()` is made."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` when `state_dict()` is made; it may return another."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict()`; it may return another to load instead."""
        return self._register("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after `load_state_dict()`."""
        return self._register("load_state_dict_post", hook, prepend)


def noted(step: Callable[..., Any]) -> Callable[..., Any]:
    """A method `step` that tells schedules and hooks of itself."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._stepped = True
        if (self._hooks is None and not _before and not _after) or self._is_stepping:
            return step(self, *args, **kwargs)
        given: Any = ((self, *args), kwargs)
        for hook in chain(tuple(_before.values()), self._hooks_of("step_pre")):
            changed = hook(self, *given)
            if changed is None:
                continue
            if not isinstance(changed, tuple) or len(changed) != 2:
                raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}.")
            given = changed
        self._is_stepping = True  # (a step that calls that of its base class is one step)
        try:
            result = step(*given[0], **given[1])
        finally:
            self._is_stepping = False
        for hook in chain(self._hooks_of("step_post"), tuple(_after.values())):
            hook(self, *given)
        return result

    return wrapped
