"""Tensors that are changed in place by others, and saved tensors that may be changed."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from ..backends import Array, backend_of, is_array
from .grad_mode import mode
from .saved import saved_tensors_hooks
from .tape import Observer, observing, wrap
from .variable import Counter, Variable, bump


def increment_version(tensor: Variable | Iterable[Variable]) -> None:
    """Tell autograd that the memory of a tensor, or of several, was changed by something that it does not see.

    A kernel of your own, say, that wrote to `data_ptr()`: a backward pass that needs the old values then raises.
    Inference tensors have no version.

    >>> import gradcore as torch
    >>> x = torch.zeros(3)
    >>> x.numpy()[0] = 1
    >>> torch.autograd.graph.increment_version(x)
    >>> x._version
    1

    Raises:
        RuntimeError: something else than tensors is given.
    """
    if not isinstance(tensor, Variable) and not isinstance(tensor, Iterable):
        raise RuntimeError("increment_version expect a Iterable[Tensor] as input")
    tensors = [tensor] if isinstance(tensor, Variable) else list(tensor)
    for t in tensors:
        if not isinstance(t, Variable):
            raise RuntimeError("increment_version expects each element of the iterable to be a tensor")
    for t in tensors:
        bump(t.counter())


class _Handle:
    """Stands for a saved array: the array itself, or a copy from before its first change; None when cleared."""

    __slots__ = ("__weakref__", "array", "copied", "counter", "version")

    def __init__(self, t: Variable):
        self.array: Array | None = t._array
        self.counter: Counter = t.counter()
        self.version = self.counter[1]
        self.copied = False


class SavedTensors(Observer):
    """The saved tensors of an `allow_mutation_on_saved_tensors` block."""

    def __init__(self) -> None:
        # By the memory that they lie in. What was copied has been taken out.
        self._waiting: dict[int, weakref.WeakSet[_Handle]] = {}
        self._all: weakref.WeakSet[_Handle] = weakref.WeakSet()

    def clear(self) -> None:
        """Forget what was saved; the backward pass that needs it will raise."""
        for handle in self._all:
            handle.array = None
        self._all.clear()
        self._waiting.clear()

    def changing(self, target: Variable) -> None:
        for handle in self._waiting.pop(_memory(target._array), ()):
            if handle.array is not None:
                handle.array, handle.copied = backend_of(handle.array).copy(handle.array), True

    def _pack(self, t: Any) -> _Handle:
        handle = _Handle(t)
        self._all.add(handle)
        self._waiting.setdefault(_memory(t._array), weakref.WeakSet()).add(handle)
        return handle

    def _unpack(self, handle: _Handle) -> Any:
        if handle.array is None:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' contextin which the graph was "
                "originally recorded."
            )
        if handle.counter[1] != handle.version and not handle.copied:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified in a way that "
                "'allow_mutation_on_saved_tensors' learned of afterwards: by increment_version(), or by a Function "
                "whose forward uses no tensor operations for it. Save a clone()."
            )
        return wrap(handle.array)


def _memory(array: Array) -> int:
    """What tells the memory of an array, while it lives, from that of others."""
    while is_array(array.base):
        array = array.base
    return id(array)


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[SavedTensors]:
    """Allow saved tensors to be changed in place: they are copied just before, and the backward pass uses the copy.

    A context manager. The forward pass, the changes and the backward pass belong into one block, which gives an object
    with `clear()`. Each thread has its own.

    >>> import gradcore as torch
    >>> a = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.allow_mutation_on_saved_tensors():
    ...     b = a.clone()
    ...     out = (b**2).sum()
    ...     b = b.sin_()
    ...     out.backward()
    >>> a.grad
    tensor([2., 2.])

    Raises:
        RuntimeError: on entry, within another such block.
        AssertionError: in a backward pass outside of the block that recorded the graph.
    """
    if any(isinstance(observer, SavedTensors) for observer in mode.observers):
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    saved = SavedTensors()
    try:
        with saved_tensors_hooks(saved._pack, saved._unpack), observing(saved):
            yield saved
    finally:
        saved.clear()
