"""The autograd state of a tensor, and the node of the tape."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Union

import numpy as np

from ..backends import Array, backend_of
from ..backends.cpu.backend import LARGE
from ..ops.core import Attrs, Plan

# One clock for recording and for changing in place: what was saved is stale if it was changed later than its node.
# It runs backwards, so that the latest node is the smallest, which is what a heap gives first.
next_sequence = itertools.count(-1, -1).__next__

# [time of the last change in place, number of changes, times of the latest changes ...]
Counter = list[int]
# In the place of the counter of an inference tensor, which has none.
INFERENCE: Any = ()
_LOGGED = 32
last_change = [0]


class Moment(int):
    """A time of the clock that knows the calls that led to it: set only while lines are traced."""

    stack: tuple[Frame, ...]


# The time of a change. While lines are traced another function stands here, which gives a `Moment`.
time_of_change: Callable[[], int] = next_sequence


def bump(counter: Counter) -> None:
    """Note a change in place."""
    if not counter:
        return
    counter[0] = last_change[0] = now = time_of_change()
    counter[1] += 1
    if len(counter) > _LOGGED:
        del counter[2]
    counter.append(now)


class Spec:
    """The shape and dtype of an array that takes the short way; equal ones are mostly one object."""

    __slots__ = ("direct", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self.shape, self.dtype = shape, dtype
        # NumPy makes scalars of zero-dimensional arrays: their gradients take the longer way.
        self.direct = shape != ()


_KNOWN: dict[Any, dict[tuple[int, ...], Spec]] = {np.dtype(np.float32): {}, np.dtype(np.float64): {}}
_MOST_KNOWN = 4096
_F32, _F64 = _KNOWN


def spec_of(array: Array) -> Spec | None:
    """The spec of an array that takes the short way: a small NumPy array of float32 or float64. None for others."""
    if array.__class__ is not np.ndarray or array.size >= LARGE:
        return None
    dtype = array.dtype
    if dtype is not _F32 and dtype is not _F64:
        return None
    known = _KNOWN[dtype]
    shape = array.shape
    found = known.get(shape)
    if found is None:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        found = known[shape] = Spec(shape, dtype)
    return found


class Tangent:
    """The tangent of a tensor, of the same shape, at one level of forward mode: None if it has none there."""

    __slots__ = ("__weakref__", "level", "value")

    def __init__(self, level: Any, value: Any):
        self.level, self.value = level, value


class Variable:
    """An array and its place in the graph; `Tensor` adds everything a user sees.

    What every operation reads is a slot, set by whoever makes an instance (`bare`, and the short ways in `tape`). The
    rest are defaults of the class: an instance stores only what differs.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_base",
        "_counter",
        "_index",
        "_node",
        "_requires_grad",
        "_spec",
    )

    _array: Array
    # Of the array, if it takes the short way; None: not known yet, or it does not.
    _spec: Spec | None
    _requires_grad: bool
    # The node that made it (None: a leaf), and which of the node's results it is.
    _node: Node | None
    _index: int
    # How often, and when, the memory was changed in place; shared by all views of it. Made when first needed.
    _counter: Counter | None
    # A view: its base, the ops (with attributes and the result's index) that lead from the base to it, and the base's
    # version that `_node` belongs to.
    _base: Variable | None
    _grad: Any = None
    _chain: tuple[tuple[Any, Attrs, int], ...] = ()
    _seen: int = 0
    # A base whose own shape or strides were changed in place: the ops that undo that, the latest change first; and of a
    # view, how many of these changes its base had seen when the view was made.
    _undone: tuple[tuple[Any, Attrs, int], ...] = ()
    _made_after: int = 0
    # A view whose base cannot learn of changes made through it: why, as the error says when one is tried.
    _severed: str | None = None
    # One of the views that one operation made, or a view of one: not to be changed in place where that is recorded.
    _one_of_several: bool = False
    # Its derivative in the direction that forward mode goes, at the level it belongs to.
    _tangent: Tangent | None = None
    # Functions of the gradient (a leaf's; those of results live in their node's `extra`).
    _hooks: dict[int, Any] | None = None
    # Of a leaf, its `AccumulateGrad`, while somebody looks at that, and what hooks and notes that was given.
    _accumulator: weakref.ref[AccumulateGrad] | None = None
    _extra: Extra | None = None
    # In anomaly mode: where the NaN in it comes from.
    _nan: Any = None
    # A leaf that a transform of `gradcore.func` made to differentiate by: whether that transform is running.
    _scope: Any = None

    def counter(self) -> Counter:
        """The version counter, made on first use; that of an inference tensor is empty."""
        found = self._counter
        if found is None:
            found = self._counter = [0, 0]
        return found

    def counter_to_save(self) -> Counter:
        """The version counter, for a node that keeps the array. RuntimeError for an inference tensor."""
        found = self.counter()
        if not found:
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode "
                "in computation tracked by autograd. To work around this, you can make a clone to get a normal tensor "
                "and use it in autograd, or use `gradcore.no_grad()` instead of `gradcore.inference_mode()`."
            )
        return found

    def is_inference(self) -> bool:
        """Whether it was made in inference mode."""
        return self._counter is not None and not self._counter

    def shares_memory(self, other: Variable) -> bool:
        """Whether both are, or are views of, one tensor."""
        return self is other or (self._counter is not None and self._counter is other._counter)

    def set_history(self, node: Node, index: int) -> None:
        """Make this tensor result `index` of `node`, which retains the gradient from now on if one was asked for."""
        old = self._node
        if old is not None and old.extra is not None:
            reference = old.extra.retained.get(self._index)
            if reference is not None and reference() is self:
                del old.extra.retained[self._index]
                node.more().retained[index] = reference
        self._node, self._index, self._requires_grad = node, index, True


