"""The backward pass: nodes in the reverse order of their making, each once, when all its gradients have arrived.

Every consumer of a result was recorded after it, so taking the node with the highest sequence number first is a
topological order that needs no counting pass. The pass works on raw arrays; under `create_graph` on tensors, by the
same rules, so that it is recorded itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush, heappushpop
from typing import Any

from .. import dtypes
from ..backends import backend_of
from ..backends.cpu.backend import LARGE
from ..ops.broadcast import broadcastable, sum_to
from ..ops.convert import to_copy
from ..ops.shape import clone, view
from . import tape
from .grad_mode import mode, recording
from .hooks import accumulating, apply_hooks, not_ours, run_posthooks, run_prehooks, run_tensor_hooks
from .lines import written
from .saved import FREED, saved_tensor, unpacked
from .tape import edge_of, tell, type_name, wrap
from .tracer import Tracer
from .variable import Edge, Moment, Node, Variable, bump, last_change, reachable

# Looks at what each node gives, in anomaly mode.
anomaly: Any = None


class Pass:
    """A backward pass that is running, for hooks that ask what it will do."""

    needed: set[Any] | None = None
    _reached: set[Any] | None = None
    # The node whose turn it is, in anomaly mode.
    node: Node | None = None

    def __init__(self, roots: Sequence[tuple[Variable, Any]]):
        self.roots = roots
        # What hooks keep for the time of the pass, by hook.
        self.notes: dict[Any, Any] = {}

    def reaches(self, edge: Edge) -> bool:
        """Whether a gradient may arrive at `edge`."""
        if self.needed is not None:
            return edge in self.needed
        if self._reached is None:
            self._reached = set(reachable(edge_of(t) for t, _ in self.roots))
        return edge in self._reached


def run(
    roots: Sequence[tuple[Variable, Any]],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Variable] | None = None,
    accumulate: bool = True,
) -> list[Any] | None:
    """Propagate gradients from `roots` (tensor, gradient) to the leaves, or to `inputs` alone.

    With `accumulate` the gradients are added to the leaves' `.grad`; else they are returned, one (or None) for each of
    `inputs`. Gradients are arrays, or tensors under `create_graph` and in forward mode. Nothing is added to any `.grad`
    before the whole pass has succeeded.
    """
    before, outer = mode.enabled, mode.running
    forgotten = mode.dual is not None and not create_graph  # recorded for the tangents' sake
    mode.enabled = create_graph = create_graph or forgotten
    mode.running = running = Pass(roots)
    try:
        targets = None if inputs is None else [(edge_of(t), t._index) for t in inputs]
        leaves, captured = _propagate(running, retain_graph, create_graph, targets)
        if anomaly is not None:
            running.node = None
            anomaly.check_roots(roots)
        if forgotten:
            mode.enabled, create_graph = False, not accumulate
            leaves, captured = _forgotten(leaves, create_graph), _forgotten(captured, create_graph)
        watched = []
        for leaf, g in leaves.items():
            if leaf._hooks:
                leaves[leaf] = apply_hooks(leaf._hooks, g, create_graph)
            if leaf._extra is not None:
                watched.append(leaf)
        if not accumulate:
            assert targets is not None
            return [captured.get(t) if t[0].__class__ is Node else leaves.get(t[0]) for t in targets]
        if inputs is not None and targets is not None:
            wanted = {id(t) for t in inputs}
            leaves = {leaf: g for leaf, g in leaves.items() if id(leaf) in wanted}
            leaves.update({t: captured[target] for t, target in zip(inputs, targets) if target in captured})
        watched = watched and [leaf for leaf in watched if leaf in leaves]
        for leaf in watched:
            if leaf._extra.prehooks:
                (leaves[leaf],) = run_prehooks(leaf._extra.prehooks, (leaves[leaf],), create_graph)
        with accumulating:
            _store(leaves, create_graph)
        if mode.observers:
            tell(None, [t for t, _ in roots], {}, [leaf._grad for leaf in leaves])
        for leaf in watched:
            for hook in tuple(leaf._extra.accumulated.values()):
                hook(leaf)
            if leaf._extra.posthooks:
                run_posthooks(leaf._extra.posthooks, (), (leaves[leaf],), create_graph)
        return None
    except Exception:
        if anomaly is not None and running.node is not None:
            anomaly.report(running.node)
        raise
    finally:
        mode.enabled, mode.running = before, outer


def _propagate(
    running: Pass,
    retain_graph: bool,
    create_graph: bool,
    targets: Sequence[tuple[Any, int]] | None,
) -> tuple[dict[Any, Any], dict[tuple[Any, int], Any]]:
    """The gradients that arrived at leaves, and those of `targets` (node, index of the result)."""
    grads: dict[Any, Any] = {}  # what arrived first, which others may hold
    sums: dict[Any, Any] = {}  # made here of what arrived since, and so may be added to in place
    heap: list[tuple[int, Node]] = []
    captured: dict[tuple[Any, int], Any] = {}
    needed = None
    if targets is not None:
        needed = running.needed = _ancestors([edge_of(t) for t, _ in running.roots], {id(e) for e, _ in targets})
    for t, g in running.roots:
        edge: Any = edge_of(t)
        if needed is None or edge in needed:
            _arrive(grads, heap, edge, t._index, g, create_graph)

    # The latest node found stays out of the heap, and its gradient out of `grads`: along a chain it is the next anyway.
    following: Node | None = None
    carried: Any = None
    plain = targets is None and not create_graph and anomaly is None
    in_place = not create_graph and not tape._watchers  # (Tracers are added to arrays out of place.)
    summed = sums.get
    while True:
        if following is None or (heap and heap[0][0] < following.sequence):
            if not heap:
                break
            if following is None:
                node = heappop(heap)[1]
            else:
                grads[following] = carried
                node = heappushpop(heap, (following.sequence, following))[1]
            g = sums.pop(node) if node in sums else grads.pop(node)
        else:
            node, g = following, carried
        following = None
        if plain and node.fits:  # most nodes
            saved = node.saved
            if saved is None:
                raise RuntimeError(FREED)
            if last_change[0] < node.sequence:  # something was changed in place after this was recorded
                check_versions(node)
            results = node.plan.direct(g, *saved)  # type: ignore[misc]
            if saved and not retain_graph:
                node.saved = None
        else:
            if anomaly is not None:
                running.node = node
            extra = node.extra
            if extra is not None:
                g = run_tensor_hooks(extra, g, node.outputs is not None, create_graph)
            if needed is not None and targets is not None:
                for e, i in targets:
                    if e is node:
                        captured[e, i] = g if node.outputs is None else g[i]
                if not any(e in needed for e in node.edges if e is not None):
                    continue
            if extra is not None and (extra.prehooks or extra.posthooks):
                results = _hooked(node, g, retain_graph, create_graph, needed)
            else:
                results = _differentiated(node, g, retain_graph, create_graph)
            if anomaly is not None:
                anomaly.check_results(node, results)
            _fit_all(node, results, needed, grads, heap, create_graph)
        for edge, r in zip(node.edges, results):
            if edge is None or r is None:
                continue
            total = summed(edge)
            if total is not None:
                if in_place:
                    total += r
                else:
                    sums[edge] = _sum(total, r)
            elif edge is following:
                carried = _sum(carried, r)
            elif edge in grads:
                if grads[edge].__class__ is list:
                    _arrive(grads, heap, edge, 0, r, create_graph)
                else:
                    sums[edge] = _sum(grads.pop(edge), r)
            elif edge.__class__ is Node:
                if edge.outputs is not None:
                    _arrive(grads, heap, edge, 0, r, create_graph)
                elif following is None:
                    following, carried = edge, r
                else:
                    grads[edge] = r
                    heappush(heap, (edge.sequence, edge))
            else:
                grads[edge] = r
    grads.update(sums)
    return grads, captured


def _hooked(node: Node, g: Any, retain_graph: bool, create_graph: bool, needed: set[Any] | None) -> list[Any]:
    """As `_differentiated`, between the node's own hooks."""
    extra = node.extra
    assert extra is not None
    if extra.prehooks:
        gs = run_prehooks(extra.prehooks, (g,) if node.outputs is None else g, create_graph)
        g = gs[0] if node.outputs is None else gs
    results = _differentiated(node, g, retain_graph, create_graph)
    if extra.posthooks:
        for i, edge in enumerate(node.edges):
            if edge is None or (needed is not None and edge not in needed):
                results[i] = None
            elif results[i] is not None:
                results[i] = _fit(results[i], *_described(edge, node.index_of(i)), node, i)
        gs = [g] if node.outputs is None else g
        results = run_posthooks(extra.posthooks, results, gs, create_graph)
    return results


