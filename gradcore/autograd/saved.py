"""What nodes save for the backward pass: the hooks it may go through on the way, and how to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import tape
from .grad_mode import mode, no_grad
from .tape import wrap
from .variable import Node, Variable

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


# ---------------------------------------------------------------- hooks
class saved_tensors_hooks:
    """Send what operations save for the backward pass through a pair of functions; a context manager.

    `pack_hook(tensor)` is called whenever a tensor is saved, without recording; what it returns, which may be anything,
    is kept in the tensor's place. `unpack_hook` gets that in the backward pass and returns a tensor of the same values.
    Of nested blocks the innermost holds; each thread has its own.

    >>> import gradcore as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), lambda values: torch.tensor(values)):
    ...     y = x.exp()
    >>> y.sum().backward()
    >>> x.grad
    tensor([2.7183, 7.3891])

    Raises:
        RuntimeError: on entry, within `disable_saved_tensors_hooks`; or if `pack_hook` changes its tensor in place.
        TypeError: `unpack_hook` returns no tensor.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]):
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if mode.no_saved_hooks is not None:
            raise RuntimeError(mode.no_saved_hooks)
        mode.saved_hooks = (*mode.saved_hooks, (self.pack_hook, self.unpack_hook))
        tape.watch(1)

    def __exit__(self, *exc: object) -> None:
        mode.saved_hooks = mode.saved_hooks[:-1]
        tape.watch(-1)