def bare(cls: type[Variable], array: Array) -> Any:
    """A `cls` around `array`, without history."""
    out = object.__new__(cls)
    out._array = array
    out._spec = out._node = out._counter = out._base = None
    out._requires_grad = False
    out._index = 0
    return out


Edge = Union["Node", Variable, None]


class Extra:
    """The rarely used part of a node, or of the place where a leaf stands."""

    __slots__ = ("accumulated", "hooks", "metadata", "packed", "posthooks", "prehooks", "retained", "tangents")

    def __init__(self) -> None:
        # By index of the result: hooks on its gradient, and which tensor retains that.
        self.hooks: dict[int, dict[int, Any]] = {}
        self.retained: dict[int, Any] = {}
        self.prehooks: dict[int, Any] = {}
        self.posthooks: dict[int, Any] = {}
        self.metadata: dict[Any, Any] = {}
        # Of a leaf: what is called with it when a gradient has been added to its `.grad`.
        self.accumulated: dict[int, Any] = {}
        # Whether something that is saved went through hooks.
        self.packed = False
        # By their place the tangents of what is saved.
        self.tangents: dict[int, Tangent] = {}


# A file, a line and a function's name.
Frame = tuple[str, int, str]


class Node:
    """One recorded operation.

    An edge leads to the node, or to the leaf, that an input came from (None where no gradient is wanted). Nodes refer
    to nodes and leaves, never to their own results, so the graph is freed by reference counting.
    """

    __slots__ = (
        "__weakref__",
        "attrs",
        "counters",
        "dtype",
        "edges",
        "extra",
        "fits",
        "indices",
        "induced_by",
        "meta",
        "outputs",
        "plan",
        "saved",
        "sequence",
        "shape",
        "stack",
    )
    plan: Plan
    edges: tuple[Edge, ...]
    # Kept arrays and numbers (None: freed), and the version counter of each (None: of a number).
    saved: tuple[Any, ...] | None
    counters: tuple[Any, ...]
    # The shape and dtype of the result; of the first, where there are several.
    shape: tuple[int, ...]
    dtype: Any
    # Shape, dtype and device of each result, where there are several.
    outputs: tuple[tuple[tuple[int, ...], Any, Any], ...] | None
    # Which result of its node each input was (None: the first, all of them).
    indices: tuple[int, ...] | None
    # The op's attributes (None: recorded by the short way), and what the plan's `describe` made of the inputs.
    attrs: Attrs | None
    meta: Any
    extra: Extra | None
    # The plan's short way applies, its gradients have the shapes and dtypes of the inputs, and there are no hooks.
    fits: bool
    # When it was recorded, on the clock above.
    sequence: int
    # Where it was recorded, outermost call first, and for the derivative of which node, if it was for one: set only
    # while lines are traced.
    stack: tuple[Frame, ...]
    induced_by: Node | None

    def more(self) -> Extra:
        """`extra`, made on first use."""
        if self.extra is None:
            self.extra = Extra()
            self.fits = False
        return self.extra

    def index_of(self, position: int) -> int:
        """Which result of its node the input at `position` was."""
        return 0 if self.indices is None else self.indices[position]

    def name(self) -> str:
        """The operation, as PyTorch names it: `MulBackward0`."""
        name = self.plan.op.grad_name
        return name if isinstance(name, str) else name(self)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that gradients flow to, each with the index of its result; a leaf's is an `AccumulateGrad`."""
        return tuple(
            (AccumulateGrad.of(e) if isinstance(e, Variable) else shown(e), self.index_of(i))
            for i, e in enumerate(self.edges)
        )

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for notes of the user's own."""
        return self.more().metadata

    def register_prehook(self, hook: Callable[[tuple[Any, ...]], tuple[Any, ...] | None]) -> Any:
        """Call `hook(grad_outputs)` before this node's backward; what it returns replaces the gradients.

        `grad_outputs` is the tuple of the gradients of the node's results. Returns a handle with `remove()`.
        """
        from .hooks import register

        return register(self.more().prehooks, hook)

    def register_hook(self, hook: Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...] | None]) -> Any:
        """Call `hook(grad_inputs, grad_outputs)` after this node's backward; what it returns replaces `grad_inputs`.

        `grad_inputs` is the tuple of the gradients of the node's inputs, None where none is wanted. Returns a handle
        with `remove()`.
        """
        from .hooks import register

        return register(self.more().posthooks, hook)

    def __dir__(self) -> list[str]:
        from .saved import saved_names

        return [*(n for n in super().__dir__() if not n.startswith(("_saved_", "_raw_saved_"))), *saved_names(self)]

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