def _described(edge: Any, index: int) -> tuple[tuple[int, ...], Any]:
    """The shape and dtype of result `index` of `edge`."""
    if edge.__class__ is not Node:
        return edge._array.shape, edge._array.dtype
    return (edge.shape, edge.dtype) if edge.outputs is None else edge.outputs[index][:2]


def _differentiated(node: Node, g: Any, retain_graph: bool, create_graph: bool) -> list[Any]:
    """The gradients of a node's inputs, as its plan makes them."""
    saved = node.saved
    if saved is None:
        raise RuntimeError(FREED)
    if last_change[0] < node.sequence:
        check_versions(node)
    plan = node.plan
    if node.extra is not None and node.extra.packed:
        saved = unpacked(node)
    if create_graph:
        results = _recorded(node, g, saved)
    elif plan.op.composite is not None and mode.levels and _traced(node, g, saved):
        # The rule is a kernel, which takes nothing but arrays.
        with recording(True):
            gs = [x if x is None else wrap(x) for x in _of_all_results(node, g)]
            results = _through_composite(node, gs, _saved_tensors(node, saved), create_graph=False)
    elif node.attrs is None and plan.direct is not None and node.shape and g.size < LARGE and not tape._watchers:
        # The short way back. (NumPy makes scalars of zero-dimensional arrays: those take the longer way.)
        results = plan.direct(g, *saved)
    else:
        results = plan.backward(_of_all_results(node, g), saved, node.attrs, node.meta)
    if saved and not retain_graph:
        node.saved = None
    return list(results)


