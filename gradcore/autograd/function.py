"""`Function`: an operation with a derivative written by the user."""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from ..backends import backend_of
from ..ops.core import Op, Plan
from ..ops.shape import view
from .grad_mode import mode, no_grad, recording
from .hooks import not_ours
from .inplace import rebase
from .kept import Computed, Trail, is_cut, tensors_in
from .saved import FREED, unpacked
from .tangents import pass_on, without_tangents
from .tape import edge_of, needs_at, observing, passes_tangents, record, recorded, tell, wants_grad, wrap
from .tracer import level_of
from .variable import Node, Variable, bump, describe


class FunctionCtx:
    """What `forward` leaves for `backward`. Constants may be kept as plain attributes.

    Inputs and outputs may be kept either way, but an output that is a plain attribute is freed by the garbage collector
    only. What `forward` computes from its inputs on the way and keeps is a constant to derivatives of `backward`: they
    raise RuntimeError where it would make a difference.
    """

    needs_input_grad: tuple[bool, ...] = ()
    # What `save_for_forward` was given, until `apply` is done.
    saved_for_forward: tuple[Variable | None, ...] | None = None

    def __init__(self) -> None:
        self._to_save: tuple[Variable | None, ...] = ()
        # Where each saved tensor stands: (edge, "output" or "inside", index of the result), None for None.
        self._places: tuple[Any, ...] = ()
        # For each input and output, whether it is a tensor: gradients are for those.
        self._tensor_inputs: tuple[bool, ...] = ()
        self._tensors: tuple[bool, ...] = ()
        self._dirty: tuple[Variable, ...] = ()
        self._non_differentiable: tuple[Variable, ...] = ()
        self._materialize = True
        self._node: weakref.ref[Node] | None = None
        # What `forward` computed and keeps here, the attributes that hold some of it, and whether some has a history
        # that ends inside `forward`.
        self._computed = Computed()
        self._attributes: tuple[str, ...] = ()
        self._cut = False
        # This is for a backward pass that is recorded.
        self._recorded = False

    def save_for_backward(self, *tensors: Variable | None) -> None:
        """Keep inputs or outputs for `backward`, which finds them in `saved_tensors`."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Variable):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Variable | None) -> None:
        """Keep tensors for `jvp`, which finds them in `saved_tensors`."""
        if not all(t is None or isinstance(t, Variable) for t in tensors):
            raise AssertionError(
                "save_for_forward expects all arguments to be tensors; you should save non-tensors as "
                "attributes on ctx."
            )
        self.saved_for_forward = tensors

    def mark_dirty(self, *tensors: Variable) -> None:
        """Tell which inputs `forward` changed in place; it must return them too."""
        for i, t in enumerate(tensors):
            if not isinstance(t, Variable):
                raise RuntimeError(
                    f"mark_dirty can only accept variables, but argument {i} is of type {type(t).__name__}"
                )
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Variable) -> None:
        """Tell which outputs have no gradient."""
        for t in tensors:
            if not isinstance(t, Variable):
                raise RuntimeError(
                    f"mark_non_differentiable only accepts variable arguments, but got {type(t).__name__}"
                )
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs that no gradient arrived at."""
        if not isinstance(value, bool):
            raise TypeError(
                "set_materialize_grads received an invalid combination of arguments - got "
                f"({type(value).__name__}), but expected (bool)"
            )
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors given to `save_for_backward`, with their place in the graph; in `jvp`, to `save_for_forward`."""
        if self.saved_for_forward is not None:
            return self.saved_for_forward
        if self._node is None:
            return self._to_save
        node = self._node()
        if node is None:
            raise RuntimeError(FREED)
        tensors: list[Any] = []
        kept = enumerate(zip(unpacked(node), node.counters))
        tangents = {} if node.extra is None else node.extra.tangents
        for place in self._places:
            if place is None:
                tensors.append(None)
                continue
            edge, index = place
            k, (array, counter) = next(kept)
            if isinstance(edge, Variable):
                tensors.append(edge)
                continue
            t = wrap(array)
            t._counter, t._tangent = counter, tangents.get(k)
            if edge == "inside":
                if self._recorded:
                    t = _refusing(node, t, _INSIDE.format(node.name(), f"element {len(tensors)} of saved_tensors"))
            elif edge is not None:
                t._node, t._index, t._requires_grad = node if edge == "output" else edge, index, True
            tensors.append(t)
        return tuple(tensors)

    def _for_recording(self, node: Node) -> FunctionCtx:
        """A copy for a backward pass that is recorded: what `forward` computed refuses to be differentiated."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), _recorded=True)
        for name in self._attributes:
            text = _INSIDE.format(node.name(), f"ctx.{name}")
            value = vars(self).get(name)
            vars(twin)[name] = self._computed.replaced(value, lambda t, text=text: _refusing(node, t, text))
        return twin

    def _take_over(self, twin: FunctionCtx) -> None:
        """Keep what `backward` has written on its copy."""
        for name, value in vars(twin).items():
            if name != "_recorded" and name not in self._attributes:
                vars(self)[name] = value


