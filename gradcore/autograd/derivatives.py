"""What `autograd.functional` and `func` are made of: variables to differentiate by, gradients where there may be none,
Jacobians row by row and column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..backends import backend_of
from ..ops.shape import stack, view
from .api import grad
from .tape import node_of, wants_grad, wrap

_LEAF = "a leaf Variable that requires grad is being used in an in-place operation."


def variable_of(t: Any, connected: bool) -> Any:
    """The values of `t` as another tensor to differentiate by; gradients flow on to `t` itself if `connected`.

    Being another, it is told apart from `t` where the function uses that too, as a closure.
    """
    if not (connected and wants_grad(t)):
        return t.detach().requires_grad_()
    out = view(t, shape=t._array.shape)
    # To whoever gets it this is a leaf: to change it in place would change the history of `t`.
    out._base, out._chain, out._severed = None, (), _LEAF
    return out


def with_history_of(t: Any) -> Any:
    """A tensor with the history that `t` has now, whatever is done to `t` in place later."""
    node = node_of(t)
    if node is None:
        return t
    out = wrap(t._array)
    out.set_history(node, t._index)
    return out


def filled_like(t: Any, value: float = 0) -> Any:
    """A tensor like `t`, without history, of one value."""
    array = t._array
    return wrap(backend_of(array).full(array.shape, value, array.dtype))


def gradients(
    outputs: Sequence[Any],
    inputs: Sequence[Any],
    grad_outputs: Sequence[Any] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Any, ...]:
    """As `grad`, with None for inputs that the outputs do not depend on; outputs may be None or without history."""
    seeds = (None,) * len(outputs) if grad_outputs is None else grad_outputs
    pairs = [(out, seed) for out, seed in zip(outputs, seeds) if out is not None and wants_grad(out)]
    if not pairs or not inputs:
        return (None,) * len(inputs)
    wanted, seeds = zip(*pairs)
    return grad(wanted, inputs, seeds, retain_graph, create_graph, allow_unused=True)


def rows(output: Any, inputs: Sequence[Any], create_graph: bool) -> Iterator[tuple[Any, ...]]:
    """For each element of `output`, its gradients with respect to `inputs`."""
    for i in range(output._array.size):
        unit = filled_like(output)
        unit._array.reshape(-1)[i] = 1
        yield gradients((output,), inputs, (unit,), create_graph=create_graph, retain_graph=True)


def stacked(found: Sequence[Any], output: Any, input: Any, dim: int = 0) -> Any:
    """The Jacobian of `output` by `input`, of shape `output.shape + input.shape`, from its rows (`dim` 0) or columns
    (`dim` -1); None stands for zeros."""
    shape = (*output._array.shape, *input._array.shape)
    if all(part is None for part in found):
        backend = backend_of(input._array)
        return wrap(backend.full(shape, 0, input._array.dtype if dim == 0 else output._array.dtype))
    like = input if dim == 0 else output
    parts = [filled_like(like) if part is None else part for part in found]
    return stack(*parts, dim=dim).reshape(shape)


def jacobian_by_rows(output: Any, inputs: Sequence[Any], create_graph: bool) -> list[Any]:
    """The Jacobian of `output` with respect to each of `inputs`: one backward pass for each of its elements."""
    found = list(rows(output, inputs, create_graph)) if wants_grad(output) else []
    return [stacked([row[k] for row in found], output, input) for k, input in enumerate(inputs)]


class Tangents:
    """The linear map from tangents of `inputs` to tangents of `outputs`, by two backward passes.

    The gradient of the inputs is linear in the gradients `seeds` of the outputs: the product of the transposed Jacobian
    with them. The gradient of that with respect to `seeds` is therefore the Jacobian times what goes in as its own
    gradient: the tangents. (J. Townsend, "A new trick for calculating Jacobian vector products", 2017.)
    """

    def __init__(self, outputs: Sequence[Any], inputs: Sequence[Any]):
        self.outputs, self.inputs = outputs, inputs
        self.seeds = [filled_like(out).requires_grad_() for out in outputs if wants_grad(out)]
        seeds = iter(self.seeds)
        each = [next(seeds) if wants_grad(out) else None for out in outputs]
        self.transposed = gradients(outputs, inputs, each, create_graph=True)

    def of(self, tangents: Sequence[Any], create_graph: bool) -> list[Any]:
        """The tangent of each output; None for those that do not depend on the inputs."""
        found = gradients(self.transposed, self.seeds, tangents, create_graph=create_graph, retain_graph=True)
        return self._aligned(found)

    def jacobians(self, create_graph: bool) -> list[list[Any]]:
        """For each output, the Jacobian with respect to each input: two passes for each element of the inputs."""
        columns = [
            [self._aligned(row) for row in rows(t, self.seeds, create_graph)] if t is not None else []
            for t in self.transposed
        ]
        return [
            [
                stacked([column[i] for column in found], output, input, dim=-1)
                for found, input in zip(columns, self.inputs)
            ]
            for i, output in enumerate(self.outputs)
        ]

    def _aligned(self, found: Sequence[Any]) -> list[Any]:
        remaining = iter(found)
        return [next(remaining) if wants_grad(out) else None for out in self.outputs]