def _fit_all(
    node: Node,
    results: list[Any],
    needed: set[Any] | None,
    grads: dict[Any, Any],
    heap: list[Any],
    create_graph: bool,
) -> None:
    """Give `results` the shapes and dtypes of the inputs. None is left of what nobody wants, and of what goes to one of
    several results of a node, which is delivered here."""
    edge: Any
    for position, edge in enumerate(node.edges):
        r = results[position]
        if edge is None or r is None:
            continue
        if needed is not None and edge not in needed:
            results[position] = None
            continue
        several = None
        shape, dtype = _described(edge, node.index_of(position))
        if edge.__class__ is Node and edge.outputs is not None:
            several = node.index_of(position)
        a = r._array if create_graph else r
        if a.shape != shape or a.dtype is not dtype:
            results[position] = r = _fit(r, shape, dtype, node, position)
        if several is not None:
            results[position] = None
            _arrive(grads, heap, edge, several, r, create_graph)


def _arrive(grads: dict[Any, Any], heap: list[Any], edge: Any, index: int, g: Any, create_graph: bool) -> None:
    """Add `g` to what has arrived for result `index` of `edge`."""
    if edge.__class__ is Node and edge.outputs is not None:
        slots = grads.get(edge)
        if slots is None:
            slots = grads[edge] = [None] * len(edge.outputs)
            heappush(heap, (edge.sequence, edge))
        slots[index] = g if slots[index] is None else _sum(slots[index], g)
    elif edge in grads:
        grads[edge] = _sum(grads[edge], g)
    else:
        grads[edge] = g
        if edge.__class__ is Node:
            heappush(heap, (edge.sequence, edge))