_OWN = frozenset(vars(FunctionCtx()))

_INSIDE = (
    "{0}: its backward cannot be differentiated, because it uses {1}: a tensor that forward computed from the inputs, "
    "whose dependence on them is not recorded. The second derivative would be wrong. Save inputs and outputs with "
    "ctx.save_for_backward() and compute the tensor from them in backward, or return it from forward as one more "
    "output; if it is meant to be a constant, use its .detach() in backward"
)
_CUT = (
    "{0}: its backward cannot be differentiated, because forward keeps a graph on ctx that starts from detached "
    "inputs. The second derivative would be wrong. Build the graph in backward, from ctx.saved_tensors"
)


class _FunctionOp(Op):
    """Stands for a user's Function in the tape."""

    fill_grads = False
    # Whether `forward` has been seen to keep a tensor that is neither input nor output. None: not looked yet.
    keeps: bool | None = None

    def __init__(self, cls: type[Function]):
        super().__init__(cls.forward, name=cls.__name__, grad_name=f"{cls.__name__}Backward")

    def maker(self, node: Any, k: int) -> tuple[Any, int]:
        edge, index = [place for place in node.attrs["ctx"]._places if place is not None][k]
        return (node if edge == "output" else edge), index


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
    if cls.vjp is not Function.vjp and cls.backward is not Function.backward:
        raise RuntimeError(
            "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement "
            "one of them."
        )
    rule = cls.backward if cls.vjp is Function.vjp else cls.vjp
    given = ctx._for_recording(node) if recorded else ctx
    result = rule(given, *[next(each) if is_tensor else None for is_tensor in ctx._tensors])
    if recorded:
        ctx._take_over(given)
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
        if r is not None and not ctx._tensor_inputs[i]:
            raise RuntimeError(
                f"function {node.name()} returned a gradient different than None at position {i + 1}, but the "
                "corresponding forward input was not a Variable"
            )
        if r is not None and recorded and ctx._cut and node.edges[i] is not None:
            results[i] = r + _refusing(  # type: ignore[operator]
                node, wrap(backend.full(r._array.shape, 0, r._array.dtype)), _CUT.format(node.name())
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
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the outputs, from those of the inputs: forward mode (see `autograd.forward_ad`).

        What it needs is given to `ctx.save_for_forward` and found in `ctx.saved_tensors`. Inputs without a tangent have
        zeros, or None after `ctx.set_materialize_grads(False)`; what is no tensor has None. Where `forward` changes an
        input in place, `jvp` does so with its tangent.
        """
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    # Whether `vmap` may run `forward` and `backward` for each member of a batch (on all of them at once).
    generate_vmap_rule = False

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """How it runs on a batch of `info.batch_size`: `args` as they are below `gradcore.func.vmap`, with the batch in
        the dimension that `in_dims` tells (None: there is none). Returns the outputs, and where they have the batch."""
        raise NotImplementedError("You must implement the vmap function for custom autograd.Function to use it there.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future "
            "version of gradcore.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            f"function with static forward method: {type(self).__name__}.apply(...)"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` and record it."""
        separate = cls.setup_context is not Function.setup_context
        if kwargs or separate:
            args, kwargs = _bound(cls, separate, args, kwargs)
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(a, Variable) and wants_grad(a) for a in args)
        arrays = [a._array if isinstance(a, Variable) else a for a in args] if mode.levels else ()
        level = level_of(arrays, {})
        if level is not None:
            if not separate:
                raise RuntimeError(
                    "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it "
                    f"must override the setup_context staticmethod: {cls.__name__} does not"
                )
            ctx.needs_input_grad = tuple(needs_at(level, arrays, ctx.needs_input_grad))
        needed = mode.enabled and any(ctx.needs_input_grad)
        op: Any = _plan_of(cls).op  # type: ignore[arg-type]
        trail: Any = None
        followed: Any = nullcontext()
        if needed and op.keeps is not False and level is None:
            trail = Trail(a for a, needs in zip(args, ctx.needs_input_grad) if needs)
            followed = observing(trail)
        # What a level wraps has its tangents from the Function that is applied below.
        quiet: Any = without_tangents() if level is None else nullcontext()
        with recording(False), quiet:
            if level is not None:
                made, several = level.apply_function(cls, args)
                result = tuple(made) if several else made[0]
                cls.setup_context(ctx, args, result)
            elif separate:
                result = cls.forward(*args, **kwargs)
                if trail is not None:
                    trail.add(result if isinstance(result, (tuple, list)) else (result,))
                with followed:
                    cls.setup_context(ctx, args, result)
            else:
                with followed:
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
            if not any(t is a for a in args):
                warnings.warn(
                    "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been "
                    "mutated should be passed to ctx.mark_dirty().",
                    UserWarning,
                    stacklevel=2,
                )
            if needed and t._node is None and t._requires_grad:
                raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
            bump(t.counter())
        saved = ctx._to_save
        if needed and any(isinstance(o, Variable) for o in outputs):
            cls._record(ctx, args, outputs, trail)
        if passes_tangents(level):
            pass_on(cls, ctx, args, outputs, saved)
        ctx.saved_for_forward = None
        tell(op, args, {}, outputs)
        return tuple(outputs) if several else outputs[0]

    @classmethod
    def _record(cls, ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any], trail: Trail | None) -> None:
        ctx._tensor_inputs = tuple(isinstance(a, Variable) for a in args)
        ctx._tensors = tuple(isinstance(o, Variable) for o in outputs)
        tensors = [o for o in outputs if isinstance(o, Variable)]
        node = record(_plan_of(cls), args, ctx.needs_input_grad, args, [t._array for t in tensors], {"ctx": ctx})  # type: ignore[arg-type]
        if len(tensors) > 1:
            node.outputs = tuple(describe(t._array) for t in tensors)
        _look_for_computed(ctx, node, args, tensors, trail)
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
            elif t in ctx._computed:
                places.append(("inside", 0))
            else:
                places.append((edge_of(t) if wants_grad(t) else None, t._index))
            saved.append(t._array)
            counters.append(t.counter_to_save())
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


