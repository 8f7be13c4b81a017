"""The graph below tensors, as a list; and the names that a module gives to its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..backends import backend_of, is_array
from ..devices import device
from .tape import edge_of, wants_grad
from .variable import Node, Variable, reachable


def graph_below(
    caller: str, tensors: Variable | Sequence[Variable]
) -> tuple[list[Variable], list[Node], list[Variable]]:
    """The tensors as a list, the nodes that made them in the order of the backward pass, and the leaves at the end.

    Raises:
        TypeError: something else than a tensor is given.
        RuntimeError: a tensor has no graph, worded as `backward()` does.
    """
    roots = [tensors] if isinstance(tensors, Variable) else list(tensors)
    for i, t in enumerate(roots):
        if not isinstance(t, Variable):
            raise TypeError(f"{caller}(): expected a Tensor or a sequence of Tensors, got {type(t).__name__}")
        if not wants_grad(t):
            raise RuntimeError(f"{caller}(): element {i} of tensors does not require grad and does not have a grad_fn")
    # The clock of the tape runs backwards.
    nodes = sorted((e for e in reachable(map(edge_of, roots)) if isinstance(e, Node)), key=lambda node: node.sequence)
    met = dict.fromkeys(e for edges in (*(n.edges for n in nodes), map(edge_of, roots)) for e in edges)
    return roots, nodes, [e for e in met if isinstance(e, Variable)]


def device_of(node: Node) -> device:
    """Where a node's results lie: where it or what it keeps says, or else where its inputs lie."""
    while True:
        told = told_device(node)
        if told is not None:
            return told
        edge: Any = next(e for e in node.edges if e is not None)
        if not isinstance(edge, Node):
            return backend_of(edge._array).device
        node = edge


def told_device(node: Node) -> device | None:
    """Where a node's results lie, if it or what it keeps says so."""
    told = node.outputs[0][2] if node.outputs else (node.attrs or {}).get("device")
    if told is None and node.meta:
        told = node.meta[0][2]
    if told is None:
        source = next((a for a in node.saved or () if is_array(a)), None)
        told = None if source is None else backend_of(source).device
    return told


def names_of(caller: str, names: Any) -> dict[Variable, str]:
    """The names of tensors: of a module's parameters and buffers, or as a mapping of names to tensors gives them."""
    pairs: Iterable[tuple[Any, Any]]
    if names is None:
        return {}
    if isinstance(names, Mapping):
        pairs = names.items()
    elif hasattr(names, "named_parameters"):
        pairs = [*names.named_parameters(), *names.named_buffers()]
    else:
        raise TypeError(
            f"{caller}(): names must be a Module or a mapping of names to tensors, such as "
            f"dict(model.named_parameters()), got {type(names).__name__}"
        )
    return {t: str(name) for name, t in pairs if isinstance(t, Variable)}