def _sum(a: Any, b: Any) -> Any:
    """`a + b` of two arrays or two tensors; of zero-dimensional NumPy arrays too it is an array."""
    if a.ndim or isinstance(a, (Variable, Tracer)) or isinstance(b, Tracer):
        return a + b
    total = a.copy()
    total += b
    return total


def _traced(node: Node, g: Any, saved: Sequence[Any]) -> bool:
    gs = (g,) if node.outputs is None else g
    return any(isinstance(x, Tracer) for x in (*gs, *saved))


def _of_all_results(node: Node, g: Any) -> Sequence[Any]:
    """The gradients of all results; zeros where none arrived, unless the op takes None for them."""
    if node.outputs is None:
        return (g,)
    if not node.plan.op.fill_grads or all(x is not None for x in g):
        return g
    example = next(x for x in g if x is not None)
    array = example._array if isinstance(example, Variable) else example
    backend = backend_of(array)
    out = []
    for x, (shape, dtype, _) in zip(g, node.outputs):
        if x is None and dtype.kind in "fV":
            x = backend.full(shape, 0, dtype)
            x = wrap(x) if isinstance(example, Variable) else x
        out.append(x)
    return out


def _fit(g: Any, shape: tuple[int, ...], dtype: Any, node: Node, position: int) -> Any:
    """Undo broadcasting and promotion; RuntimeError for a gradient that cannot belong to its tensor."""
    if tuple(g.shape) != shape:
        if not broadcastable(shape, tuple(g.shape)):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient at index {position} - got {list(g.shape)} but "
                f"expected shape compatible with {list(shape)}"
            )
        g = sum_to(g, shape)
    given = (g._array if isinstance(g, Variable) else g).dtype
    if given != dtype:
        if mode.converted is not None and node.dtype == dtype:
            mode.converted.append(
                f"function {node.name()} returned a gradient of dtype {dtypes.from_numpy(given)} at index {position}, "
                f"expected {dtypes.from_numpy(dtype)}"
            )
        g = to_copy(g, dtype=dtypes.from_numpy(dtype))
    return g


def _recorded(node: Node, g: Any, values: Sequence[Any]) -> Sequence[Any]:
    """The gradients as tensors with a history of their own."""
    plan, saved = node.plan, _saved_tensors(node, values)
    gs = _of_all_results(node, g)
    if plan.op.composite is not None:
        return _through_composite(node, gs, saved, create_graph=True)
    return plan.backward(gs, saved, node.attrs, node.meta)


def _saved_tensors(node: Node, values: Sequence[Any]) -> list[Any]:
    """What a node keeps, as tensors with their history; numbers as they are."""
    return [v if node.counters[k] is None else saved_tensor(node, k, v) for k, v in enumerate(values)]


def _through_composite(node: Node, gs: Sequence[Any], saved: Sequence[Any], create_graph: bool) -> Sequence[Any]:
    """Differentiate the definition in plain ops instead of the kernel."""
    op: Any = node.plan.op
    values = dict(zip([op.inputs[p] for p in node.plan.inputs], saved))
    wanted = [i for i, e in enumerate(node.edges) if e is not None]
    backend = backend_of(next(g for g in gs if g is not None)._array)
    for i in wanted:
        name = op.inputs[i]
        value = values[name] if name in values else _placeholder(node, i, backend)
        # A view, which is nothing else's input: one input may be made from another, or be given twice.
        values[name] = view(value, shape=value.shape)
    result = op.composite(**{**op.defaults, **values, **(node.attrs or {})})
    targets = [values[op.inputs[i]] for i in wanted]
    results = result if result.__class__ is tuple else (result,)
    roots = [(r, g if create_graph else g._array) for r, g in zip(results, gs) if g is not None]
    found = run(roots, retain_graph=True, create_graph=create_graph, inputs=targets, accumulate=False)
    assert found is not None
    out: list[Any] = [None] * len(node.edges)
    for i, value in zip(wanted, found):
        out[i] = value
    return out


