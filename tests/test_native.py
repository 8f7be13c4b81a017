"""The native executor computes what NumPy computes: every program and reduction, dtype, layout and special value."""

from __future__ import annotations

import importlib
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from samples import DOMAIN, INTEGRAL

from gradcore.backends import hostcc
from gradcore.backends.cpu import CpuBackend, threads
from gradcore.backends.cpu.native import library, pool
from gradcore.backends.cpu.native.elementwise import Elementwise as NativeElementwise
from gradcore.backends.cpu.native.layout import memory_order
from gradcore.backends.cpu.native.reduce import Reduce as NativeReduce
from gradcore.expr import PRIMITIVES, Program, call, trace
from gradcore.expr.program import result_kind
from gradcore.ops import REGISTRY, Elementwise
from gradcore.ops.reductions import _REDUCTIONS

numpy_backend = CpuBackend()
F16, BF16, F32, F64 = map(np.dtype, (np.float16, ml_dtypes.bfloat16, np.float32, np.float64))
BOOL = np.dtype(np.bool_)
INTS = [np.dtype(n) for n in ("int8", "uint8", "int16", "int32", "int64")]
SIZE = 4096 + 37  # more than a run, and no multiple of a vector


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    if problem := library.problem():
        pytest.skip(f"no native kernels here: {problem}")


@pytest.fixture(scope="module")
def elementwise() -> NativeElementwise:
    return NativeElementwise()


@pytest.fixture(scope="module")
def reduce() -> NativeReduce:
    return NativeReduce()


def eps(dtype: np.dtype) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def close(got: np.ndarray, expected: np.ndarray, ulps: float = 64, scale: float = 1.0, signs: bool = True) -> None:
    """Equal but for some roundings of the dtype; infinities, NaN and (`signs`) the signs of zeros exactly."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    if got.dtype.kind not in "fV":
        np.testing.assert_array_equal(got, expected)
        return
    allowed = ulps * eps(got.dtype)
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(got, expected, rtol=allowed, atol=allowed * scale)
    zero = (got == 0) & (expected == 0) & signs
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


def values(dtype: np.dtype, shape: Any, low: float = -2, high: float = 2, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(low, high, shape)
    if dtype == BOOL:
        return np.asarray(x > 0)
    if dtype.kind in "iu":
        return np.asarray(np.rint(x * 20)).astype(np.int64).astype(dtype)
    return np.asarray(x).astype(dtype)


def both(elementwise: NativeElementwise, program: Program, inputs: Any, compute: np.dtype, **options: Any) -> list[Any]:
    """The native outputs, after comparing them with NumPy's."""
    shape = np.broadcast_shapes(*(x.shape for x in inputs if isinstance(x, np.ndarray)))
    outs = [BOOL if result_kind(o) == "bool" else compute for o in program.outputs]
    with np.errstate(all="ignore"):
        expected = numpy_backend.small_elementwise(program, inputs, compute, outs, shape)
    got = elementwise(program, inputs, compute, outs, shape)
    assert got is not None, "no native kernel was made"
    for g, e in zip(got, expected):
        close(g, e, **options)
    return got


# ---------------------------------------------------------------- every elementwise op
def _programs() -> Iterator[Any]:
    for name, op in REGISTRY.items():
        if isinstance(op, Elementwise):
            key = op.split([object()] * len(op.inputs), {})[0]
            program = op.program_of(key)
            if program.random:
                continue
            yield pytest.param(name, program.positional(), id=name)
            wanted = [n for n in program.inputs if n in op.inputs]
            if program.output_kind(0) == "bool" or name in INTEGRAL:
                continue
            gradient, _ = program.gradient(wanted, op._hand_rule(program, op.fixed(key)))
            if any(o.op is not None for o in gradient.outputs):
                yield pytest.param(name, gradient.positional(), id=f"{name}-backward")


