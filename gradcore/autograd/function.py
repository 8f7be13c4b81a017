"""`Function`: an operation with a derivative written by the user."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..backends import backend_of
from ..ops.core import Op, Plan
from .engine import FREED
from .grad_mode import mode, no_grad
from .tape import edge_of, record, wrap
from .variable import Node, Variable, bump, describe


class FunctionCtx:
    """What `forward` leaves for `backward`. Constants may be kept as plain attributes."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Variable | None, ...] = ()
        self._places: tuple[Any, ...] = ()
        self._arrays: Sequence[Any] | None = None
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
        if self._arrays is None:
            if self._node is None:
                return self._to_save
            raise RuntimeError(FREED)
        node = self._node() if self._node is not None else None
        tensors: list[Any] = []
        arrays = iter(self._arrays)
        for place in self._places:
            if place is None:
                tensors.append(None)
                continue
            edge, index, counter = place
            if isinstance(edge, Variable):
                next(arrays)
                tensors.append(edge)
                continue
            t = wrap(next(arrays))
            t._counter = counter
            if edge == "output":
                edge = node
            if edge is not None:
                t._node, t._index, t._requires_grad = edge, index, True
            tensors.append(t)
        return tuple(tensors)


class _FunctionOp(Op):
    """Stands for a user's Function in the tape."""

    def __init__(self, cls: type[Function]):
        super().__init__(cls.forward, name=cls.__name__, grad_name=f"{cls.__name__}Backward")


@functools.lru_cache(maxsize=None)
def _plan_of(cls: type[Function]) -> Plan:
    return Plan(_FunctionOp(cls), (), (), functools.partial(_call_backward, cls))


def _call_backward(cls: type[Function], gs: Sequence[Any], saved: Sequence[Any], attrs: Any, meta: Any) -> list[Any]:
    """Run the user's backward on tensors; arrays in, arrays out unless it is being recorded."""
    ctx: FunctionCtx = attrs["ctx"]
    node = ctx._node() if ctx._node is not None else None
    assert node is not None
    recorded = mode.enabled
    outputs = node.outputs or ((node.shape, node.dtype, None),)
    grads: list[Any] = []
    for g, (shape, dtype, device) in zip(gs, outputs):
        if g is None and ctx._materialize and dtype.kind in "fV":
            example = next(x for x in gs if x is not None)
            array = example._array if isinstance(example, Variable) else example
            g = backend_of(array).full(shape, 0, dtype)
        grads.append(wrap(g) if g is not None and not isinstance(g, Variable) else g)
    ctx._arrays = [v._array if isinstance(v, Variable) else v for v in saved]
    try:
        result = cls.backward(ctx, *grads)
    finally:
        ctx._arrays = None
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    expected = len(node.edges)
    while len(results) > expected and results[-1] is None:
        results.pop()
    if len(results) != expected:
        raise RuntimeError(
            f"function {node.name()} returned an incorrect number of gradients (expected {expected}, got {len(results)})"
        )
    out: list[Any] = []
    given = {id(a) for a in saved}
    for i, r in enumerate(results):
        if r is None:
            out.append(None)
        elif not isinstance(r, Variable):
            raise TypeError(f"function {node.name()} returned a {type(r).__name__} at index {i}; expected Tensor or None")
        elif recorded:
            out.append(r)
        else:
            # A gradient that the user may still hold is not handed over to `.grad`.
            out.append(backend_of(r._array).copy(r._array) if id(r._array) in given else r._array)
    return out


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

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record it."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(a, Variable) and a._requires_grad for a in args)
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
            if any(out is a for a in args) and not any(out is d for d in ctx._dirty):
                outputs[i] = wrap(out._array)
        for t in ctx._dirty:
            if t._requires_grad and t._node is None and needed:
                raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
            bump(t.counter())
        if needed:
            cls._record(ctx, args, outputs, several)
        return type(result)(outputs) if several else outputs[0]

    @classmethod
    def _record(cls, ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any], several: bool) -> None:
        tensors = [o for o in outputs if isinstance(o, Variable)]
        node = record(_plan_of(cls), args, [t._array for t in tensors], {"ctx": ctx})
        if len(tensors) == 1 and several:
            assert node.info is not None
            node.info.outputs = (describe(tensors[0]._array),)
        saved, counters, places = [], [], []
        for t in ctx._to_save:
            if t is None:
                places.append(None)
                continue
            out = next((i for i, o in enumerate(tensors) if o is t), None)
            counter = t.counter()
            if out is not None and t._array.dtype.kind in "fV":
                places.append(("output", out, counter))
            else:
                places.append((edge_of(t) if t._requires_grad else None, t._index, counter))
            saved.append(t._array)
            counters.append(counter)
        ctx._to_save, ctx._places = (), tuple(places)
        node.saved, node.counters = tuple(saved), tuple(counters)
        ctx._node = weakref.ref(node)
        for i, t in enumerate(tensors):
            if t._array.dtype.kind in "fV" and not any(t is n for n in ctx._non_differentiable):
                t._node, t._index, t._requires_grad = node, i, True


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
        out = [_Once.apply(r) if isinstance(r, Variable) else r for r in (result if several else (result,))]
        for r in out:
            if isinstance(r, Variable) and r._array.dtype.kind in "fV":
                r._requires_grad = True
                r._node = _once_node(r)
        return tuple(out) if several else out[0]

    return wrapper


class _Once(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return wrap(x._array)


def _refuse(*_: Any) -> Any:
    raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def _once_node(t: Variable) -> Node:
    return record(Plan(_FunctionOp(_Once), (), (), _refuse), (), [t._array], {})
