"""Custom Functions on batches: by their own `vmap`, or by their `forward` and `backward` for each member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..ops.reductions import sum as sum_op
from ..ops.shape import expand, permute
from ..utils._pytree import broadcast_prefix, flatten
from .batching import BatchLevel
from .function import Function
from .variable import Variable

DOCS = "For more details, see docs/func.md"


class VmapInfo(NamedTuple):
    """What a Function's `vmap` gets to know of the batch."""

    batch_size: int
    randomness: str


def on_batches(level: BatchLevel, cls: Any, args: Sequence[Any]) -> tuple[list[Any], bool]:
    """The outputs of the Function `cls` as tensors of `level`, and whether they are a tuple."""
    parts = [level.members(a) if isinstance(a, Variable) else (a, False) for a in args]
    values, batched = [value for value, _ in parts], tuple(b for _, b in parts)
    if True not in batched:
        found = level.below(cls.apply, *values)
        outputs, several = _as_list(found)
        return [level.constant(out) if isinstance(out, Variable) else out for out in outputs], several
    own = cls.vmap is not Function.vmap
    if own and cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap "
            "staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid "
            f"ambiguity. {DOCS}"
        )
    if not own and not cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and implement "
            f"the vmap staticmethod or set generate_vmap_rule=True. {DOCS}"
        )
    if own:
        info = VmapInfo(level.size, level.randomness)
        found = level.below(cls.vmap, info, tuple([0 if b else None for b in batched]), *values)
        outputs, dims, several = _with_dims(found)
        return [
            level.constant(out) if dim is None else level.batch(level.below(_in_front, out, dim))
            for out, dim in zip(outputs, dims)
        ], several
    found = level.below(_for_each_member(cls, level, batched).apply, *values)
    outputs, several = _as_list(found)
    return [level.batch(out) if isinstance(out, Variable) else out for out in outputs], several


def _as_list(found: Any) -> tuple[list[Any], bool]:
    several = isinstance(found, (tuple, list))
    return (list(found) if several else [found]), several


def _with_dims(found: Any) -> tuple[list[Any], list[Any], bool]:
    """The outputs of a user's `vmap`, where each has the batch, and whether they are a tuple."""
    if not (isinstance(found, tuple) and len(found) == 2):
        raise RuntimeError(
            "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure "
            f"compatible with the output. Got a {type(found)} instead"
        )
    output, out_dims = found
    outputs, structure = flatten(output)
    dims = broadcast_prefix(out_dims, structure)
    if dims is None:
        raise RuntimeError(
            "The autograd.Function's vmap staticmethod returned an incompatible (output, out_dims) tuple. Expected "
            f"out_dims={out_dims} to be compatible with the structure of `output`. out_dims has structure "
            f"{flatten(out_dims)[1]} but output has structure {structure}. {DOCS}"
        )
    return outputs, dims, isinstance(output, (tuple, list))


def _in_front(t: Any, dim: int) -> Any:
    ndim = t._array.ndim
    return permute(t, dims=(dim % ndim, *(d for d in range(ndim) if d != dim % ndim)))


class _MemberCtx:
    """The ctx that a Function's own methods see: of one member of a batch."""

    def __init__(self, needs_input_grad: tuple[bool, ...]):
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Any, ...] = ()
        self.saved_for_forward: tuple[Any, ...] = ()
        self._marked: dict[str, Any] = {}

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        self.saved_for_forward = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self._marked["mark_non_differentiable"] = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self._marked["set_materialize_grads"] = (value,)


def _for_each_member(cls: Any, level: BatchLevel, batched: tuple[bool, ...]) -> Any:
    """A Function of what `level` holds: `cls` for each member, in both directions."""
    size, randomness = level.size, level.randomness

    def entered(inner: BatchLevel, values: Sequence[Any], which: Sequence[bool]) -> list[Any]:
        return [inner.batch(v) if b and v is not None else v for v, b in zip(values, which)]

    def left(inner: BatchLevel, t: Any) -> Any:
        value, own = inner.members(t)
        return value if own else expand(value, size=(size, *value._array.shape))

    class Vmapped(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*values: Any) -> Any:
            with BatchLevel(size, randomness) as inner:
                outputs, several = _as_list(cls.forward(*entered(inner, values, batched)))
                made = [left(inner, out) if isinstance(out, Variable) else out for out in outputs]
            return tuple(made) if several else made[0]

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            outputs, several = _as_list(output)
            ctx.members = own = _MemberCtx(ctx.needs_input_grad)
            with BatchLevel(size, randomness) as inner:
                each = [inner.batch(out) if isinstance(out, Variable) else out for out in outputs]
                cls.setup_context(own, tuple(entered(inner, inputs, batched)), tuple(each) if several else each[0])
                kept, kept_forward = (
                    [(None, False) if t is None else inner.members(t) for t in tensors]
                    for tensors in (own.saved_tensors, own.saved_for_forward)
                )
            own.saved_tensors = own.saved_for_forward = ()
            # What is an output is saved as that, so that it keeps its place in the graph.
            ctx.save_for_backward(*(value for value, _ in kept))
            ctx.kept = tuple(b for _, b in kept)
            ctx.save_for_forward(*(value for value, _ in kept_forward))
            ctx.kept_forward = tuple(b for _, b in kept_forward)
            for name, given in own._marked.items():
                chosen = [o for o, e in zip(outputs, each) if any(e is g for g in given)]
                getattr(ctx, name)(*(given if name == "set_materialize_grads" else chosen))
            own._marked = {}

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            own = ctx.members
            with BatchLevel(size, randomness) as inner:
                own.saved_tensors = tuple(
                    t if t is None or not b else inner.batch(t) for t, b in zip(ctx.saved_tensors, ctx.kept)
                )
                given = [g if g is None else inner.batch(g) for g in grads]
                rule = cls.backward if cls.vjp is Function.vjp else cls.vjp
                try:
                    found, _ = _as_list(rule(own, *given))
                finally:
                    own.saved_tensors = ()
                made = [g if g is None else left(inner, g) for g in found]
            return tuple([g if g is None or b else sum_op(g, dim=0) for g, b in zip(made, batched)])

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            own = ctx.members
            with BatchLevel(size, randomness) as inner:
                own.saved_tensors = tuple(entered(inner, ctx.saved_tensors, ctx.kept_forward))
                try:
                    found, several = _as_list(cls.jvp(own, *entered(inner, tangents, batched)))
                finally:
                    own.saved_tensors = ()
                made = [t if t is None else left(inner, t) for t in found]
            return tuple(made) if several else made[0]

    Vmapped.__name__ = cls.__name__
    return Vmapped