def shown(node: Node | None) -> Node | None:
    """`node`, for a user to look at: with an attribute for everything that it saved.

    The attributes are made when they are first needed, of the class. (`__getattr__` would do without, but slow down
    every look at any attribute of a node.)
    """
    if node is not None:
        from .saved import SavedAttribute, saved_names

        for name in saved_names(node):
            if not hasattr(Node, name):
                setattr(Node, name, SavedAttribute(name))
    return node


class AccumulateGrad(Node):
    """Where a leaf stands in `next_functions`: the end of a path, which adds to `variable.grad`.

    It is made to be looked at; its hooks and its metadata belong to the leaf.
    """

    __slots__ = ("variable",)
    variable: Variable
    next_functions: tuple[tuple[Any, int], ...] = ()

    @classmethod
    def of(cls, variable: Variable) -> AccumulateGrad:
        """The one of `variable`."""
        found = None if variable._accumulator is None else variable._accumulator()
        if found is None:
            found = cls()
            found.variable = variable
            variable._accumulator = weakref.ref(found)
        return found

    def name(self) -> str:
        return "gradcore::autograd::AccumulateGrad"

    def more(self) -> Extra:
        if self.variable._extra is None:
            self.variable._extra = Extra()
        return self.variable._extra

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"


def reachable(edges: Iterable[Edge]) -> Iterator[Any]:
    """The nodes and leaves that gradients given to `edges` may come to, these included, each once."""
    waiting, seen = list(edges), set()
    while waiting:
        edge = waiting.pop()
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        yield edge
        if edge.__class__ is Node:
            waiting.extend(edge.edges)


def describe(array: Array) -> tuple[tuple[int, ...], Any, Any]:
    """An array's shape, dtype and device."""
    return array.shape, array.dtype, backend_of(array).device
