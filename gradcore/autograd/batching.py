"""Batches: tensors whose arrays hold one value for each member of a batch, and ops on all members at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backends import backend_of, is_array
from ..ops.core import Attrs, Op, array_of
from ..ops.indexing import write_batch
from ..ops.shape import expand
from .grad_mode import mode
from .tape import wrap
from .tracer import Level, Tracer, operands_of
from .variable import Variable

_REFUSED = {
    "item": (
        "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a "
        "Tensor, please try to rewrite what you're doing with other operations."
    ),
    "bool": (
        "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support "
        "that yet: compute both branches and choose with where()."
    ),
    "data": "Cannot access data pointer of Tensor that doesn't have storage",
}
INPLACE = (
    "vmap: {op}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that has "
    "more elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped over in a "
    "vmap. Please try to use out-of-place operators instead of {op}."
)
CAPTURED = (
    "During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({op}) "
    "that would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to "
    "explicitly accept the mutated Tensor(s) as inputs."
)


RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
    "randomness flags on vmap or perform the randomness operation out of vmap"
)
RANDOM_IN_PLACE = (
    "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same randomness. "
    "Give the function a tensor for each member, or draw a new one, as with rand_like()."
)


def for_each(function: Callable[..., Sequence[Any]], *tensors: Any) -> list[Any]:
    """`function` of the members of tensors that have a batch in front: its results, with the batch in front. None,
    given or returned, stays None."""
    size = next(t for t in tensors if t is not None).shape[0]
    with BatchLevel(size) as level:
        found = function(*(None if t is None else level.batch(t) for t in tensors))
        members = [None if t is None else level.members(t) for t in found]
    return [pair and (pair[0] if pair[1] else expand(pair[0], size=(size, *pair[0]._array.shape))) for pair in members]


def _drawing() -> list[BatchLevel]:
    """The levels whose members each get random numbers of their own, outermost first; RuntimeError if one gets none."""
    levels = [level for level in mode.levels if isinstance(level, BatchLevel)]
    if any(level.randomness == "error" for level in levels):
        raise RuntimeError(RANDOM)
    return [level for level in levels if level.randomness == "different"]


def drawn(shape: Sequence[int], draw: Callable[[tuple[int, ...]], Any]) -> Any:
    """A tensor of random numbers, made by `draw(shape)`: for each member, where they are to differ."""
    levels = _drawing()
    t = draw((*(level.size for level in levels), *shape))
    for level in levels:
        t = level.batch(t)
    return t


def check_random_in_place(t: Any) -> None:
    """RuntimeError if the members of a batch would share the numbers that `t` is filled with, and are not to."""
    if not all(_depends(t, level) for level in _drawing()):
        raise RuntimeError(RANDOM_IN_PLACE)


def _depends(t: Any, level: Level) -> bool:
    """Whether `t` has a value for each member of `level`."""
    array = t._array
    while isinstance(array, Tracer):
        if array.level is level:
            return isinstance(array, Batched) and array.batched
        array = array.value._array  # type: ignore[attr-defined]
    return False


class BatchLevel(Level):
    """One application of `vmap`, over a batch of `size`."""

    def __init__(self, size: int, randomness: str = "error"):
        self.size, self.randomness = size, randomness

    def batch(self, t: Any) -> Any:
        """A tensor with the batch in front, as the tensor of one member."""
        return wrap(Batched(self, t, True))

    def constant(self, t: Any) -> Any:
        """A tensor of a lower level as one of this: the same for all members."""
        return wrap(self.lift(t))

    def apply_function(self, cls: Any, args: Sequence[Any]) -> tuple[list[Any], bool]:
        from .vmapped import on_batches

        return on_batches(self, cls, args)

    def lift(self, t: Any) -> Batched:
        return Batched(self, t, False)

    def members(self, t: Any) -> tuple[Any, bool]:
        """What a result holds, with the batch in front, and True; the same for all members, and False."""
        array = t._array
        if isinstance(array, Batched) and array.level is self:
            return array.value, array.batched
        return t, False

    def inplace_error(self, op: str, operands: Sequence[Any], attrs: Attrs) -> Exception:
        if any(True in self.parts(values)[1] for values in (operands, attrs.get("key", ()))):
            return RuntimeError(INPLACE.format(op="inplace arithmetic" if op == "copy_values_" else op))
        return RuntimeError(CAPTURED.format(op=op))

    def interpret(self, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
        values, batched = self.parts(operands)
        batched_key: Sequence[bool] = ()
        if "key" in attrs:
            entries, batched_key = self.parts(attrs["key"])
            attrs = {**attrs, "key": tuple(map(array_of, entries))}
        if not (True in batched or True in batched_key):
            return self._holding(self.below(op, *values, **attrs), False)
        if op.batch_rule is None:
            return NotImplemented
        out = self.below(
            op.batch_rule,
            op,
            values,
            attrs,
            shapes=[x.shape if is_array(x) else None for x in operands],
            batched=batched,
            batched_key=batched_key,
            size=self.size,
            randomness=self.randomness,
        )
        return out if out is NotImplemented else self._holding(out, True)

    def parts(self, operands: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        """What tracers hold, other operands as they are, and which are batched."""
        own = [isinstance(x, Batched) and x.level is self for x in operands]
        values = [x.value if mine else x for x, mine in zip(operands, own)]
        return values, [mine and x.batched for x, mine in zip(operands, own)]

    def _holding(self, out: Any, batched: bool) -> Any:
        if isinstance(out, tuple):
            return tuple([self._holding(x, batched) for x in out])
        return Batched(self, out if isinstance(out, Variable) else wrap(out), batched)


class Batched(Tracer):
    """A tensor of the level below: with the batch in front, or, not `batched`, the same value for all members."""

    __slots__ = ("batched", "value")
    level: BatchLevel

    def __init__(self, level: BatchLevel, value: Any, batched: bool):
        array = value._array
        shape = array.shape[1:] if batched else array.shape
        super().__init__(level, tuple(shape), array.dtype, backend_of(array))
        self.value, self.batched = value, batched

    def __setitem__(self, key: Any, value: Any) -> None:
        level = self.level
        if isinstance(value, Variable) or is_array(value):
            (value,) = operands_of(level, (value,))
        shape = value.shape if is_array(value) else None
        (held,), (batched,) = level.parts((value,))
        entries, batched_key = level.parts(key if isinstance(key, tuple) else (key,))
        inner = tuple(map(array_of, entries))
        if self.batched:
            level.below(write_batch, self.value, held, shape, batched, inner, batched_key, self.ndim)
        elif batched or True in batched_key:
            raise RuntimeError(INPLACE.format(op="inplace arithmetic"))
        else:
            level.below(self.value.__setitem__, inner, held)

    @property
    def strides(self) -> tuple[int, ...]:
        strides = self.value._array.strides
        return tuple(strides[1:] if self.batched else strides)

    @property
    def concrete(self) -> Any:
        array = self.value._array
        return array.concrete if isinstance(array, Tracer) else array

    def shares_memory(self, other: Any) -> bool:
        return isinstance(other, Batched) and bool(self.value.shares_memory(other.value))

    def host(self, what: str) -> Any:
        if self.batched:
            raise RuntimeError(_REFUSED[what])
        return self.value._host(what)

    def detached(self) -> Batched:
        return Batched(self.level, self.value.detach(), self.batched)

    def describe(self) -> str:
        inner = "\n".join("    " + line for line in repr(self.value).split("\n"))
        return f"BatchedTensor(lvl={self.level.depth}, bdim={0 if self.batched else None}, value=\n{inner}\n)"