def _placeholder(node: Node, position: int, backend: Any) -> Any:
    """Stands for an input that was not kept because the derivatives do not depend on its value: zeros."""
    edge: Any = node.edges[position]
    if edge.__class__ is not Node:
        return edge
    index = node.index_of(position)
    shape, dtype = _described(edge, index)
    t = wrap(backend.full(shape, 0, dtype))
    t._node, t._index, t._requires_grad = edge, index, True
    return t


def _ancestors(starts: Sequence[Any], targets: set[int]) -> set[Any]:
    """Everything below `starts` from which a target can be reached, targets included."""
    reaches: dict[Any, bool] = {}
    stack: list[tuple[Any, bool]] = [(s, False) for s in starts]
    while stack:
        edge, done = stack.pop()
        below = edge.edges if edge.__class__ is Node else ()
        if done:
            reaches[edge] = id(edge) in targets or any(reaches.get(e, False) for e in below if e is not None)
        elif edge not in reaches:
            reaches[edge] = False
            stack.append((edge, True))
            stack.extend((e, False) for e in below if e is not None and e not in reaches)
    return {e for e, yes in reaches.items() if yes}


def _forgotten(found: dict[Any, Any], tensors: bool) -> dict[Any, Any]:
    """Gradients without the history that their recording gave them: arrays, or tensors with their tangents."""
    from .tangents import detached

    return {key: detached(g) if tensors else not_ours(g._array) for key, g in found.items() if g is not None}


def _store(leaves: dict[Any, Any], create_graph: bool) -> None:
    """Add the gradients that arrived to `.grad`."""
    taken: set[int] = set()
    for leaf, g in leaves.items():
        old = leaf._grad
        if create_graph:
            leaf._grad = clone(g) if old is None else old + g
        elif old is None:
            # Handed over if nobody else can hold it.
            if g.base is not None or id(g) in taken or not g.flags.c_contiguous:
                g = backend_of(g).copy(g)
            taken.add(id(g))
            leaf._grad = wrap(g)
        elif old._requires_grad or not old.counter():
            # The history of a gradient made under create_graph may need its values; inference tensors do not change.
            leaf._grad = wrap(_sum(old._array, g))
        else:
            old._array += g
            bump(old.counter())


def _short(node: Node) -> str:
    return node.name().split("Backward")[0]


def _maker(node: Node, k: int) -> tuple[Any, int]:
    """The node that made what `node` saved in place `k`, if one did, and which of its results it is."""
    plan = node.plan
    first = len(plan.inputs)
    if k < first:
        return node.edges[plan.inputs[k]], node.index_of(plan.inputs[k])
    if k - first < len(plan.outputs):
        return node, plan.outputs[k - first]
    return plan.op.maker(node, k)


def check_versions(node: Node) -> None:
    """Report a saved tensor that was changed in place after it was saved."""
    assert node.saved is not None
    for k, counter in enumerate(node.counters):
        # The clock runs backwards: a smaller time is a later one. A result saved by an in-place op was changed by the
        # op itself, just before the node was made.
        if counter is None or counter[0] >= node.sequence:
            continue
        value = node.saved[k]
        maker, index = _maker(node, k)
        what = f", which is output {index} of {_short(maker)}," if isinstance(maker, Node) else ""
        changes = [time for time in counter[2:] if time < node.sequence]
        traced = [time.stack for time in changes if isinstance(time, Moment)]
        hint = "enable anomaly detection to find the operation that failed to compute its gradient, with "
        hint += "gradcore.autograd.set_detect_anomaly(True, check_nan=False)"
        if traced:
            hint = "the operation that changed it is shown below"
        where = f"\nIt was changed in place here:\n{written(traced[0][-1:]).rstrip()}" if traced else ""
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{type_name(value)} {list(value.shape)}]{what} is at version {counter[1]}; "
            f"expected version {counter[1] - len(changes)} instead. Hint: {hint}. It was saved by {node.name()} for "
            f"its backward pass: use the out-of-place operation, or change a clone().{where}"
        )
