"""What `forward` of a `Function` computes and keeps for `backward`, and why that cannot be differentiated again.

Operations inside `forward` are not recorded. A tensor computed there is therefore a constant to a second derivative,
which would leave out all that depends on it (PyTorch issue 76185). Under `create_graph` it gets a history that leads to
the inputs of the function and refuses to be followed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from ..expr.graph import input_names
from ..ops.elementwise import Elementwise
from .tape import Observer, edge_of
from .variable import Node, Variable, reachable


class Trail(Observer):
    """Which tensors depend on `sources`: it observes the operations of one call of `forward`.

    It is the memory that depends, so that views and changes in place need no thought: tensors that share it share their
    version counter. What is not of a floating point dtype does not depend on anything, nor do results that are
    constant piecewise (`sign`, `floor`). Numbers taken out by `item()` are not followed, arrays are: what is made of
    arrays after one was taken out depends.
    """

    def __init__(self, sources: Iterable[Variable]):
        self._counters: dict[int, Any] = {}
        self._given_out = False
        self.add(sources)

    def add(self, tensors: Iterable[Any]) -> None:
        """Count those that are tensors among the sources."""
        for t in tensors:
            if isinstance(t, Variable):
                counter = t.counter()
                self._counters[id(counter)] = counter

    def done(self, op: Any, inputs: Sequence[Any], attrs: Any, results: Sequence[Any]) -> None:
        if inputs:
            counters = self._counters
            for t in inputs:
                if isinstance(t, Variable) and id(t._counter) in counters and t._array.dtype.kind in "fV":
                    break
            else:
                return
            if isinstance(op, Elementwise) and _is_flat(op):
                return
        elif not self._given_out:
            return
        self._given_out = self._given_out or not results
        self.add(results)

    def reaches(self, t: Variable) -> bool:
        """Whether `t` depends on the sources."""
        return id(t._counter) in self._counters and t._array.dtype.kind in "fV"


def is_cut(t: Variable, placed: Sequence[Variable], trail: Trail | None) -> bool:
    """Whether `t`, which has a history and depends on the inputs, does so in a way that its history does not show: by a
    leaf that is not `placed` and that `trail` reaches."""
    return any(
        not isinstance(edge, Node) and (trail is None or trail.reaches(edge)) and not any(edge is p for p in placed)
        for edge in reachable([edge_of(t)])
    )


@cache
def _is_flat(op: Elementwise) -> bool:
    """Whether the derivative of an op is 0 everywhere."""
    if not op.plain:
        return False
    programs = op.plan((True,) * len(op.inputs), (op.default_key, (False,) * len(op.inputs))).programs
    return programs is not None and not input_names(programs[1].outputs)


def tensors_in(value: Any) -> Iterator[Variable]:
    """The tensors in a value: itself, or those in (nested) tuples, lists and dictionaries."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Variable):
            yield value
        elif isinstance(value, (tuple, list, dict)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)


class Computed:
    """Tensors that `forward` computed and that a ctx keeps; it does not keep them alive itself."""

    __slots__ = ("_tensors",)

    def __init__(self) -> None:
        self._tensors: dict[int, weakref.ref[Variable]] = {}

    def add(self, t: Variable) -> None:
        """Count `t` among them."""
        self._tensors[id(t)] = weakref.ref(t)

    def __contains__(self, t: Any) -> bool:
        reference = self._tensors.get(id(t))
        return reference is not None and reference() is t

    def replaced(self, value: Any, replace: Any) -> Any:
        """`value` with `replace(t)` in the place of each of them; the same object if there is none."""
        if isinstance(value, Variable):
            return replace(value) if value in self else value
        if not any(t in self for t in tensors_in(value)):
            return value
        if isinstance(value, dict):
            return {k: self.replaced(v, replace) for k, v in value.items()}
        items = [self.replaced(v, replace) for v in value]
        return items if isinstance(value, list) else type(value)(*items) if hasattr(value, "_fields") else tuple(items)
