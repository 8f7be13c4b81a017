"""What `autograd.functional` and `func` are made of: variables to differentiate by, gradients where there may be none,
Jacobians row by row and column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..backends import backend_of
from ..ops.shape import cat, permute, stack, view
from .api import grad
from .batching import for_each
from .grad_mode import mode
from .tape import node_of, wants_grad, wrap
from .tracer import lifted

_LEAF = "a leaf Variable that requires grad is being used in an in-place operation."


def variable_of(t: Any, connected: bool) -> Any:
    """The values of `t` as another tensor to differentiate by; gradients flow on to `t` itself if `connected`.

    Being another, it is told apart from `t` where the function uses that too, as a closure.
    """
    t = _lifted(t)
    if not (connected and wants_grad(t)):
        return leaf_of(t)
    out = view(t, shape=t._array.shape)
    # To whoever gets it this is a leaf: to change it in place would change the history of `t`.
    out._base, out._chain, out._severed = None, (), _LEAF
    return out


def without_history(t: Any) -> Any:
    """The same values and memory. Unlike `detach`, it leaves the tangent, and the history of what a tracer wraps."""
    out = wrap(t._array)
    out._counter = t.counter()
    return with_tangent_of(t, out)


def _lifted(t: Any) -> Any:
    out = lifted(t)
    # What forward mode was entered above of is wrapped with its tangent.
    within = out is not t and mode.dual is not None and mode.dual.depth == len(mode.levels)
    return with_tangent_of(t, out) if within else out


def with_tangent_of(t: Any, out: Any) -> Any:
    """`out`, which stands for `t`, with the tangent of that in forward mode."""
    if mode.dual is not None:
        from .tangents import set_tangent, tangent_of

        value = tangent_of(t)
        if value is not None:
            set_tangent(out, value)
    return out


def leaf_of(t: Any) -> Any:
    """A leaf that requires grad, with the values and memory of `t`."""
    out = without_history(_lifted(t))
    out._set_requires_grad(True, "only Tensors of floating point dtype can require gradients")
    return out


def with_history_of(t: Any) -> Any:
    """A tensor with the history that `t` has now, whatever is done to `t` in place later."""
    node = node_of(t)
    if node is None:
        return t
    out = wrap(t._array)
    out.set_history(node, t._index)
    return with_tangent_of(t, out)


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


def batched_rows(output: Any, inputs: Sequence[Any], create_graph: bool, chunk_size: int | None = None) -> list[Any]:
    """For each of `inputs`, its gradients for all elements of `output`, of shape `(output.numel(), *input.shape)`; None
    stands for zeros. One backward pass, by `vmap`, does for `chunk_size` elements."""
    array = output._array
    count = array.size
    if not wants_grad(output) or not count:
        return [None] * len(inputs)
    chunk = count if chunk_size is None else chunk_size
    parts = []
    for start in range(0, count, chunk):
        units = np.eye(min(chunk, count - start), count, start).reshape(-1, *array.shape).astype(array.dtype)
        parts.append(
            for_each(
                lambda unit: gradients((output,), inputs, (unit,), create_graph=create_graph, retain_graph=True),
                wrap(backend_of(array).from_host(units)),
            )
        )
    return [None if found[0] is None else found[0] if len(parts) == 1 else cat(*found, dim=0) for found in zip(*parts)]


def jacobian(output: Any, inputs: Sequence[Any], create_graph: bool, chunk_size: int | None = None) -> list[Any]:
    """As `jacobian_by_rows`, with many rows at once."""
    found = batched_rows(output, inputs, create_graph, chunk_size)
    return [
        stacked([], output, t) if block is None else block.reshape((*output._array.shape, *t._array.shape))
        for block, t in zip(found, inputs)
    ]


def _by_columns(block: Any) -> Any:
    return permute(block, dims=(*range(1, block._array.ndim), 0))


class Tangents:
    """The linear map from tangents of `inputs` to tangents of `outputs`, by two backward passes.

    The gradient of the inputs is linear in the gradients `seeds` of the outputs: the product of the transposed Jacobian
    with them. The gradient of that with respect to `seeds` is therefore the Jacobian times what goes in as its own
    gradient: the tangents. (J. Townsend, "A new trick for calculating Jacobian vector products", 2017.)
    """

    def __init__(self, outputs: Sequence[Any], inputs: Sequence[Any]):
        self.outputs, self.inputs = outputs, inputs
        self.seeds = [leaf_of(filled_like(out)) for out in outputs if wants_grad(out)]
        seeds = iter(self.seeds)
        each = [next(seeds) if wants_grad(out) else None for out in outputs]
        self.transposed = gradients(outputs, inputs, each, create_graph=True)

    def of(self, tangents: Sequence[Any], create_graph: bool) -> list[Any]:
        """The tangent of each output; None for those that do not depend on the inputs."""
        found = gradients(self.transposed, self.seeds, tangents, create_graph=create_graph, retain_graph=True)
        return self._aligned(found)

    def jacobians(self, create_graph: bool) -> list[list[Any]]:
        """For each output, the Jacobian with respect to each input: two passes for all elements of an input at once."""
        columns = [
            self._aligned([None] * len(self.seeds) if t is None else batched_rows(t, self.seeds, create_graph))
            for t in self.transposed
        ]
        return [
            [
                stacked([], output, input, dim=-1)
                if found[i] is None
                else _by_columns(found[i]).reshape((*output._array.shape, *input._array.shape))
                for found, input in zip(columns, self.inputs)
            ]
            for i, output in enumerate(self.outputs)
        ]

    def _aligned(self, found: Sequence[Any]) -> list[Any]:
        remaining = iter(found)
        return [next(remaining) if wants_grad(out) else None for out in self.outputs]
