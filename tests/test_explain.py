"""`explain`: rows, kernels, bytes, sharing, lines; and that what it tells of kernels is what runs."""

from __future__ import annotations

import re
import runpy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import SAMPLES

import gradcore as gc
from gradcore import nn
from gradcore.autograd import tape
from gradcore.autograd.lines import stack_of
from gradcore.autograd.variable import Node
from gradcore.autograd.walk import graph_below
from gradcore.backends import cpu
from gradcore.explanation import owner_of, size_str
from gradcore.expr import call, trace
from gradcore.expr.formula import formula
from gradcore.ops import REGISTRY, work

ROOT = Path(__file__).resolve().parents[1]


def leaf(*shape: int, device: str = "cpu") -> gc.Tensor:
    return gc.rand(*shape, device=device, requires_grad=True)


# ---------------------------------------------------------------- rows and leaves
def test_rows_in_the_order_of_the_backward_pass(device: str) -> None:
    x, w = leaf(4, 3, device=device), leaf(2, 3, device=device)
    y = nn.functional.linear(x.tanh(), w)
    loss = y.sum()
    found = gc.explain(loss, {"w": w})
    assert [(r.index, r.op, r.grad_fn) for r in found.rows] == [
        (0, "sum", "SumBackward0"),
        (1, "linear", "AddmmBackward0"),
        (2, "tanh", "TanhBackward0"),
    ]
    assert [r.shape for r in found.rows] == [(), (4, 2), (4, 3)]
    assert {r.dtype for r in found.rows} == {gc.float32}
    assert {r.device for r in found.rows} == {loss.device}
    assert [str(r.forward) for r in found.rows] == ["kernel: reduce", "kernel: linear", "fused: tanh(input)"]
    assert [str(r.backward) for r in found.rows] == [
        "composite: spread",
        "kernel: linear_backward",
        "fused: grad0 * (1 - (result0 * result0))",
    ]
    assert [r.composite for r in found.rows] == [False, True, False]
    assert [(s.name, s.leaf, s.shared) for r in found.rows for s in r.saved] == [
        ("input", None, None),
        ("weight", "w", None),
        ("result", None, 1),
    ]
    assert {(found_leaf.name, found_leaf.shape) for found_leaf in found.leaves} == {("w", (2, 3)), ("leaf 1", (4, 3))}
    assert found.saved_bytes == 4 * (4 * 3 + 2 * 3) and found.leaf_bytes == 4 * 2 * 3


def test_order_is_that_of_the_engine() -> None:
    x = leaf(3)
    a, b = x.exp(), x.sin()
    c = a * b
    loss = (c + a).sum() + x.clone().split([1, 2])[1].sum()
    seen: list[str] = []
    _, nodes, _ = graph_below("test", loss)
    for node in nodes:
        node.more().hooks[0] = {0: lambda g, node=node: seen.append(node.name())}
    names = [row.grad_fn for row in gc.explain(loss).rows]
    loss.backward()
    # (A hook on result 0 of a split that got no gradient is not called.)
    assert seen == [name for name in names if name != "SplitBackward0"] and len(names) == 9


def test_each_array_counts_once_and_views_count_what_they_keep() -> None:
    x = leaf(8, 8)
    h = x.exp()  # keeps its result
    y = (h[::2] * h[1::2]).sum()  # two views of that result
    rows = {row.op: row for row in gc.explain(y).rows}
    first, second = rows["mul"].saved
    assert (first.bytes, first.shape, first.is_view, first.shared) == (256, (4, 8), True, None)
    assert (second.bytes, second.shared) == (256, rows["mul"].index)
    assert rows["exp"].saved[0].shared == rows["mul"].index and rows["exp"].saved_bytes == 0
    assert gc.explain(y).saved_bytes == 256 and gc.explain(y).leaf_bytes == 0
    z = (h * h).sum() + h.sin().sum()
    assert [(r.op, [s.shared for s in r.saved]) for r in gc.explain(z).rows if r.saved] == [
        ("sin", [None]),
        ("mul", [2, 2]),
        ("exp", [2]),
    ]


def test_index_tensors_and_what_a_function_keeps_count() -> None:
    class Scale(gc.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: gc.Tensor) -> gc.Tensor:
            ctx.save_for_backward(x)
            ctx.factors = [gc.ones(10), np.ones(3)]
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: gc.Tensor) -> gc.Tensor:
            return g * 2

    x = leaf(5)
    y = Scale.apply(x)[gc.tensor([0, 1, 2])].sum()
    found = gc.explain(y)
    assert [str(s) for s in found.rows[1].saved] == ["key"] and found.rows[1].saved_bytes == 24
    assert [(s.name, s.bytes) for s in found.rows[2].saved] == [("saved 0", 20), ("factors", 24), ("factors", 40)]
    assert str(found.rows[2].forward) == "python: Scale.forward" and found.rows[2].backward.kind == "python"
    y.backward()
    assert [r.freed for r in gc.explain(y).rows] == [False, False, True]
    assert "some of it has been freed" in repr(gc.explain(y))