class save_on_cpu(saved_tensors_hooks):
    """Keep what is saved for the backward pass in host memory, and bring it back when it is needed.

    It frees GPU memory for the time of a copy each way. `pin_memory` and `device_type` are taken as PyTorch takes them;
    the copies are made by CuPy, which waits for them.

    >>> import gradcore as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.save_on_cpu():
    ...     y = x.exp().sum()
    >>> y.backward()
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda t: (t.device, t.detach().cpu()), lambda packed: packed[1].to(packed[0]))


class disable_saved_tensors_hooks:
    """Refuse `saved_tensors_hooks` in a `with` block (or decorated function): RuntimeError with `error_message`.

    Raises:
        RuntimeError: on entry, within `saved_tensors_hooks`.
    """

    def __init__(self, error_message: str):
        self.error_message = error_message
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        if mode.saved_hooks:
            raise RuntimeError(self.error_message)
        self._before.append(mode.no_saved_hooks)
        mode.no_saved_hooks = self.error_message

    def __exit__(self, *exc: object) -> None:
        mode.no_saved_hooks = self._before.pop()


class Packed:
    """What stands in the place of a saved array that went through hooks."""

    __slots__ = ("unpack", "value")

    def __init__(self, value: Any, unpack: Callable[[Any], Any]):
        self.value, self.unpack = value, unpack


def pack(node: Node) -> None:
    """Send all that `node` has just saved through the innermost hooks."""
    for k, counter in enumerate(node.counters):
        if counter is not None:
            _pack(node, k, *mode.saved_hooks[-1])


def _pack(node: Node, k: int, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
    assert node.saved is not None
    counter = node.counters[k]
    t = saved_tensor(node, k, node.saved[k], whole=False)
    before = counter[1]
    with no_grad():
        packed = Packed(pack_hook(t), unpack_hook)
    if counter[1] != before:
        raise RuntimeError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot "
            "be modified by in-place operations as this can lead to unexpected side-effects. Please open an issue if "
            "you need to perform in-place operations on the input to a pack hook."
        )
    node.saved = (*node.saved[:k], packed, *node.saved[k + 1 :])
    # What comes out of the hooks is the hooks' affair: the original may change.
    node.counters = (*node.counters[:k], [0, 0], *node.counters[k + 1 :])
    node.more().packed = True


def unpacked(node: Node) -> tuple[Any, ...]:
    """What `node` saved, as arrays and numbers. RuntimeError if it has been freed."""
    if node.saved is None:
        raise RuntimeError(FREED)
    return tuple([_unpacked(value) for value in node.saved])


def _unpacked(value: Any) -> Any:
    if value.__class__ is not Packed:
        return value
    t = value.unpack(value.value)
    if not isinstance(t, Variable):
        raise TypeError(
            f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(t).__name__}"
        )
    return t._array


# ---------------------------------------------------------------- looking at it
def saved_tensor(node: Node, k: int, value: Any, whole: bool = True) -> Any:
    """What `node` saved in place `k`, whose array is `value`, as a tensor with its place in the graph.

    A result of the node leads back to the node, which must not keep it: `whole` tells whether it should.
    """
    plan = node.plan
    first = len(plan.inputs)
    if k < first:
        edge = node.edges[plan.inputs[k]]
        if edge is not None and not isinstance(edge, Node):
            return edge
        index = node.index_of(plan.inputs[k])
    else:
        # Beyond the results come what else is to be watched: index tensors, what a Function saved.
        result = k - first < len(plan.outputs) and value.dtype.kind in "fV"
        edge, index = (node, plan.outputs[k - first]) if whole and result else (None, 0)
    t = wrap(value)
    t._counter = node.counters[k]
    if edge is not None:
        t._node, t._index, t._requires_grad = edge, index, True
    if node.extra is not None:
        t._tangent = node.extra.tangents.get(k)
    return t


class SavedTensor:
    """A tensor that a node saved, as `grad_fn._raw_saved_self` shows it."""

    def __init__(self, node: Node, k: int):
        self._node, self._k = node, k

    @property
    def data(self) -> Any:
        """The tensor; what the pack hook made of it if there was one."""
        value = self._saved()[self._k]
        return value.value if isinstance(value, Packed) else saved_tensor(self._node, self._k, value)

    def register_hooks(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        """Send the saved tensor through `pack_hook` now and through `unpack_hook` in the backward pass."""
        if self._node.saved is None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor after it has been freed. Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need "
                "to backward through the graph a second time or if you need to access saved variables after calling "
                "backward."
            )
        if isinstance(self._node.saved[self._k], Packed):
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of "
                "hooks is allowed at a time."
            )
        _pack(self._node, self._k, pack_hook, unpack_hook)

    def _saved(self) -> tuple[Any, ...]:
        if self._node.saved is None:
            raise RuntimeError(FREED)
        return self._node.saved


def value_names(node: Node) -> Iterator[str]:
    """For each saved value its name: an input of the op, a result, or a number."""
    plan = node.plan
    yield from (plan.op.inputs[p] for p in plan.inputs)
    yield from (f"result{p or ''}" for p in plan.outputs)
    yield from (f"saved {k}" for k in range(len(node.counters) - len(plan.inputs) - len(plan.outputs)))


def _places(node: Node) -> dict[str, int]:
    """Where each value is, by PyTorch's name: a first input called `input` is `self` there."""
    return {"self" if name == "input" else name: k for k, name in enumerate(value_names(node)) if " " not in name}


def saved_names(node: Node) -> list[str]:
    """The names of a node's `_saved_*` and `_raw_saved_*` attributes."""
    places = _places(node)
    return [
        *(f"_saved_{name}" for name in (*places, *(node.attrs or {}))),
        *(f"_raw_saved_{name}" for name, k in places.items() if node.counters[k] is not None),
    ]


class SavedAttribute:
    """An attribute of nodes: what one saved under a `_saved_*` or `_raw_saved_*` name."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, node: Node | None, owner: type | None = None) -> Any:
        return self if node is None else _saved_attribute(node, self.name)


def _saved_attribute(node: Node, name: str) -> Any:
    """A tensor, or an attribute of the op."""
    raw = name.startswith("_raw")
    short = name.removeprefix("_raw" if raw else "").removeprefix("_saved_")
    k = _places(node).get(short)
    if k is not None and not (raw and node.counters[k] is None):
        if raw:
            return SavedTensor(node, k)
        value = unpacked(node)[k]
        return value if node.counters[k] is None else saved_tensor(node, k, value)
    if node.attrs and short in node.attrs and not raw:
        return node.attrs[short]
    raise AttributeError(f"{node.name()!r} object has no attribute {name!r}")