@pytest.mark.parametrize("name, program", list(_programs()))
def test_every_op(elementwise, name, program):
    if name in INTEGRAL:
        for dtype in (*INTS, BOOL):
            both(elementwise, program, [values(dtype, SIZE, seed=i) for i in range(len(program.inputs))], dtype)
        return
    low, high = DOMAIN.get(name, (-2, 2))
    for dtype in (F32, F64):
        inputs = [values(dtype, SIZE, low, high, seed=i) for i in range(len(program.inputs))]
        both(elementwise, program, inputs, dtype, ulps=256 if name in ("pow", "floor_divide", "remainder") else 64)


HALF_PROGRAMS = {
    "mul": trace(lambda a, b: a * b),
    "silu": trace(lambda x: x * call("sigmoid", x)),
    "compare": trace(lambda a, b: call("where", a < b, a, b * 2)),
    "several": trace(lambda a, b: (a + b, a < b, a * b)),
}


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("name", HALF_PROGRAMS)
def test_halves_are_rounded_once(elementwise, name, dtype):
    program = HALF_PROGRAMS[name]
    both(elementwise, program, [values(dtype, SIZE, seed=i) for i in range(len(program.inputs))], dtype, ulps=1)


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_conversions_of_all_halves(elementwise, dtype):
    halves = np.arange(2**16, dtype=np.uint16).view(dtype)
    (widened,) = elementwise(trace(lambda x: x + 0), [halves], F32, [F32], halves.shape)
    np.testing.assert_array_equal(widened, halves.astype(np.float32))
    with np.errstate(all="ignore"):
        # Between any two neighbours: what rounds down, to even, and up.
        exact = halves.astype(np.float32)
        points = np.concatenate([exact, *(np.nextafter((exact[:-1] + exact[1:]) / 2, d) for d in (-np.inf, np.inf))])
        points = np.concatenate([points, (exact[:-1] + exact[1:]) / 2, np.float32([1e38, -1e38, 1e-45])])
        (narrowed,) = elementwise(trace(lambda x: x + 0), [points], F32, [dtype], points.shape)
        expected = points.astype(dtype)
    np.testing.assert_array_equal(np.isnan(narrowed), np.isnan(expected))
    real = ~np.isnan(expected)
    np.testing.assert_array_equal(narrowed.view(np.uint16)[real], expected.view(np.uint16)[real])


@pytest.mark.parametrize("dtype", [*INTS, BOOL], ids=str)
def test_integers_wrap_around(elementwise, dtype):
    a, b = values(dtype, SIZE, -7, 7), values(dtype, SIZE, -7, 7, seed=1)
    program = trace(lambda a, b: (call("maximum", a, b), a < b, call("where", call("eq", a, b), a, b)))
    both(elementwise, program, [a, b], dtype)
    if dtype != BOOL:
        both(elementwise, trace(lambda a, b: a * b - (a + b)), [a, b], dtype)
        both(elementwise, trace(lambda a, k: a * k), [a, 3], dtype)


@pytest.mark.parametrize("operator", ["floor_divide", "remainder", "pow"])
def test_what_may_raise_for_integers_is_left_to_numpy(elementwise, operator):
    program = trace(lambda a, b: call(operator, a, b))
    x = np.arange(8)
    assert elementwise(program, [x, x], x.dtype, [x.dtype], x.shape) is None


def test_random_programs_are_left_to_numpy(elementwise):
    program = trace(lambda x, seed, offset: x * call("uniform", seed, offset))
    assert elementwise(program, [np.ones(8, F32), 1, 2], F32, [F32], (8,)) is None


def test_mixed_dtypes_and_numbers(elementwise):
    program = trace(lambda a, b, c, k: call("where", c, a * k, b))
    inputs = [values(F64, SIZE), values(np.dtype(np.int64), SIZE, seed=1), values(BOOL, SIZE, seed=2), 0.1]
    both(elementwise, program, inputs, F32)
    both(elementwise, program, inputs, F64)


