"""`backward` and `grad`: the public ways into the engine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import backend_of
from ..ops.convert import to_copy
from . import engine
from .batching import for_each
from .edges import GradientEdge, tensor_of
from .grad_mode import mode
from .hooks import not_ours
from .tape import tell, wants_grad, wrap
from .variable import Variable

Tensors = Variable | GradientEdge | Sequence[Variable | GradientEdge]


def _sequence(x: Any) -> tuple[Any, ...]:
    if isinstance(x, Variable) or x is None:
        return (x,)
    return tuple([tensor_of(t) for t in ((x,) if isinstance(x, GradientEdge) else x)])


def _check_input(t: Any) -> None:
    if not isinstance(t, Variable):
        raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}")


def _seeds(outputs: Sequence[Variable], grads: Sequence[Any], tensors: bool) -> list[tuple[Variable, Any]]:
    """Each output with its gradient, checked, as arrays or tensors; ones for scalars where None is given."""
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    roots = []
    for i, (out, g) in enumerate(zip(outputs, grads)):
        if not isinstance(out, Variable):
            raise AssertionError("Expected output to be a gradcore.Tensor")
        array = out._array
        if not wants_grad(out):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            value = backend_of(array).full(array.shape, 1, array.dtype)
            roots.append((out, wrap(value) if tensors else value))
            continue
        if not isinstance(g, Variable):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        if g._array.shape != array.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of gradcore.Size({list(g._array.shape)}) and "
                f"output[{i}] has a shape of gradcore.Size({list(array.shape)})."
            )
        if backend_of(g._array) is not backend_of(array):
            raise RuntimeError(
                f"backward(): gradient {i} is on {backend_of(g._array).device} but its tensor is on "
                f"{backend_of(array).device}; move the gradient with .to()"
            )
        if g._array.dtype != array.dtype:
            g = to_copy(g, dtype=dtypes.from_numpy(array.dtype))
        roots.append((out, g if tensors else not_ours(g._array)))
    return roots


def _check_batched(outputs: Sequence[Variable], grads: Sequence[Any]) -> None:
    """RuntimeError unless gradients are there, and are batches of gradients of the outputs."""
    if all(g is None for g in grads):
        raise RuntimeError("grad(): is_grads_batched=True takes grad_outputs, with a batch in their first dimension")
    for i, (out, g) in enumerate(zip(outputs, grads)):
        if isinstance(g, Variable) and (g._array.ndim == 0 or g._array.shape[1:] != out._array.shape):
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                "dimension. The sizes of the remaining dimensions are expected to match the shape of corresponding "
                f"output, but a mismatch was detected: grad_output[{i}] has a shape of "
                f"gradcore.Size({list(g._array.shape)}) and output[{i}] has a shape of "
                f"gradcore.Size({list(out._array.shape)}). If you only want some tensors in `grad_output` to be "
                "considered batched, consider using vmap."
            )


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves below them, or of `inputs` alone.

    `grad_tensors` are the gradients of the tensors themselves (default: 1 for scalars). `create_graph` records the
    pass, for higher derivatives; `retain_graph` (default: `create_graph`) keeps the graph for another pass. Tensors may
    be given as their `graph.GradientEdge`.
    """
    if mode.levels:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use functorch.grad or "
            "functorch.vjp instead or call backward() outside of functorch transforms."
        )
    outputs = _sequence(tensors)
    grads = (None,) * len(outputs) if grad_tensors is None else _sequence(grad_tensors)
    if create_graph:
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its "
            "gradient which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid "
            "this. If you have to use this function, make sure to reset the .grad fields of your parameters to None "
            "after use to break the cycle and avoid the leak.",
            UserWarning,
            stacklevel=3,
        )
    wanted: list[Any] | None = None
    if inputs is not None:
        wanted = list(_sequence(inputs))
        if not wanted:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        for i, t in enumerate(wanted):
            _check_input(t)
            if not wants_grad(t):
                raise RuntimeError(f"One of the differentiated Tensors does not require grad (inputs[{i}])")
    engine.run(
        _seeds(outputs, grads, create_graph or mode.dual is not None),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        inputs=wanted,
    )


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, as tensors; no `.grad` is touched.

    With `is_grads_batched` the first dimension of each of `grad_outputs` runs over a batch of gradients, and so does
    that of the results: one pass, by `vmap`, does for all of them.

    >>> import gradcore as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (g,) = torch.autograd.grad(x**3, x, create_graph=True)
    >>> torch.autograd.grad(g, x)
    (tensor(18.),)
    """
    outs, ins = _sequence(outputs), _sequence(inputs)
    grads = (None,) * len(outs) if grad_outputs is None else _sequence(grad_outputs)
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if not ins:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for t in ins:
        _check_input(t)
        if not wants_grad(t):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    if is_grads_batched:
        _check_batched(outs, grads)
        once = (retain_graph, create_graph, allow_unused, False, materialize_grads)
        return tuple(for_each(lambda *each: grad(outs, ins, each, *once), *grads))
    found = engine.run(
        _seeds(outs, grads, create_graph or mode.dual is not None),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        inputs=ins,
        accumulate=False,
    )
    assert found is not None
    results: list[Any] = []
    for i, (t, g) in enumerate(zip(ins, found)):
        if g is None:
            if materialize_grads:
                g = backend_of(t._array).full(t._array.shape, 0, t._array.dtype)
            elif not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
        results.append(g if g is None or isinstance(g, Variable) else wrap(g))
    tell(None, (*outs, *ins), {}, [g for g in results if g is not None])
    return tuple(results)
