"""One application of a transform: what it differentiates by, and what of its results stays connected to the outside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd.derivatives import variable_of, without_history
from ..autograd.grad_mode import is_grad_enabled
from ..autograd.tape import edge_of, wants_grad
from ..autograd.variable import Node, Variable, next_sequence
from ..tensor.tensor import Tensor
from ..utils._pytree import tree_map


class _Scope:
    """Whether the function of a level is running. Apart from the level, which its variables must not keep alive."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = False


class Level:
    """The variables of one transform; a context manager around the function that it runs.

    There is one tape for all levels. A result's history ends with the level unless it leads outside: to a variable of
    an enclosing level, or to a tensor that the user differentiates by.
    """

    def __init__(self) -> None:
        self._start = next_sequence()
        self._scope = _Scope()
        # Of nodes and leaves: whether they lead outside.
        self._known: dict[Node | Variable, bool] = {}

    def __enter__(self) -> None:
        self._scope.running = True

    def __exit__(self, *exc: object) -> None:
        self._scope.running = False

    def variables(self, tree: Any) -> Any:
        """The tree with a variable of this level in the place of each tensor. ValueError for anything else."""
        return tree_map(self._variable, tree)

    def _variable(self, t: Any) -> Any:
        if not isinstance(t, Variable):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(t)}")
        variable = variable_of(t, connected=is_grad_enabled())
        self.own((variable,))
        return variable

    def own(self, variables: Iterable[Any]) -> None:
        """Count the leaves among `variables` as this level's."""
        for t in variables:
            if t._node is None:
                t._scope = self._scope

    def leads_out(self, *tensors: Any) -> bool:
        """Whether gradients are recorded and any of `tensors` depends on something outside of this level."""
        return is_grad_enabled() and any(wants_grad(t) and self._follow(edge_of(t)) for t in tensors)

    def _follow(self, start: Any) -> bool:
        known = self._known
        stack = [start]
        while stack:
            edge = stack[-1]
            if edge in known:
                stack.pop()
            elif edge.__class__ is not Node:
                scope = edge._scope
                known[edge] = scope is None or (scope.running and scope is not self._scope)
            elif edge.sequence > self._start:  # the clock runs backwards: recorded before this level began
                known[edge] = True
            else:
                below = [e for e in edge.edges if e is not None]
                unknown = [e for e in below if e not in known]
                if unknown and not any(known.get(e) for e in below):
                    stack.extend(unknown)
                else:
                    known[edge] = any(known.get(e) for e in below)
        return known[start]

    def released(self, tree: Any) -> Any:
        """The tree with its tensors as they are outside: without history, unless that leads out."""
        return tree_map(self._released, tree)

    def _released(self, x: Any) -> Any:
        return x if not isinstance(x, Tensor) or self.leads_out(x) else without_history(x)