def test_memory_of_a_buffer_counts_once() -> None:
    buffer = bytearray(64)
    a, b = np.frombuffer(buffer, np.float32, 4), np.frombuffer(buffer, np.float32)
    assert owner_of(a[1:])[0] is owner_of(a)[0] and owner_of(a)[1] == 16 and owner_of(b)[1] == 64
    base = np.zeros((4, 4))
    assert owner_of(np.broadcast_to(base[0], (9, 4)))[0] is base


def test_several_results_and_several_roots() -> None:
    x = leaf(5)
    p, q = x.split([2, 3])
    found = gc.explain([p.exp().sum(), q.sin().sum()])
    split = found.rows[-1]
    assert split.shapes == ((2,), (3,)) and split.forward.kind == "view"
    assert len(found.rows) == 5 and "2: (2,) float32, (3,) float32" in repr(found)


def test_devices_of_a_graph_that_moves(_cuda_reason: str | None) -> None:
    if _cuda_reason is not None:
        pytest.skip(_cuda_reason)
    w = leaf(3, device="cuda")
    x = gc.zeros(3)
    x.copy_(w * 2)
    found = gc.explain((x.exp().cuda() + 1).sum())
    assert [(r.op, r.device.type) for r in found.rows] == [
        ("sum", "cuda"),
        ("add", "cuda"),
        ("to_copy", "cuda"),
        ("exp", "cpu"),
        ("copy_values", "cpu"),
        ("mul", "cuda"),
    ]
    assert "float32 cuda:0" in repr(found)


def test_gradients_of_a_copy_go_back_to_its_device(_cuda_reason: str | None) -> None:
    if _cuda_reason is not None:
        pytest.skip(_cuda_reason)
    w = leaf(3, device="cuda")
    x = gc.zeros(3)
    x.copy_(w)
    (x * 2).sum().backward()
    assert w.grad is not None and w.grad.device == w.device and w.grad.tolist() == [2, 2, 2]


def test_leaves_without_nodes_and_what_is_refused() -> None:
    w = leaf(2)
    alone = gc.explain(w)
    assert alone.rows == () and [str(x) for x in alone.leaves] == ["leaf 0 (2,)"]
    with pytest.raises(RuntimeError, match=r"explain\(\): element 1 of tensors does not require grad"):
        gc.explain([w * 2, gc.ones(2)])
    with pytest.raises(TypeError, match="expected a Tensor or a sequence of Tensors, got float"):
        gc.explain([1.0])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="names must be a Module or a mapping"):
        gc.explain(w * 2, [("w", w)])  # type: ignore[arg-type]


def test_names_of_frozen_parameters() -> None:
    model = nn.Linear(3, 2)
    model.weight.requires_grad_(False)
    x = leaf(4, 3)
    saved = gc.explain(model(x).sum(), model).rows[1].saved
    assert [(s.name, s.leaf) for s in saved] == [("input", "leaf 0"), ("weight", "weight")]


def test_a_large_graph() -> None:
    y = leaf(2)
    for _ in range(10_000):
        y = y * 1.5
    found = gc.explain(y.sum())
    assert len(found.rows) == 10_001
    assert repr(found).count("\n") == 63 and "... 9941 more: see table()" in repr(found)
    assert found.table().count("\n") == 10_003


def test_explaining_changes_nothing() -> None:
    x = leaf(3)
    y = (x.exp() * 2).sum()
    before = repr(gc.explain(y))
    assert repr(gc.explain(y)) == before
    y.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(x.detach().numpy()), rtol=1e-6)


# ---------------------------------------------------------------- kernels
def test_kinds_of_work() -> None:
    x = leaf(4, 4)
    kinds = {
        row.op: (row.forward.kind, row.backward.kind)
        for y in (
            x.transpose(0, 1).reshape(-1).sum(),
            (x + 1).softmax(1).sum(),
            gc.cat([x, x]).std(),
            nn.functional.nll_loss(x, gc.tensor([0, 1, 2, 3])),
        )
        for row in gc.explain(y).rows
    }
    assert kinds["transpose"] == ("view", "view")
    assert kinds["reshape"] == ("view", "view")
    assert kinds["softmax_dim"] == ("kernel", "composite")
    assert kinds["add"] == ("fused", "nothing")
    assert kinds["cat"] == ("library", "view")
    assert kinds["nll_loss_rows"][0] == "composite"


def test_only_what_is_wanted_is_told_of_the_backward_pass() -> None:
    x = leaf(3)
    both, one = gc.explain((x * leaf(3)).sum()).rows[1], gc.explain((x * gc.ones(3)).sum()).rows[1]
    assert both.backward.detail == "grad0 * other, grad0 * input" and one.backward.detail == "grad0 * other"
    m = leaf(2, 3)
    assert gc.explain(gc.mm(m, gc.ones(3, 2)).sum()).rows[1].backward.detail == "mm"