def _look_for_computed(
    ctx: FunctionCtx, node: Node, args: Sequence[Any], outputs: Sequence[Variable], trail: Trail | None
) -> None:
    """Note what the ctx keeps that was computed from the inputs and has no place in the graph.

    A class is followed in its first call, and in all calls once something was found that is neither input nor output.
    If it is found in a call that was not followed, it is taken to be computed.
    """
    placed = [t for t in (*args, *outputs, *ctx._non_differentiable) if isinstance(t, Variable)]
    op: Any = node.plan.op
    unplaced = False
    for name, value in (("", ctx._to_save), *vars(ctx).items()):
        if name in _OWN:
            continue
        for t in tensors_in(value):
            if t is None or t._array.dtype.kind not in "fV" or any(t is p for p in placed):
                continue
            unplaced = True
            if trail is not None and not trail.reaches(t):
                continue
            if wants_grad(t):  # forward recorded a graph of its own
                ctx._cut = ctx._cut or is_cut(t, placed, trail)
            else:
                ctx._computed.add(t)
                if name and name not in ctx._attributes:
                    ctx._attributes += (name,)
    op.keeps = unplaced or (op.keeps or False)


def _bound(cls: type[Function], separate: bool, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Any]:
    """The arguments of `forward` in its order, with those given by keyword; with all defaults for `setup_context`."""
    ctx = () if separate else (None,)
    bound = inspect.signature(cls.forward).bind(*ctx, *args, **kwargs)
    if separate:
        bound.apply_defaults()
    elif bound.kwargs:
        raise TypeError(f"forward() got an unexpected keyword argument '{next(iter(bound.kwargs))}'")
    return bound.args[len(ctx) :], bound.kwargs


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
        node = ctx._node()
        out = [_refusing(node, r, _ONCE) if isinstance(r, Variable) else r for r in (result if several else (result,))]
        return tuple(out) if several else out[0]

    return wrapper


_ONCE = "trying to differentiate twice a function that was marked with @once_differentiable"


class DelayedError(Function):
    """Stands in the graph where gradients cannot flow on."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(ctx.message)


def _refusing(forward: Node, t: Variable, message: str) -> Variable:
    """`t` with a history that depends on all that the function `forward` depended on, and cannot be followed."""
    ctx = FunctionCtx()
    ctx._tensors, ctx.message = (True,), message  # type: ignore[attr-defined]
    node = record(_plan_of(DelayedError), (), (), (), [t._array], {"ctx": ctx})
    node.edges = forward.edges
    node.indices = forward.indices
    ctx._node = weakref.ref(node)
    out: Variable = wrap(t._array)
    out.set_history(node, 0)
    return out