# ---------------------------------------------------------------- the vector library
UNARY = [n for n, p in PRIMITIVES.items() if p.arity == 1 and p.kind == "value"]
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 1e30, -1e30, 1e-30, 88.9, -103.5, 710, -745]
)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_accuracy_and_special_values(elementwise, name, dtype):
    low, high = DOMAIN.get(name, (-3, 3))
    program = trace(lambda x: call(name, x))
    x = values(dtype, SIZE, low, high)
    tiny = np.finfo(dtype).smallest_subnormal
    x[: len(SPECIAL)] = SPECIAL
    x[len(SPECIAL) : len(SPECIAL) + 4] = [tiny, -tiny, 1000 * tiny, np.finfo(dtype).max]
    with np.errstate(all="ignore"):
        # The functions that NumPy lacks have no long form.
        wider = np.dtype(F64 if "fn." in PRIMITIVES[name].numpy else np.longdouble)
        (exact,) = numpy_backend._evaluate(program, [x.astype(wider)], wider, x.shape)
        expected = exact.astype(dtype)
    (got,) = elementwise(program, [x], dtype, [dtype], x.shape)
    # 4 ulp is what libmvec promises; sigmoid and rsqrt add a division, and NumPy's erf has 3 of its own. Results below
    # the normal numbers may be zero.
    np.testing.assert_allclose(got, expected, rtol=7 * eps(dtype), atol=float(np.finfo(dtype).tiny))
    zero = (got == 0) & (expected == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize(
    "name", ["maximum", "minimum", "lt", "eq", "ne", "div", "mul", "pow", "remainder", "floor_divide"]
)
def test_special_values_in_pairs(elementwise, name):
    a, b = (np.ascontiguousarray(x.ravel()) for x in np.meshgrid(SPECIAL, SPECIAL))
    # A remainder of zero has the sign of the dividend, as in PyTorch; with NumPy that of the divisor.
    both(elementwise, trace(lambda a, b: call(name, a, b)), [a, b], F64, ulps=8, signs=name != "remainder")


# ---------------------------------------------------------------- layouts
LAYOUTS = {
    "transposed": lambda x: [x.T, x.T],
    "one transposed": lambda x: [x[:70, :70], x[:70, :70].T],
    "row": lambda x: [x, x[0]],
    "column": lambda x: [x, x[:, :1]],
    "outer": lambda x: [x[0], x[:, :1]],
    "scalar": lambda x: [x, np.asarray(x[0, 0])],
    "every other": lambda x: [x[:, ::2], x[::1, 1::2]],
    "backwards": lambda x: [x[::-1, ::-1], x],
    "three dimensions": lambda x: [
        x.reshape(10, 7, -1).transpose(2, 0, 1),
        x.reshape(10, 7, -1)[:, :1].transpose(2, 0, 1),
    ],
    "repeated": lambda x: [np.broadcast_to(x[:, :1], x.shape), np.broadcast_to(x[:1], x.shape)],
    "one element": lambda x: [x[:1, :1], x[1:2, 1:2]],
    "no dimensions": lambda x: [np.asarray(x[0, 0]), np.asarray(x[1, 1])],
    "long rows": lambda x: [np.resize(x, (3, 9001)), np.resize(x, (3, 9001))[:, ::-1]],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(elementwise, name):
    a, b = LAYOUTS[name](values(F32, (70, 90)))
    program = trace(lambda a, b: (a * b + 1, a < b))
    got = both(elementwise, program, [a, b], F32, ulps=0)
    for out in got:
        assert out.strides == np.add(a, b).astype(out.dtype, copy=False).strides or out.flags.c_contiguous


def test_the_layout_of_operands_is_kept(elementwise):
    x = values(F32, (5, 6, 7)).transpose(2, 0, 1)
    (out,) = elementwise(trace(lambda x: call("exp", x)), [x], F32, [F32], x.shape)
    assert out.strides == np.exp(x).strides
    assert memory_order(range(3), [(1, 42, 7)]) == [1, 2, 0]


def test_unaligned_and_foreign_arrays_are_left_to_numpy(elementwise):
    program = trace(lambda x: call("exp", x))
    unaligned = np.zeros(41, np.uint8)[1:].view(F32)
    swapped = np.zeros(8, F32).astype(">f4")
    field = np.zeros(8, [("a", "i1"), ("b", "f4")])["b"]
    for x in (unaligned, swapped, field):
        assert elementwise(program, [x], F32, [F32], x.shape) is None


# ---------------------------------------------------------------- reductions
SHAPES = {
    "all": ((3, 5003), (0, 1)),
    "rows": ((37, 5003), (1,)),
    "short rows": ((3001, 7), (1,)),
    "columns": ((301, 37), (0,)),
    "wide columns": ((130, 2100), (0,)),
    "middle": ((7, 150, 19), (1,)),
    "outer and inner": ((7, 11, 400), (0, 2)),
    "nothing": ((7, 11), ()),
    "one element": ((1,), (0,)),
    "no dimensions": ((), ()),
}


def reduced(reduce: NativeReduce, name: str, x: np.ndarray, axes: Any, out: np.dtype, keepdims: bool = False) -> Any:
    """The native result, after comparing it with NumPy's; sums with those made in float64."""
    reduction = _REDUCTIONS[name]
    others: list[Any] = {"var": [np.asarray(np.mean(x, dtype=F64)).astype(x.dtype)], "norm_p": [3.0]}.get(name, [])
    parameters = {"var": {"correction": 1}, "norm_p": {"p": 3.0}}.get(name)
    compute = out if out != BOOL else x.dtype
    arguments = (x.shape, tuple(axes), keepdims, parameters)
    got = reduce(reduction, (x, *others), compute, out, *arguments)
    assert got is not None, "no native kernel was made"
    if out.kind in "fV" and reduction.combine in ("sum", "prod"):
        exact = [o.astype(F64) if isinstance(o, np.ndarray) else o for o in (x, *others)]
        expected = np.asarray(numpy_backend.small_reduce(reduction, exact, F64, F64, *arguments)).astype(out)
    else:
        expected = numpy_backend.small_reduce(reduction, (x, *others), compute, out, *arguments)
    # The error of a pairwise sum goes by the sum of the absolute values, that of a product by its length.
    if reduction.combine == "sum":
        close(
            got,
            expected,
            ulps=8,
            scale=float(np.abs(np.where(np.isfinite(x), x, 0).astype(F64)).sum(tuple(axes)).max(initial=1)),
        )
    else:
        close(got, expected, ulps=8 * (x.size / max(1, got.size)) ** 0.5)
    return got


@pytest.mark.parametrize("name", _REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_reduction(reduce, name, shape):
    size, axes = SHAPES[shape]
    low, high = (0.999, 1.001) if name == "prod" else (-2, 2)
    out = BOOL if name in ("any", "all") else F32
    x = values(F32, size, low, high)
    got = reduced(reduce, name, x, axes, out)
    kept = reduced(reduce, name, x, axes, out, keepdims=True)
    np.testing.assert_array_equal(kept.reshape(got.shape), got)


@pytest.mark.parametrize("name", ["sum", "mean", "norm2", "amax"])
def test_reductions_of_views(reduce, name):
    name = {"amax": "max"}.get(name, name)
    x = values(F32, (33, 40, 50))
    for view in (x.transpose(2, 0, 1), x[::-1, ::2], np.broadcast_to(x[:, :1], x.shape), x[1:, :, ::-3]):
        for axes in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)):
            reduced(reduce, name, view, axes, F32)


@pytest.mark.parametrize("dtype", [F64, F16, BF16, *INTS, BOOL], ids=str)
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any"])
def test_reductions_of_every_dtype(reduce, name, dtype):
    out = BOOL if name == "any" else np.dtype(np.int64) if name in ("sum", "prod") and dtype.kind in "iub" else dtype
    for size, axes in (((3, 5003), (0, 1)), ((301, 37), (0,))):
        low, high = (0.999, 1.001) if name == "prod" and dtype.kind in "fV" else (-0.2, 0.2)
        reduced(reduce, name, values(dtype, size, low, high), axes, out)


def test_nan_and_infinity_in_reductions(reduce):
    for where in (0, 17, 2047, 2048, 5002):
        for special in (np.nan, np.inf, -np.inf):
            x = values(F32, (4, 5003))
            x[1, where] = special
            for name in ("sum", "max", "min"):
                for view, axes in ((x, (1,)), (np.ascontiguousarray(x.T), (0,))):
                    reduced(reduce, name, view, axes, F32)


def test_accuracy_of_long_sums(reduce):
    """As good as NumPy's pairwise sums, also where NumPy adds one row after the other."""
    x = np.random.default_rng(0).uniform(0, 1, (1_000_000, 8)).astype(F32)
    for view, axes in ((x.reshape(-1), (0,)), (x, (0,)), (x, (0, 1))):
        got = reduce(_REDUCTIONS["sum"], (view,), F32, F32, view.shape, axes, False)
        np.testing.assert_allclose(got, view.sum(axes, dtype=F64), rtol=4 * eps(F32))


def test_results_do_not_depend_on_the_number_of_threads(elementwise, reduce, monkeypatch):
    x = values(F32, (300, 1501))
    program = trace(lambda x, y: call("tanh", x) * call("exp", y))

    def results() -> list[Any]:
        out = [elementwise(program, [x, y], F32, [F32], x.shape)[0] for y in (x, x[:, :1], x[0])]
        for axes in ((0,), (1,), (0, 1)):
            out.append(reduce(_REDUCTIONS["norm_p"], (x, 3.0), F32, F32, x.shape, axes, False, {"p": 3.0}))
        return out

    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "_count", count)
        monkeypatch.setattr(pool, "GRAIN", 1)
        found.append(results())
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def _many_sums(elementwise: NativeElementwise, seed: int) -> bool:
    x = values(F32, 1 << 18, seed=seed)
    return all(
        np.array_equal(elementwise(trace(lambda x: x + 1), [x], F32, [F32], x.shape)[0], x + 1) for _ in range(50)
    )


