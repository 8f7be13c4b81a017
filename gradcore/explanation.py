"""`explain`: what the backward pass of a tensor will do, what it keeps alive, and where each step came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .autograd.function import FunctionCtx
from .autograd.lines import stack_of
from .autograd.saved import Packed, value_names
from .autograd.variable import Frame, Node, Variable
from .autograd.walk import graph_below, names_of, told_device
from .backends import Array, backend_of, is_array
from .devices import device
from .dtypes import dtype as DType
from .dtypes import from_numpy
from .ops.work import Work, backward_work, forward_work

if TYPE_CHECKING:
    from .nn import Module
    from .tensor import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Saved:
    """An array that a node keeps for the backward pass.

    `bytes` is the memory that it keeps alive: of a view, all of what it is a view of. `shared` is the index of the row
    that this memory is counted in already, `leaf` the name of the leaf (or of another named tensor) that it belongs to
    and that keeps it alive anyway; None where there is none.
    """

    name: str
    shape: Shape
    dtype: DType
    bytes: int
    is_view: bool
    shared: int | None
    leaf: str | None

    def __str__(self) -> str:
        notes = [self.leaf] if self.leaf else []
        if self.shared is not None:
            notes.append(f"as #{self.shared}")
        elif self.is_view:
            notes.append(f"view of {size_str(self.bytes)}")
        return f"{self.name} ({', '.join(notes)})" if notes else self.name


@dataclass(frozen=True)
class Row:
    """One node of the graph, number `index` in the order of the backward pass.

    `shapes` and `dtypes` are those of its results, mostly one. `forward` and `backward` tell what made them and what
    will make the gradients that are wanted; higher derivatives are taken of a definition in plain ops if `composite`.
    `freed` tells that a backward pass has been here and released what was saved. `stack` holds the calls (file, line,
    function) that led here, outermost first, if lines were traced.
    """

    index: int
    op: str
    grad_fn: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[DType, ...]
    device: device
    forward: Work
    backward: Work
    composite: bool
    saved: tuple[Saved, ...]
    freed: bool
    stack: tuple[Frame, ...] | None

    @property
    def shape(self) -> Shape:
        """The shape of the (first) result."""
        return self.shapes[0]

    @property
    def dtype(self) -> DType:
        """The dtype of the (first) result."""
        return self.dtypes[0]

    @property
    def saved_bytes(self) -> int:
        """What this node keeps alive and no row above does."""
        return sum(s.bytes for s in self.saved if s.shared is None)

    @property
    def line(self) -> str | None:
        """`file:line` of the call that recorded it, the last one outside gradcore; None if lines were not traced."""
        return "{}:{}".format(*self.stack[-1][:2]) if self.stack else None


@dataclass(frozen=True)
class Leaf:
    """A tensor that gradients arrive at; `name` is `leaf 0` or the like if none was given for it."""

    name: str
    shape: Shape
    dtype: DType
    device: device
    bytes: int

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; as text, a table. `saved_bytes` counts each array once, `leaf_bytes` is the part of it that
    belongs to leaves and named tensors, and so stays alive without the graph."""

    rows: tuple[Row, ...]
    leaves: tuple[Leaf, ...]
    saved_bytes: int
    leaf_bytes: int

    def __repr__(self) -> str:
        return self.table(60)

    def table(self, limit: int | None = None) -> str:
        """The table, with at most `limit` rows: then the middle is left out."""
        rows = self.rows
        head = ("#", "grad_fn", "result", "forward", "bytes", "saved", "line")
        if limit is None or len(rows) <= limit:
            cells = [head, *map(_cells, rows)]
        else:
            half = limit // 2
            gap = (f"... {len(rows) - 2 * half} more: see table()", *[""] * 6)
            cells = [head, *map(_cells, rows[:half]), gap, *map(_cells, rows[len(rows) - half :])]
        # A gap's text may run over the columns beside it.
        widths = [max(len(line[i]) for line in cells if line[1]) for i in range(len(head))]
        lines = ["  ".join(_aligned(cell, widths, i) for i, cell in enumerate(line)).rstrip() for line in cells]
        return "\n".join([*lines, *self._totals()])

    def _totals(self) -> Iterator[str]:
        freed = any(row.freed for row in self.rows)
        nodes = f"{len(self.rows)} node{'s' * (len(self.rows) != 1)}"
        held = f", {size_str(self.leaf_bytes)} of it in the leaves themselves" if self.leaf_bytes else ""
        gone = "; some of it has been freed by a backward pass" if freed else ""
        yield f"{nodes}, {size_str(self.saved_bytes)} saved for the backward pass{held}{gone}"
        shown = ", ".join(map(str, self.leaves[:8])) + ", ..." * (len(self.leaves) > 8)
        yield f"{len(self.leaves)} lea{'ves' if len(self.leaves) != 1 else 'f'}: {shown}"


_NARROW = 32  # the widest formula in the table; the rows have all of it
_NUMERIC = (0, 4)


def _aligned(cell: str, widths: Sequence[int], column: int) -> str:
    return cell.rjust(widths[column]) if column in _NUMERIC else cell.ljust(widths[column])


def _cells(row: Row) -> tuple[str, ...]:
    forward = str(row.forward)
    if len(forward) > _NARROW:
        forward = forward[: _NARROW - 3] + "..."
    results = [f"{shape} {dtype}".replace("gradcore.", "") for shape, dtype in zip(row.shapes, row.dtypes)]
    result = (
        results[0] if len(results) == 1 else f"{len(results)}: {', '.join(results[:2])}{', ...' * (len(results) > 2)}"
    )
    if row.device.type != "cpu":
        result += f" {row.device}"
    line = os.path.basename(row.line) if row.line else "not traced"
    size = size_str(row.saved_bytes) if row.saved_bytes else "-"
    saved = "freed" if row.freed else ", ".join(map(str, row.saved))
    return str(row.index), row.grad_fn, result, forward, size, saved, line


