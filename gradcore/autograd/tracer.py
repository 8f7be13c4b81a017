"""Arrays that stand for more than they are, for transforms that give another meaning to running an op.

A `Tracer` sits in `Tensor._array` in the place of an array. It has an array's (logical) shape and dtype and wraps
tensors of the level below: a batch of values, a value with its tangent. An op on tracers is interpreted by their
`Level`, in terms of ops on what they wrap. The tape and the engine go on as ever above that: a tensor that holds a
tracer has a history like any other, of which the tracers are the arrays; that of what they wrap is recorded below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ..backends import stand_in
from ..ops.core import Attrs, Op
from .grad_mode import mode
from .variable import Variable

if TYPE_CHECKING:
    from typing_extensions import Self

ESCAPED = (
    "Your tensor may have escaped from inside a function being transformed and this is a user error: it stands for "
    "something only while the transform runs. Return it from the function instead of storing it elsewhere."
)


class Level(ABC):
    """One application of a transform; while it is entered, its tracers can be computed with.

    `depth` counts the levels that run in this thread, outermost first. Where tracers of several levels meet, the
    deepest interprets, and the others' are constants to it.
    """

    depth = 0

    def __enter__(self) -> Self:
        from .tape import watch

        mode.levels, mode.below = (*mode.levels, self), (*mode.below, mode.enabled)
        self.depth = len(mode.levels)
        watch(1)
        return self

    def __exit__(self, *exc: object) -> None:
        from .tape import watch

        watch(-1)
        mode.levels, mode.below = mode.levels[: self.depth - 1], mode.below[: self.depth - 1]

    @abstractmethod
    def interpret(self, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
        """What `op` gives for tracers of this level, arrays, numbers and None: a tracer or an array, or a tuple.

        NotImplemented: the op's composite is run instead.
        """

    @abstractmethod
    def lift(self, t: Any) -> Tracer:
        """A tensor of a lower level as a constant of this one."""

    @abstractmethod
    def inplace_error(self, op: str, operands: Sequence[Any], attrs: Attrs) -> Exception:
        """The error for changing a tensor of a lower level in place to what depends on this one."""

    def apply_function(self, cls: Any, args: Sequence[Any]) -> tuple[list[Any], bool]:
        """The outputs of a custom Function as tensors of this level, without history there; whether they are a tuple.

        Its `setup_context` runs, and it is recorded, if a gradient is wanted, by the caller.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule for custom Functions")

    def made(self, t: Any) -> Any:
        """A tensor made while the level runs, as it is to be used: lifted, where it could not be changed otherwise."""
        return t

    def below(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` as it would run without this level and the deeper ones: on the tensors that are wrapped."""
        at = self.depth - 1
        before = mode.enabled, mode.levels, mode.below
        if len(before[1]) <= at or before[1][at] is not self:
            raise RuntimeError(ESCAPED)
        mode.enabled, mode.levels, mode.below = before[2][at], before[1][:at], before[2][:at]
        try:
            return function(*args, **kwargs)
        finally:
            mode.enabled, mode.levels, mode.below = before


class Tracer(ABC):
    """What stands in the place of an array. Subclasses add what they wrap, and `__setitem__`."""

    __slots__ = ("backend", "dtype", "level", "ndim", "shape", "size")

    # NumPy's and CuPy's operators leave `array + tracer` to us.
    __array_ufunc__ = None

    def __init_subclass__(cls) -> None:
        stand_in(cls)

    def __init__(self, level: Level, shape: tuple[int, ...], dtype: Any, backend: Any):
        self.level, self.shape, self.dtype, self.backend = level, shape, dtype, backend
        self.ndim, self.size = len(shape), prod(shape)

    @property
    @abstractmethod
    def concrete(self) -> Any:
        """The array at the bottom of what is wrapped, for checks of all values there are."""

    @property
    def itemsize(self) -> int:
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def __gradcore_op__(self, op: Op, inputs: Sequence[Any], attrs: Attrs) -> Any:
        """Ops called on arrays, some of which are tracers, come here."""
        level = level_of(inputs, attrs)
        assert level is not None
        return interpreted(level, op, operands_of(level, inputs), attrs)

    # -- what the engine and indexing do with arrays
    def __add__(self, other: Any) -> Any:
        from ..ops.arithmetic import add

        return add(self, other)

    __radd__ = __add__

    def __getitem__(self, key: Any) -> Any:
        from ..ops.indexing import pick

        return self if key is Ellipsis else pick(self, key if isinstance(key, tuple) else (key,))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} cannot be changed in place")

    def shares_memory(self, other: Any) -> bool:
        """Whether what is wrapped is, or is a view of, what `other` wraps."""
        return self is other

    @abstractmethod
    def host(self, what: str) -> Any:
        """The values as a NumPy array, or RuntimeError; they are wanted as `what`: `"item"`, `"bool"` or `"data"`."""

    @abstractmethod
    def detached(self) -> Tracer:
        """The same without any history of what is wrapped."""

    @abstractmethod
    def describe(self) -> str:
        """What `repr` says of a tensor that holds this."""


def level_of(operands: Sequence[Any], attrs: Attrs) -> Level | None:
    """The deepest level that arrays, or the entries of an index key, belong to; None for ordinary arrays."""
    found: Level | None = None
    for values in (operands, attrs["key"]) if attrs and "key" in attrs else (operands,):
        for value in values:
            if isinstance(value, Tracer) and (found is None or value.level.depth > found.depth):
                found = value.level
    return found


def operands_of(level: Level, inputs: Sequence[Any]) -> list[Any]:
    """Tensors, arrays and numbers as `level` takes them: what is of a lower level is lifted."""
    from .tape import wrap

    operands = []
    for x in inputs:
        if isinstance(x, Variable):
            array = x._array
            own = isinstance(array, Tracer) and array.level is level
            operands.append(array if own else level.lift(x))
        elif isinstance(x, Tracer) and x.level is not level:
            operands.append(level.lift(wrap(x)))
        else:
            operands.append(x)
    return operands


def interpreted(level: Level, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
    """The array, or the tuple of arrays, that `op` gives at `level`."""
    out = level.interpret(op, operands, attrs)
    if out is not NotImplemented:
        return out
    if op.composite is None:
        raise NotImplementedError(
            f"{op.name}() has no rule for {type(level).__name__}, and no composite to take one of"
        )
    return through_composite(op, operands, attrs)


def through_composite(op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
    """The results of `op` by its definition in plain ops: on tensors tensors, on arrays arrays."""
    assert op.composite is not None
    return op.composite(**{**op.defaults, **dict(zip(op.inputs, operands)), **attrs})


def lifted(t: Any) -> Any:
    """`t` as a tensor of the deepest level that runs, without history there; itself if it is one, or none runs."""
    from .tape import wrap

    if not mode.levels:
        return t
    level = mode.levels[-1]
    array = t._array
    return t if isinstance(array, Tracer) and array.level is level else wrap(level.lift(t))
