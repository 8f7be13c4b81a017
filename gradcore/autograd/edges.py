"""Edges of the graph, in the place of the tensors that they belong to."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backends import backend_for
from .tape import wrap
from .variable import AccumulateGrad, Node
from .walk import device_of


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor goes: result `output_nr` of `node`.

    `autograd.grad` and `autograd.backward` take it in the place of the tensor, which need not be kept alive.
    """

    node: Node
    output_nr: int
    ownership_token: Any = None


def tensor_of(value: Any) -> Any:
    """A tensor as it is; for an edge, the leaf it leads to, or a tensor without memory that stands for the result."""
    if not isinstance(value, GradientEdge):
        return value
    node = value.node
    if isinstance(node, AccumulateGrad):
        return node.variable
    shape, dtype = (node.shape, node.dtype) if node.outputs is None else node.outputs[value.output_nr][:2]
    backend = backend_for(device_of(node))
    t = wrap(backend.xp.broadcast_to(backend.full((), 0, dtype), shape))
    t._node, t._index, t._requires_grad = node, value.output_nr, True
    return t