def stated(op: Any, seen: set[Any]) -> set[str]:
    """The kernels of an op, and of the ops it is made of."""
    if op in seen:
        return set()
    seen.add(op)
    if not isinstance(op, work.ArrayOp):
        return {"elementwise"}
    kernels, ops = work._called(op.function)
    return set(kernels).union(*(stated(o, seen) for o in ops))


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.differentiable], ids=lambda s: s.name)
def test_what_runs_was_told(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel that an op runs is among those read off its code."""
    run: list[tuple[Any, str]] = []
    current: list[Any] = []
    depth = 0

    def spied(name: str, original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if depth == 0 and current:
                run.append((current[-1], name))
            depth += 1
            try:
                return original(self, *args, **kwargs)
            finally:
                depth -= 1

        return method

    for name in work._KERNELS:
        monkeypatch.setattr(type(cpu), name, spied(name, getattr(type(cpu), name)))
    original = work.ArrayOp.run

    def run_of(self: Any, inputs: Any, attrs: Any) -> Any:
        current.append(self)
        try:
            return original(self, inputs, attrs)
        finally:
            current.pop()

    monkeypatch.setattr(work.ArrayOp, "run", run_of)
    tensors = [gc.tensor(a, requires_grad=True) for a in sample.arrays("float32")]
    sample.function(gc, *tensors)
    for op, name in run:
        assert name in stated(op, set()), f"{op.name} ran {name}"


def test_kernels_are_found_at_all() -> None:
    found = {name: work._called(op.function)[0] for name, op in REGISTRY.items() if isinstance(op, work.ArrayOp)}
    assert found["matmul"] == {"matmul"} and found["native_layer_norm"] == {"layer_norm"}
    assert found["softmax_dim"] == {"softmax"} and found["sum"] == {"reduce"} and not found["cat"]
    assert not {"empty", "copy", "astype", "from_host"} & work._KERNELS


def test_formulas() -> None:
    assert formula(trace(lambda a, b: -a - b * -2)) in ("(-a) - (b * (-2))", "(-a) + (b * 2)")
    assert formula(trace(lambda a: call("where", a > 0, a, 0.5))) == "where(a > 0, a, 0.5)"
    assert formula(trace(lambda a: call("sigmoid", a) + call("sigmoid", a))) == "t0 = sigmoid(a); t0 + t0"
    deep = trace(lambda a: [a := a * a + 1 for _ in range(200)][-1])
    assert len(formula(deep)) < 20_000


def test_sizes() -> None:
    assert [size_str(n) for n in (0, 1023, 1024, 5 << 20, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3072.0 GiB",
    ]


# ---------------------------------------------------------------- lines
def test_lines_of_the_calls() -> None:
    x, model = leaf(4, 3), nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    with gc.autograd.trace_lines():
        a = x.exp()
        b = model(a)
        c = b.sum()
    first = test_lines_of_the_calls.__code__.co_firstlineno
    lines = [row.line for row in gc.explain(c).rows]
    assert lines == [f"{__file__}:{first + n}" for n in (5, 4, 4, 3)]
    (file, _, function) = gc.explain(c).rows[0].stack[-1]  # type: ignore[index]
    assert (file, function) == (__file__, "test_lines_of_the_calls")
    assert f"{Path(__file__).name}:{first + 5}" in repr(gc.explain(c))


def test_lines_are_kept_only_while_traced() -> None:
    x = leaf(2)
    assert tape.new_node is Node
    with gc.autograd.trace_lines():
        with gc.autograd.trace_lines():
            inner = x.exp()
        outer = x.exp()
    with pytest.raises(ValueError), gc.autograd.trace_lines():
        raise ValueError
    after = x.exp()
    assert tape.new_node is Node
    assert stack_of(inner._node) and stack_of(outer._node) and stack_of(after._node) is None
    (row,) = gc.explain(after).rows
    assert row.line is None and row.stack is None and "not traced" in repr(gc.explain(after))
    # The nodes of a traced backward pass differ from none: the engine tells nodes from leaves by their class.
    assert type(inner._node) is Node
    inner.sum().backward()


def test_all_ways_of_recording_are_traced(device: str) -> None:
    class Double(gc.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: gc.Tensor) -> gc.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: gc.Tensor) -> gc.Tensor:
            return g * 2

    x = leaf(4, device=device)
    with gc.autograd.trace_lines():
        y = (x.exp() * x + 1).reshape(2, 2)
        y[0] = 2.0
        y = Double.apply(y.split(1)[1].clone())
        (g,) = gc.autograd.grad(y.sum(), x, create_graph=True)
    rows = [*gc.explain(y).rows, *gc.explain(g.sum()).rows[1:]]
    assert all(row.line and row.line.startswith(__file__) for row in rows) and len(rows) > 10


def test_threads_that_overlap() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with gc.autograd.trace_lines():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with gc.autograd.trace_lines():
        thread.start()
        assert entered.wait(10)
    assert tape.new_node is not Node
    leave.set()
    thread.join()
    assert tape.new_node is Node


# ---------------------------------------------------------------- the example
def test_the_table_in_the_readme(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["see_graph.py", str(tmp_path / "graph.dot")])
    runpy.run_path(str(ROOT / "examples" / "see_graph.py"))
    table = capsys.readouterr().out
    shown = re.search(r"^```text\n(#  grad_fn.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert shown is not None and shown[1] == table
    assert (tmp_path / "graph.dot").read_text().startswith("digraph gradcore {")
