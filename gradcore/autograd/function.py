"""`Function`: an operation with a derivative written by the user."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..backends import backend_of
from ..ops.core import Op, Plan
from ..ops.shape import view
from .grad_mode import mode, no_grad
from .hooks import not_ours
from .inplace import rebase
from .saved import FREED, unpacked
from .tape import edge_of, record, recorded, wants_grad, wrap
from .variable import Node, Variable, bump, describe


class FunctionCtx:
    """What `forward` leaves for `backward`. Constants may be kept as plain attributes."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Variable | None, ...] = ()
        # Where each saved tensor stands: (edge or "output", index of the result), None for None.
        self._places: tuple[Any, ...] = ()
        # For each output, whether it is a tensor: backward gets a gradient for those.
        self._tensors: tuple[bool, ...] = ()
        self._dirty: tuple[Variable, ...] = ()
        self._non_differentiable: tuple[Variable, ...] = ()
        self._materialize = True
        self._node: weakref.ref[Node] | None = None

    def save_for_backward(self, *tensors: Variable | None) -> None:
        """Keep inputs or outputs for `backward`, which finds them in `saved_tensors`."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Variable):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def mark_dirty(self, *tensors: Variable) -> None:
        """Tell which inputs `forward` changed in place; it must return them too."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Variable) -> None:
        """Tell which outputs have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs that no gradient arrived at."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors given to `save_for_backward`, with their place in the graph."""
        if self._node is None:
            return self._to_save
        node = self._node()
        if node is None:
            raise RuntimeError(FREED)
        tensors: list[Any] = []
        kept = iter(zip(unpacked(node), node.counters))
        for place in self._places:
            if place is None:
                tensors.append(None)
                continue
            edge, index = place
            array, counter = next(kept)
            if isinstance(edge, Variable):
                tensors.append(edge)
                continue
            t = wrap(array)
            t._counter = counter
            if edge == "output":
                edge = node
            if edge is not None:
                t._node, t._index, t._requires_grad = edge, index, True
            tensors.append(t)
        return tuple(tensors)


class _FunctionOp(Op):
    """Stands for a user's Function in the tape."""

    fill_grads = False

    def __init__(self, cls: type[Function]):
        super().__init__(cls.forward, name=cls.__name__, grad_name=f"{cls.__name__}Backward")


@functools.cache
def _plan_of(cls: type[Function]) -> Plan:
    return Plan(_FunctionOp(cls), (), (), functools.partial(_call_backward, cls))


def _call_backward(cls: type[Function], gs: Sequence[Any], saved: Sequence[Any], attrs: Any, meta: Any) -> list[Any]:
    """Run the user's backward on tensors; arrays in, arrays out unless it is being recorded."""
    ctx: FunctionCtx = attrs["ctx"]
    node = ctx._node() if ctx._node is not None else None
    assert node is not None
    recorded = mode.enabled
    outputs = node.outputs or ((node.shape, node.dtype, None),)
    example = next(x for x in gs if x is not None)
    backend = backend_of(example._array if isinstance(example, Variable) else example)
    tensor_grads: list[Any] = []
    for g, (shape, dtype, _) in zip(gs, outputs):
        if g is None and ctx._materialize:
            g = backend.full(shape, 0, dtype)
        tensor_grads.append(wrap(g) if g is not None and not isinstance(g, Variable) else g)
    each = iter(tensor_grads)
    rule = cls.backward if cls.vjp is Function.vjp else cls.vjp
    result = rule(ctx, *[next(each) if is_tensor else None for is_tensor in ctx._tensors])
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    expected = len(node.edges)
    while len(results) > expected and results[-1] is None:
        results.pop()
    if len(results) != expected:
        raise RuntimeError(
            f"function {node.name()} returned an incorrect number of gradients (expected {expected}, got "
            f"{len(results)})"
        )
    for i, r in enumerate(results):
        if r is not None and not isinstance(r, Variable):
            raise RuntimeError(
                f"expected Variable or None (got {type(r).__name__}) as gradient {i} of function {node.name()}"
            )
    return [r if r is None or recorded else not_ours(r._array) for r in results]