def size_str(count: int) -> str:
    """A number of bytes for people: `1.5 MiB`.

    >>> size_str(512), size_str(1536)
    ('512 B', '1.5 KiB')
    """
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while value >= 1024 and unit != "GiB":
        value, unit = value / 1024, next(units)
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def explain(tensors: Tensor | Sequence[Tensor], names: Module | Mapping[str, Tensor] | None = None) -> Explanation:
    """The graph that made `tensors`, node by node in the order of the backward pass.

    For each node: the op and its `grad_fn`, the result, the kernels, the bytes saved for the backward pass, what they
    are and what they share, and the line of the forward call if it ran under `autograd.trace_lines()`. `names` names
    the leaves: a module, or a mapping such as `dict(model.named_parameters())`. Nothing is run or changed.

    >>> import gradcore as torch
    >>> w = torch.ones(3, requires_grad=True)
    >>> torch.explain((w * w).exp().sum(), {"w": w})
    #  grad_fn       result        forward               bytes  saved                        line
    0  SumBackward0  () float32    kernel: reduce            -                               not traced
    1  ExpBackward0  (3,) float32  fused: exp(input)      12 B  result                       not traced
    2  MulBackward0  (3,) float32  fused: input * other   12 B  input (w), other (w, as #2)  not traced
    3 nodes, 24 B saved for the backward pass, 12 B of it in the leaves themselves
    1 leaf: w (3,)

    Raises:
        TypeError: `tensors` are no tensors, or `names` is neither a module nor a mapping.
        RuntimeError: a tensor does not require grad.
    """
    roots, nodes, leaf_tensors = graph_below("explain", tensors)
    named = names_of("explain", names)
    devices = _devices(roots, nodes)
    named = {**{t: f"leaf {i}" for i, t in enumerate(leaf_tensors)}, **named}
    owners = {id(owner_of(t._array)[0]): name for t, name in named.items()}
    counted: dict[int, int] = {}
    rows = [_row(i, node, devices[node], owners, counted) for i, node in enumerate(nodes)]
    first = [s for row in rows for s in row.saved if s.shared is None]
    leaves = [Leaf(named[t], *_described(t._array), backend_of(t._array).device, t._array.nbytes) for t in leaf_tensors]
    held = sum(s.bytes for s in first if s.leaf is not None)
    return Explanation(tuple(rows), tuple(leaves), sum(s.bytes for s in first), held)


def _row(index: int, node: Node, where: device, owners: dict[int, str], counted: dict[int, int]) -> Row:
    saved = []
    for name, array in _kept(node):
        owner, size = owner_of(array)
        before = counted.get(id(owner))
        if before is None:
            counted[id(owner)] = index
        saved.append(Saved(name, *_described(array), size, size > array.nbytes, before, owners.get(id(owner))))
    results = node.outputs or ((node.shape, node.dtype, None),)
    plan = node.plan
    return Row(
        index=index,
        op=plan.op.name,
        grad_fn=node.name(),
        shapes=tuple(shape for shape, _, _ in results),
        dtypes=tuple(from_numpy(dtype) for _, dtype, _ in results),
        device=where,
        forward=forward_work(plan),
        backward=backward_work(plan, [e is not None for e in node.edges]),
        composite=plan.op.composite is not None,
        saved=tuple(saved),
        freed=node.saved is None,
        stack=stack_of(node),
    )


def _described(array: Array) -> tuple[Shape, DType]:
    return tuple(array.shape), from_numpy(array.dtype)


def owner_of(array: Array) -> tuple[Any, int]:
    """What owns the memory of an array, and how many bytes it keeps alive."""
    while is_array(array.base):
        array = array.base
    # Memory that no array owns (a buffer, a mapped file): its size is that of the array nearest to its owner.
    return (array if array.base is None else array.base), array.nbytes


def _kept(node: Node) -> Iterator[tuple[str, Array]]:
    """The arrays that a node keeps, by name: inputs, results, attributes, and what a `Function` put on its ctx."""
    for name, value in zip(value_names(node), node.saved or ()):
        yield from ((name, array) for array in _arrays(value.value if isinstance(value, Packed) else value))
    for name, value in (node.attrs or {}).items():
        if isinstance(value, FunctionCtx):
            for own, kept in vars(value).items():
                if not own.startswith("_"):
                    yield from ((own, array) for array in _arrays(kept))
        else:
            yield from ((name, array) for array in _arrays(value))


def _arrays(value: Any) -> Iterator[Array]:
    """The arrays in a value: itself, a tensor's, or those in (nested) tuples, lists and dictionaries."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Variable):
            value = value._array
        if is_array(value):
            yield value
        elif isinstance(value, (tuple, list, dict)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _devices(roots: Sequence[Variable], nodes: Sequence[Node]) -> dict[Any, device]:
    """Where each node's results lie: where it or what it keeps says, or else where its inputs lie."""
    found: dict[Any, device] = {t._node: backend_of(t._array).device for t in roots if t._node is not None}
    for node in reversed(nodes):  # inputs before results
        if node in found:
            continue
        told = told_device(node)
        if told is None:
            edge: Any = next(e for e in node.edges if e is not None)
            told = found[edge] if isinstance(edge, Node) else backend_of(edge._array).device
        found[node] = told
    return found
