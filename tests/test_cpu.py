"""The CPU's NumPy executor: blocks against whole arrays, its threads, and what large arrays cost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from updates import run

import gradcore
from gradcore import backends, expr
from gradcore.backends.base import Reduction
from gradcore.backends.cpu import backend, blocked, memory, multi_tensor, rows, threads
from gradcore.backends.cpu.backend import CpuBackend
from gradcore.expr import numpy_functions, trace
from gradcore.expr.numpy_blocks import compile_blocks

cpu = CpuBackend()
F16, BF16, F32, F64, BOOL = (np.dtype(d) for d in ("f2", ml_dtypes.bfloat16, "f4", "f8", "?"))


@pytest.fixture(autouse=True)
def threads_restored():
    before = threads._count
    yield
    threads._count = before


@pytest.fixture
def blas_restored():
    """For tests that call set_num_threads, which tells BLAS too."""
    before = gradcore.get_num_threads()
    yield
    gradcore.set_num_threads(before)


@pytest.fixture
def small(monkeypatch):
    """Everything is large, and takes many blocks on three threads."""
    monkeypatch.setattr(backend, "LARGE", 1)
    monkeypatch.setattr(blocked, "BLOCK", 7)
    monkeypatch.setattr(blocked, "PLAIN_TILE", 5)
    monkeypatch.setattr(blocked, "RUN", 3)
    monkeypatch.setattr(blocked, "GRAIN", 1)
    monkeypatch.setattr(rows, "ROWS", 8)
    monkeypatch.setattr(rows, "GRAIN", 1)
    monkeypatch.setattr(multi_tensor, "STRETCH", 5)
    monkeypatch.setattr(multi_tensor, "GRAIN", 1)
    threads._count = 3


PROGRAMS = {
    "add": trace(lambda a, b: a + b),
    "sigmoid": trace(lambda a, b: b * expr.sigmoid(a)),
    "shared": trace(lambda a, b: (expr.exp(a) * b + expr.exp(a), expr.exp(a), a, a + b > 0)),
    "where": trace(lambda a, b: expr.where(a > b, a, b) + expr.where(a < 0, 0, b) - expr.where(b < 0, a, 0)),
    "choice": trace(
        lambda a, b: expr.where(expr.logical_and(a > 0, expr.logical_not(b > 0)), -0.0, expr.maximum(a, 0))
    ),
    "functions": trace(lambda a, b: expr.sign(a) + expr.pow(expr.abs(a), b) + expr.erf(b) * expr.rsqrt(expr.abs(b))),
    "remainder": trace(lambda a, b: expr.remainder(a, b) - expr.floor_divide(a, 3) + expr.minimum(b, 1)),
    "number": trace(lambda a, b: (a + 1, a * b, 2.5)),
    "random": trace(lambda a, b: expr.where(expr.uniform(3, 5) < 0.5, a, b)),
}


@st.composite
def operands(draw):
    """Two arrays that broadcast together, in any layout, and their common shape."""
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=4)))
    arrays = []
    for seed in range(2):
        own = tuple(draw(st.sampled_from((n, n, 1))) for n in shape)[draw(st.integers(0, max(len(shape) - 1, 0))) :]
        order = draw(st.permutations(range(len(own))))
        base = np.random.default_rng(seed).normal(size=[own[d] * 2 for d in order])
        view = base[tuple(slice(None, None, draw(st.sampled_from((2, -2)))) for _ in own)]
        arrays.append(view.transpose(np.argsort(order).astype(int)) if own else np.asarray(view))
    return arrays, np.broadcast_shapes(arrays[0].shape, arrays[1].shape)


def bits(array):
    """What equality to the last bit compares: NaN equals NaN, and 0 is not -0."""
    a = np.asarray(array, np.float64) if array.dtype.kind in "fV" else array
    return a.tobytes() if a.dtype.kind != "f" else np.where(np.isnan(a), np.nan, a).tobytes()


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dtype", (F32, F64, F16, BF16), ids=str)
@settings(max_examples=25, deadline=None)
@given(given=operands())
def test_blocks_equal_whole_arrays_to_the_bit(name, dtype, given):
    program = PROGRAMS[name]
    (a, b), shape = given
    inputs = [a.astype(dtype), b.astype(dtype)]
    outs = [BOOL if program.output_kind(i) == "bool" else dtype for i in range(len(program.outputs))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "BLOCK", 7)
        patch.setattr(blocked, "GRAIN", 1)
        threads._count = 3
        with np.errstate(all="ignore"):
            whole = cpu.small_elementwise(program, inputs, dtype, outs, shape)
        if not blocked.suits(program, dtype):
            assert name == "random" and dtype == F64
            return
        for one, other in zip(blocked.evaluate(program, inputs, dtype, outs, shape), whole, strict=True):
            assert one.shape == shape and one.dtype == other.dtype and one.base is None
            assert bits(one) == bits(other)


def test_bools_and_numbers_in_blocks(small):
    """Bool arrays stay bool in conditions, count in arithmetic, and mix with integers and numbers."""
    program = trace(lambda c, x, k, s: (expr.where(c, x * s, k), expr.logical_and(c, k > 1), c * x))
    c, x, k = np.arange(60) % 3 == 0, np.linspace(-2, 2, 60, dtype=F32), np.arange(60)
    inputs = (c, x, k, 0.5)
    found = cpu.elementwise(program, inputs, F32, [F32, BOOL, F32], (60,))
    np.testing.assert_array_equal(found[0], np.where(c, x * F32.type(0.5), k.astype(F32)))
    np.testing.assert_array_equal(found[1], c & (k > 1))
    np.testing.assert_array_equal(found[2], c * x)


def test_integers_are_computed_exactly_at_any_size(small):
    a, b = np.arange(-50, 50), np.full(100, 2**60)
    (found,) = cpu.elementwise(trace(lambda a, b: a + b), (a, b), a.dtype, [a.dtype], (100,))
    np.testing.assert_array_equal(found, a + b)
    with pytest.raises(ZeroDivisionError):
        cpu.elementwise(trace(lambda a, b: expr.floor_divide(a, b)), (a, b * 0), a.dtype, [a.dtype], (100,))


def test_blocks_keep_the_layout_of_the_inputs():
    x = np.ones((300, 400), F32)
    program = trace(lambda x: expr.exp(x) + x)
    assert blocked.evaluate(program, (x.T,), F32, [F32], (400, 300))[0].flags.f_contiguous
    both = trace(lambda x, b: expr.exp(x) + b)
    assert blocked.evaluate(both, (x[0], x), F32, [F32], (300, 400))[0].flags.c_contiguous


def test_temporaries_share_registers():
    def long_chain(x):
        for _ in range(20):
            x = expr.sigmoid(x * x) + 1
        return x

    assert compile_blocks(trace(long_chain), "v", "v").values <= 2


REDUCTIONS = {
    "sum": Reduction(trace(lambda x: x), "sum"),
    "mean": Reduction(trace(lambda x: x), "sum", trace(lambda acc, count: acc / count)),
    "squares": Reduction(trace(lambda x: x * x), "sum"),
    "max": Reduction(trace(lambda x: x), "max"),
    "min": Reduction(trace(lambda x: expr.abs(x)), "min"),
    "any": Reduction(trace(lambda x: x > 1), "any"),
    "all": Reduction(trace(lambda x: x > -1), "all"),
    "prod": Reduction(trace(lambda x: x), "prod"),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@settings(max_examples=40, deadline=None)
@given(given=operands(), data=st.data())
def test_tiles_reduce_to_what_whole_arrays_do(name, given, data):
    x, reduction = given[0][0], REDUCTIONS[name]
    axes = tuple(d for d in range(x.ndim) if data.draw(st.booleans()))
    keepdims = data.draw(st.booleans())
    shape = (3, *x.shape) if data.draw(st.booleans()) else x.shape  # repeated along a dimension of its own
    out = BOOL if reduction.combine in ("any", "all") else F64
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in (("BLOCK", 7), ("PLAIN_TILE", 5), ("RUN", 3), ("GRAIN", 1)):
            patch.setattr(blocked, constant, value)
        threads._count = 3
        found = cpu.large_reduce(reduction, (x,), F64, out, shape, axes, keepdims)
    expected = cpu.small_reduce(reduction, (np.broadcast_to(x, shape),), F64, out, shape, axes, keepdims)
    assert found.shape == expected.shape and found.dtype == expected.dtype and found.base is None
    np.testing.assert_allclose(found, expected, rtol=64 * np.finfo(F64).eps, atol=64 * np.finfo(F64).eps)


@pytest.mark.parametrize("dtype", (F16, BF16), ids=str)
def test_half_precision_is_summed_in_float32(small, dtype):
    x = np.full(3000, 1.0, dtype)  # 2049 has no float16, 257 no bfloat16
    assert cpu.reduce(REDUCTIONS["sum"], (x,), dtype, F32, x.shape, (0,), False) == 3000
    assert cpu.reduce(REDUCTIONS["squares"], (x,), dtype, F32, x.shape, (0,), False) == 3000


def test_integer_sums_and_nan_in_tiles(small):
    whole = np.arange(1000)
    assert cpu.reduce(REDUCTIONS["sum"], (whole,), whole.dtype, whole.dtype, (1000,), (0,), False) == 499500
    x = np.zeros((40, 30), F32)
    x[17, 4] = np.nan
    found = cpu.reduce(REDUCTIONS["max"], (x,), F32, F32, x.shape, (1,), False)
    np.testing.assert_array_equal(np.isnan(found), np.arange(40) == 17)


def test_a_long_sum_of_squares_is_as_accurate_as_numpys():
    x = np.random.default_rng(0).random(1 << 22, dtype=F32)
    exact = np.square(x, dtype=F64).sum()
    pairwise = abs(np.square(x).sum() - exact)
    found = cpu.reduce(REDUCTIONS["squares"], (x,), F32, F32, x.shape, (0,), False)
    assert abs(found - exact) <= max(pairwise, np.spacing(F32.type(exact)))


# ---------------------------------------------------------------- rows and multi_tensor
@pytest.mark.parametrize("dtype", (F32, F64, F16, BF16), ids=str)
@pytest.mark.parametrize("log", (False, True))
def test_softmax_in_blocks(small, dtype, log):
    x = np.random.default_rng(0).normal(size=(23, 5)).astype(dtype)
    g = np.random.default_rng(1).normal(size=(23, 5)).astype(dtype)
    e = np.exp(x.astype(F64) - x.astype(F64).max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    found = cpu.softmax(x, log, dtype)
    limit = 8 * float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(found.astype(F64), np.log(y) if log else y, rtol=limit, atol=limit)
    wide = g.astype(F64)
    y = found.astype(F64)
    expected = wide - np.exp(y) * wide.sum(1, keepdims=True) if log else y * (wide - (wide * y).sum(1, keepdims=True))
    grad = cpu.softmax_backward(g, found, log, dtype)
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad.astype(F64), expected, rtol=limit, atol=limit * 4)


@pytest.mark.parametrize("dtype", (F32, BF16), ids=str)
@pytest.mark.parametrize("ignore_index", (-100, 2))
@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize("smoothing", (0.0, 0.1))
def test_cross_entropy_in_blocks(monkeypatch, dtype, ignore_index, weighted, smoothing):
    random = np.random.default_rng(0)
    x, g = random.normal(size=(29, 5)).astype(dtype), random.normal(size=29).astype(dtype)
    target, weight = random.integers(0, 5, 29), random.random(5).astype(dtype) if weighted else None
    monkeypatch.setattr(rows, "ROWS", 8)
    monkeypatch.setattr(rows, "GRAIN", 1)
    found = []
    for count in (1, 3):
        threads._count = count
        losses, lse, weights = cpu.cross_entropy(x, target, weight, ignore_index, smoothing)
        grad = cpu.cross_entropy_backward(g, x, target, weight, lse, ignore_index, smoothing)
        found.append([a.tobytes() for a in (losses, lse, grad)])
    assert found[0] == found[1]
    # By definition, in float64.
    wide = x.astype(F64)
    logp = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    w = np.ones(5) if weight is None else weight.astype(F64)
    q = np.full((29, 5), smoothing / 5) * w
    q[np.arange(29), target] += (1 - smoothing) * w[target]
    q[target == ignore_index] = 0
    limit = 8 * float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(losses.astype(F64), -(q * logp).sum(1), rtol=limit, atol=limit)
    expected = g.astype(F64)[:, None] * (q.sum(1, keepdims=True) * np.exp(logp) - q)
    np.testing.assert_allclose(grad.astype(F64), expected, rtol=limit, atol=limit)
    assert (weights is None) == (ignore_index == -100 and not weighted and not smoothing)


@pytest.mark.parametrize("name", ("sgd", "sgd nesterov", "adam", "adam amsgrad", "rmsprop centered", "radam"))
@pytest.mark.parametrize("dtype", (F32, BF16), ids=str)
def test_updates_do_not_depend_on_how_parameters_are_cut(monkeypatch, name, dtype):
    """Gathered, in stretches or whole; contiguous or not: the same numbers to the bit."""

    def stepped(stretch, little, count):
        monkeypatch.setattr(multi_tensor, "STRETCH", stretch)
        monkeypatch.setattr(multi_tensor, "SMALL", little)
        monkeypatch.setattr(multi_tensor, "GRAIN", 1)
        monkeypatch.setattr(multi_tensor, "_room", multi_tensor._Room())
        threads._count = count
        random = np.random.default_rng(0)
        shapes = [(3,), (4, 5), (2,), (1,), (6, 7), (5,), ()]
        columns = [[np.asarray(random.random(s)).astype(dtype) for s in shapes] for _ in range(5)]
        columns[0][4] = np.asfortranarray(columns[0][4])
        for step in (1, 2):
            run(cpu, name, columns, step)
        return [a.tobytes() for column in columns for a in column]

    whole = stepped(1 << 20, 0, 1)
    assert stepped(8, 0, 3) == whole
    assert stepped(20, 10, 3) == whole
    assert stepped(1 << 20, 1 << 20, 1) == whole


def test_a_parameter_given_twice_is_updated_twice():
    p, g = [np.ones(4, F32) for _ in range(2)]
    run(cpu, "sgd", [[p] * 5, [g] * 5])
    np.testing.assert_allclose(p, np.full(4, 1 - 5 * 0.1, F32), rtol=1e-6)


def test_erf_against_the_standard_library():
    import math

    x = np.concatenate([np.linspace(-7, 7, 20001), np.logspace(-30, 0, 1000), [0.0, -0.0, np.inf, -np.inf]])
    for dtype, ulps in ((F32, 4), (F64, 3)):
        given = x.astype(dtype)
        exact = np.array([math.erf(v) for v in given.astype(F64)])
        assert (np.abs(numpy_functions.erf(given) - exact) <= ulps * np.spacing(np.abs(exact).astype(dtype))).all()
        assert np.isnan(numpy_functions.erf(np.array([np.nan], dtype))).all()
        assert np.signbit(numpy_functions.erf(np.array([-0.0], dtype))).all()


# ---------------------------------------------------------------- threads
@pytest.mark.parametrize("size", [3, 2 * numpy_functions._MANY])
@pytest.mark.parametrize("dtype", [F16, F32, F64, np.dtype("i8")], ids=str)
def test_choosing_by_bits(size, dtype):
    random = np.random.default_rng(0)
    condition = random.random((2, size)) < 0.5
    given = (random.standard_normal((size, 2)) * 9).astype(dtype).T
    if dtype.kind == "f":
        given[0, :3] = -0.0, np.nan, np.inf
    for a, b in ((0, given), (given, 0.0), (-0.0, given), (given, given[:, ::-1]), (1, given[:1]), (given[:, :1], 0)):
        expected = np.where(condition, a, b)
        found = numpy_functions.where(condition, a, b)
        written = numpy_functions.where(condition, a, b, out=np.empty(expected.shape, expected.dtype))
        assert found.dtype == written.dtype == expected.dtype
        assert found.tobytes("C") == written.tobytes("C") == expected.tobytes("C")


def test_every_item_is_done_once_and_by_several_threads():
    threads._count = 4
    done, workers = np.zeros(1000, int), set()
    gate = threading.Barrier(4, timeout=60)

    def task(start, stop):
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            gate.wait()
        done[start:stop] += 1

    threads.parallel(task, 1000)
    assert (done == 1).all() and len(workers) == 4


def test_the_first_exception_is_raised_and_the_pool_goes_on():
    threads._count = 3
    running = []

    def task(start, stop):
        running.append(start)
        try:
            if start == 0:
                raise ValueError("broken")
            time.sleep(0.001)
        finally:
            running.remove(start)

    for _ in range(20):
        with pytest.raises(ValueError, match="broken"):
            threads.parallel(task, 30)
        assert not running
    total = []
    threads.parallel(lambda start, stop: total.append(stop - start), 30)
    assert sum(total) == 30


def test_a_nested_call_runs_where_it_is_made():
    threads._count = 3
    found = []

    def outer(start, stop):
        here = threading.get_ident()
        threads.parallel(lambda a, b: found.append((here == threading.get_ident(), b - a)), 5)

    threads.parallel(outer, 12)
    assert found and all(f == (True, 5) for f in found)


def test_small_counts_and_grains():
    threads._count = 4
    pieces = []
    threads.parallel(lambda start, stop: pieces.append((start, stop)), 0)
    assert pieces == []
    threads.parallel(lambda start, stop: pieces.append((start, stop)), 10, 6)
    assert pieces == [(0, 10)]
    pieces.clear()
    threads.parallel(lambda start, stop: pieces.append(stop - start), 100, 30)
    assert sum(pieces) == 100 and min(pieces) >= 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own():
    threads._count = 2
    threads.parallel(lambda start, stop: None, 8)
    child = os.fork()
    if child == 0:
        total = []
        threads.parallel(lambda start, stop: total.append(stop - start), 100)
        os._exit(0 if sum(total) == 100 and threads._pool.started == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_results_do_not_depend_on_the_number_of_threads(blas_restored):
    x = gradcore.randn(300, 1111, requires_grad=True)
    found = []
    for count in (1, 2, 5):
        gradcore.set_num_threads(count)
        x.grad = None
        y = (gradcore.softmax(x * x, dim=1) * gradcore.tanh(x)).sum(dim=0)
        (y * y).sum().backward()
        found.append((y.detach().numpy().tobytes(), x.grad.numpy().tobytes()))
    assert found[0] == found[1] == found[2]


def test_blas_is_told_too(blas_restored):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="BLAS is told through threadpoolctl")
    for count in (2, 1):
        gradcore.set_num_threads(count)
        found = {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
        assert found <= {count}


def test_set_num_threads(blas_restored):
    gradcore.set_num_threads(3)
    assert gradcore.get_num_threads() == 3
    for wrong, error in ((0, RuntimeError), (-1, RuntimeError), (1.5, TypeError), (True, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="set_num_threads expects"):
            gradcore.set_num_threads(wrong)
    assert gradcore.get_num_threads() == 3


@pytest.mark.parametrize(
    "variables, expected",
    (
        ({"GRADCORE_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"OMP_NUM_THREADS": "2,1"}, 2),
        ({"OMP_NUM_THREADS": "many"}, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None),
    ),
)
def test_the_number_of_threads_at_first(variables, expected):
    environment = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
    code = "import gradcore; print(gradcore.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables}, capture_output=True, text=True, check=True
    )
    assert expected is None or int(done.stdout) == expected


def test_a_process_ends_while_threads_wait():
    code = "import gradcore as g; g.set_num_threads(4); print(float((g.ones(1000, 1000) * 2).exp().sum()) > 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "True" and done.returncode == 0 and not done.stderr


# ---------------------------------------------------------------- memory
def test_large_expressions_take_no_temporaries_of_their_size():
    """Ten operators on 16 MB: the result, and registers of a block for each thread."""
    threads._count = 2
    x = np.ones(1 << 22, F32)
    program = trace(lambda x: x * expr.sigmoid(expr.sigmoid(x) * 1.5 + x) + expr.exp(-x * x))
    tracemalloc.start()
    try:
        (out,) = cpu.elementwise(program, (x,), F32, [F32], x.shape)
        elementwise = tracemalloc.get_traced_memory()[1] - out.nbytes
        tracemalloc.reset_peak()
        cpu.reduce(Reduction(program, "sum"), (x,), F32, F32, x.shape, (0,), False)
        reduction = tracemalloc.get_traced_memory()[1] - out.nbytes
    finally:
        tracemalloc.stop()
    registers = 2 * 8 * blocked.BLOCK * F32.itemsize
    assert elementwise < registers and reduction < registers


# ---------------------------------------------------------------- memory
FRESH = """
import sys, resource
import gradcore
from gradcore.backends.cpu import memory
x = gradcore.zeros(1 << 22, requires_grad=True)
def step():
    x.grad = None
    gradcore.tanh(x).sum().backward()
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(memory.keep_freed(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(sys.platform != "linux" or not memory._is_glibc(), reason="glibc's thresholds")
def test_memory_of_freed_arrays_is_kept() -> None:
    kept, faults = _faults()
    assert kept == "True" and faults < 100
    kept, more = _faults(MALLOC_TRIM_THRESHOLD_="65536")
    assert kept == "False" and more > faults


@pytest.mark.parametrize("mark", [True, False])
def test_small_operands_with_a_large_result_take_the_way_of_large_ones(
    monkeypatch: pytest.MonkeyPatch, mark: bool
) -> None:
    taken = []
    kind = type(backends.cpu)
    large = kind.large_elementwise
    monkeypatch.setattr(kind, "large_elementwise", lambda self, *args: taken.append(args[-1]) or large(self, *args))
    column = gradcore.ones(256, 1, requires_grad=mark)
    table = column + gradcore.ones(1, 256)
    double = table * 2
    assert table.shape == double.shape == (256, 256) and taken == [(256, 256)] * 2
    if mark:
        double.sum().backward()
        assert column.grad is not None and column.grad.tolist() == [[512.0]] * 256


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3), (5, 0)])
def test_rows_are_added_as_often_as_they_are_named(shape):
    rng = np.random.default_rng(0)
    for count in (0, 1, 40):
        index = rng.integers(-5, 5, count)
        target, values = rng.standard_normal(shape), rng.standard_normal((count, *shape[1:]))
        expected = target.copy()
        np.add.at(expected, (index,), values)
        CpuBackend().index_add(target, (index,), values)
        np.testing.assert_allclose(target, expected, rtol=1e-13, atol=1e-14)