class Function:
    """Subclass it, define static methods `forward(ctx, ...)` and `backward(ctx, *grads)`, call `apply`.

    `forward` may instead take no ctx, with `setup_context(ctx, inputs, output)` beside it. `backward` gets one gradient
    for each output of `forward` and returns one for each of its inputs, None for those without.

    >>> import gradcore as torch
    >>> class Exp(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp()
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (y,) = ctx.saved_tensors
    ...         return grad * y
    >>> x = torch.zeros(2, requires_grad=True)
    >>> Exp.apply(x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    # PyTorch's other name for `backward`.
    vjp = backward

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record it."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(a, Variable) and wants_grad(a) for a in args)
        needed = mode.enabled and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args)
            several = isinstance(result, (tuple, list))
            outputs = list(result) if several else [result]
            for i, out in enumerate(outputs):
                if isinstance(out, Variable) and any(out is a for a in args) and not any(out is d for d in ctx._dirty):
                    outputs[i] = view(out, shape=out._array.shape)
        for t in ctx._dirty:
            if not any(t is o for o in outputs):
                raise RuntimeError(
                    "Some elements marked as dirty during the forward method were not returned as output. The inputs "
                    "that are modified inplace must all be outputs of the Function."
                )
            if needed and t._node is None and t._requires_grad:
                raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
            bump(t.counter())
        if needed and any(isinstance(o, Variable) for o in outputs):
            cls._record(ctx, args, outputs)
        return tuple(outputs) if several else outputs[0]

    @classmethod
    def _record(cls, ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any]) -> None:
        ctx._tensors = tuple(isinstance(o, Variable) for o in outputs)
        tensors = [o for o in outputs if isinstance(o, Variable)]
        node = record(_plan_of(cls), args, ctx.needs_input_grad, args, [t._array for t in tensors], {"ctx": ctx})  # type: ignore[arg-type]
        if len(tensors) > 1:
            node.outputs = tuple(describe(t._array) for t in tensors)
        saved: list[Any] = []
        counters: list[Any] = []
        places: list[Any] = []
        for t in ctx._to_save:
            if t is None:
                places.append(None)
                continue
            out = next((i for i, o in enumerate(tensors) if o is t), None)
            if out is not None and t._array.dtype.kind in "fV":
                places.append(("output", out))
            else:
                places.append((edge_of(t) if wants_grad(t) else None, t._index))
            saved.append(t._array)
            counters.append(t.counter())
        ctx._to_save, ctx._places = (), tuple(places)
        node.saved, node.counters = tuple(saved), tuple(counters)
        recorded(node)
        ctx._node = weakref.ref(node)
        for i, t in enumerate(tensors):
            if t._array.dtype.kind not in "fV" or any(t is n for n in ctx._non_differentiable):
                continue
            if any(t is d for d in ctx._dirty):
                rebase(t, node, i)
                continue
            if t._base is not None or t._severed is not None:
                t._base, t._chain, t._severed = None, (), _VIEW.format(i, cls.__name__)
            t.set_history(node, i)


_VIEW = (
    "Output {} of {} is a view and is being modified inplace. This view was created inside a custom Function (or "
    "because an input was returned as-is) and the autograd logic to handle view+inplace would override the custom "
    "backward associated with the custom Function, leading to incorrect gradients. This behavior is forbidden. You can "
    "fix this by cloning the output of the custom Function."
)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `backward` that cannot itself be differentiated: trying to raises RuntimeError."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        recorded = mode.enabled
        with no_grad():
            result = backward(ctx, *grads)
        if not recorded:
            return result
        several = isinstance(result, tuple)
        out = [_refusing(ctx, r) if isinstance(r, Variable) else r for r in (result if several else (result,))]
        return tuple(out) if several else out[0]

    return wrapper


class _Once(Function):
    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def _refusing(ctx: Any, gradient: Variable) -> Variable:
    """`gradient` with a history that depends on all that the function depended on, and cannot be followed."""
    forward = ctx._node()
    once = FunctionCtx()
    once._tensors = (True,)
    node = record(_plan_of(_Once), (), (), (), [gradient._array], {"ctx": once})
    node.edges = forward.edges
    node.indices = forward.indices
    once._node = weakref.ref(node)
    out: Variable = wrap(gradient._array)
    out.set_history(node, 0)
    return out