def test_calls_at_the_same_time(elementwise, monkeypatch):
    monkeypatch.setattr(threads, "_count", 3)
    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(lambda seed: _many_sums(elementwise, seed), range(8)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(elementwise, monkeypatch):
    monkeypatch.setattr(threads, "_count", 3)
    assert _many_sums(elementwise, 0)
    child = os.fork()
    if not child:
        os._exit(0 if _many_sums(elementwise, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert _many_sums(elementwise, 2)


# ---------------------------------------------------------------- the functions of floats
FUNCTIONS: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": np.vectorize(math.erf, otypes=[F64]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_two_ulps(elementwise, name):
    """Over floats from the whole range, all magnitudes alike, and densely where results are neither 0 nor 1."""
    rng = np.random.default_rng(0)
    cuts = [0.25, 0.5, 0.75, 1, 1.125, 1.5, 3.92, 4, 9.02, 10, 16.67, 70, 87.34, 88.38, 88.73, 103.97, 104, 2.0**-126]
    edges = [np.float32(sign * x) for x in cuts for sign in (1, -1)]
    x = np.concatenate(
        [
            rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(F32),
            *(rng.uniform(-a, a, 200_000).astype(F32) for a in (1.5, 12, 105)),
            np.nextafter(edges, F32.type(-np.inf)),
            np.nextafter(edges, F32.type(np.inf)),
            np.array([*edges, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38], F32),
        ]
    )
    (got,) = elementwise(trace(lambda x: call(name, x)), [x], F32, [F32], x.shape)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name](x.astype(F64))
        nearest = exact.astype(F32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    np.testing.assert_array_equal(np.signbit(got[exact == 0]), np.signbit(exact[exact == 0]))
    np.testing.assert_array_equal(got[np.isinf(nearest)], nearest[np.isinf(nearest)])
    finite = np.isfinite(nearest)
    ulps = np.abs(got[finite] - exact[finite]) / np.spacing(np.abs(nearest[finite]))
    assert ulps.max() <= 2.05, x[finite][ulps.argmax()]
    if name in ("tanh", "erf", "sigmoid"):
        assert np.nanmax(np.abs(got)) == 1


# ---------------------------------------------------------------- through tensors
@pytest.fixture
def always(monkeypatch):
    """Everything counts as large."""
    monkeypatch.setattr(importlib.import_module("gradcore.backends.cpu.backend"), "LARGE", 1)


def test_empty_arrays(always):
    import gradcore as gc

    x = gc.zeros(0, 3, requires_grad=True)
    y = gc.exp(x) * 2
    y.sum().backward()
    assert x.grad.shape == (0, 3) and y.sum().item() == 0
    assert gc.zeros(0, 3).sum(1).shape == (0,) and gc.zeros(2, 0).prod(1).tolist() == [1.0, 1.0]


def test_integer_division_by_zero_raises(always):
    import gradcore as gc

    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        gc.ones(8, dtype=gc.int64) // gc.zeros(8, dtype=gc.int64)


# ---------------------------------------------------------------- which executor runs
SCRIPT = """
import gradcore, numpy, sys
assert "gradcore.backends.cpu.native.library" not in sys.modules, "import looks for no compiler"
x = gradcore.linspace(-1, 1, 100_000, requires_grad=True)
(x.sigmoid() * x).sum().backward()
s = 1 / (1 + numpy.exp(-x.detach().numpy()))
assert numpy.allclose(x.grad.numpy(), s * (1 + x.detach().numpy() * (1 - s)), atol=1e-6)
from gradcore.info import report
print(report())
"""


def run(folder: Any, **environment: str) -> str:
    keep = {k: v for k, v in os.environ.items() if k not in ("CC", "CXX", "GRADCORE_CPU", "GRADCORE_CUDA")}
    settings = {"PYTHONPATH": os.pathsep.join(sys.path), "GRADCORE_CACHE_DIR": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=keep | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return next(line.split("  ", 2)[2].strip() for line in done.stdout.splitlines() if "CPU kernels" in line)


def test_native_kernels_are_reported(tmp_path):
    line = run(tmp_path)
    assert line.startswith("native: ") and str(tmp_path) in line
    assert int(line.split()[1]) == len(list(tmp_path.glob("cpu-*.so"))) >= 3


def test_switched_off(tmp_path):
    assert run(tmp_path / "none", GRADCORE_CPU="numpy") == "NumPy: native ones are switched off by GRADCORE_CPU=numpy"
    assert not (tmp_path / "none").exists()


def test_without_a_compiler(tmp_path):
    line = run(tmp_path, PATH=str(tmp_path), CXX="/nonexistent/c++")
    assert line.startswith("NumPy: no C/C++ compiler for c++ was found: install one")


def test_with_a_failing_compiler(tmp_path):
    broken = tmp_path / "broken"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "gcc 99" && exit\necho "out of order" >&2\nexit 1\n')
    broken.chmod(0o755)
    line = run(tmp_path, CXX=str(broken))
    assert line.startswith("NumPy: ") and line.endswith("out of order")


def test_an_unwritable_cache(tmp_path):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "cache").startswith("NumPy: ")


def test_unknown_setting():
    environment = {**os.environ, "GRADCORE_CPU": "fast", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", "import gradcore"], env=environment, capture_output=True, text=True)
    assert done.returncode and "GRADCORE_CPU='fast' is not known: use 'native'" in done.stderr


def test_a_kernel_that_does_not_compile_is_told_once():
    kernels = library.Kernels()

    def build() -> None:
        library.load("this is no C++")

    with pytest.warns(UserWarning, match="a native kernel could not be built, NumPy is used instead"):
        assert kernels.get("key", build) is None
    assert kernels.get("key", build) is None


# ---------------------------------------------------------------- vectorised
def test_loops_call_the_vector_library(elementwise, monkeypatch):
    if (
        hostcc.find_compiler("c++").family != "gcc"
        or not sys.platform.startswith("linux")
        or os.uname().machine != "x86_64"
    ):
        pytest.skip("the names of vector functions are those of GCC, glibc and x86-64")
    texts: list[str] = []
    module = sys.modules["gradcore.backends.cpu.native.elementwise"]
    monkeypatch.setattr(module, "load", lambda text: texts.append(text) or library.load(text))
    program = trace(lambda x: call("tanh", x) + call("exp", x) * call("log1p", x))
    names, found = ("tanh", "exp", "log1p"), []
    for dtype in (F64, F32):
        NativeElementwise()(program, [np.ones(8, dtype)], dtype, [dtype], (8,))
        with open(library.load(texts[-1])._name, "rb") as file:
            symbols = file.read()
        found.append([name for name in names if re.search(rf"_ZGV\w+_{name}\b|\0{name}f\0".encode(), symbols)])
    assert found == [list(names), []]  # those of floats are written out
