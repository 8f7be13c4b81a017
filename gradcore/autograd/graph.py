"""The graph itself: its nodes and edges, hooks on several tensors at once, and what is saved for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .edges import GradientEdge
from .grad_mode import mode as current
from .hooks import RemovableHandle
from .mutation import allow_mutation_on_saved_tensors, increment_version
from .saved import disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks
from .tape import edge_of, wants_grad
from .variable import AccumulateGrad, Node, Variable

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge of a tensor that requires grad; that of a leaf leads to its `AccumulateGrad`.

    >>> import gradcore as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> edge = torch.autograd.graph.get_gradient_edge(y)
    >>> torch.autograd.grad(y.exp(), edge)
    (tensor(8103.0840),)

    Raises:
        RuntimeError: the tensor does not require grad.
    """
    if not wants_grad(tensor):
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    edge: Any = edge_of(tensor)
    return GradientEdge(AccumulateGrad.of(edge) if isinstance(edge, Variable) else edge, tensor._index)


class _Handles(RemovableHandle):
    """The handles of several hooks that belong together."""

    def __init__(self, handles: Sequence[RemovableHandle]):
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def register_multi_grad_hook(
    tensors: Sequence[Any], fn: Callable[[Any], None], *, mode: str = "all"
) -> RemovableHandle:
    """Call `fn` once in each backward pass that computes gradients of `tensors`.

    Args:
        tensors: tensors that require grad.
        fn: with `mode="all"`, called with the list of their gradients, None for those that the pass does not compute,
            once the last one is there; with `mode="any"`, called with the first gradient. What it returns is ignored.

    Returns:
        A handle with `remove()`.

    >>> import gradcore as torch
    >>> a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> handle = torch.autograd.graph.register_multi_grad_hook((a, b), print)
    >>> (a * 2 + b).sum().backward()
    [tensor([2.]), tensor([1.])]

    Raises:
        ValueError: for another mode.
        RuntimeError: a tensor does not require grad.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    for t in tensors:
        if not wants_grad(t):
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    edges = [edge_of(t) for t in tensors]
    hook = _all_hook(fn, edges) if mode == "all" else _any_hook(fn)
    return _Handles([t.register_hook(hook(i)) for i, t in enumerate(tensors)])


def _all_hook(fn: Callable[[Any], None], edges: Sequence[Any]) -> Callable[[int], Callable[[Any], None]]:
    key = object()

    def hook(i: int) -> Callable[[Any], None]:
        def arrived(gradient: Any) -> None:
            running = current.running
            if key not in running.notes:
                running.notes[key] = [sum(running.reaches(edge) for edge in edges), [None] * len(edges)]
            note = running.notes[key]
            note[0] -= 1
            note[1][i] = gradient
            if note[0] == 0:
                fn(note[1])

        return arrived

    return hook


def _any_hook(fn: Callable[[Any], None]) -> Callable[[int], Callable[[Any], None]]:
    key = object()

    def hook(i: int) -> Callable[[Any], None]:
        def arrived(gradient: Any) -> None:
            if key not in current.running.notes:
                current.running.notes[key] = True
                fn(gradient)

        return arrived

    return hook
