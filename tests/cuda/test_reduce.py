"""Generated reductions and arg_reduce against NumPy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradcore import expr
from gradcore.backends.base import Reduction
from gradcore.expr import trace

F32 = np.dtype(np.float32)
IDENTITY = trace(lambda x: x)
SUM = Reduction(IDENTITY, "sum")
DOT = Reduction(trace(lambda x, y: x * y), "sum")
MEAN_SQUARE_ROOT = Reduction(trace(lambda x: x * x), "sum", trace(lambda acc, count, eps: expr.sqrt(acc / count + eps)))

CASES = [
    ((), ()),
    ((4, 5, 6), ()),
    ((5000,), (0,)),
    ((20003,), (0,)),
    ((64, 100), (1,)),
    ((64, 100), (0,)),
    ((37, 61), (0,)),
    ((37, 61), (1,)),
    ((300, 3), (0,)),
    ((3, 300), (1,)),
    ((7, 8, 12), (0, 2)),
    ((7, 8, 12), (1,)),
    ((4, 5, 6), (0, 1, 2)),
    ((4, 0), (1,)),
    ((0, 4), (1,)),
]
VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "64-bit": {"wide_index": True}, "three chunks": {"splits": 3}}


def run(
    cuda: Any,
    cpu: Any,
    same: Any,
    reduction: Reduction,
    inputs: list[Any],
    compute: Any,
    out: Any,
    axes: Any,
    keepdims: bool = False,
    parameters: Any = None,
    **options: Any,
) -> None:
    host = [i[1](i[0]) if isinstance(i, tuple) else i for i in inputs]
    there = [
        i[1](cuda.from_host(i[0])) if isinstance(i, tuple) else cuda.from_host(i) if isinstance(i, np.ndarray) else i
        for i in inputs
    ]
    shape = np.broadcast_shapes(*(np.shape(i) for i in host))
    compute, out = np.dtype(compute), np.dtype(out)
    (found,) = cuda._reduce(reduction, there, compute, out, shape, axes, keepdims, parameters, **options)
    expected = cpu.reduce(reduction, host, compute, out, shape, axes, keepdims, parameters)
    same(found, expected, 20)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape, axes", CASES, ids=str)
def test_sum(cuda, cpu, same, shape, axes, variant, random_array):
    run(cuda, cpu, same, SUM, [random_array(shape)], F32, F32, axes, **VARIANTS[variant])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_small_sizes(cuda, cpu, same, dtype, random_array):
    """Every number of whole vectors and of elements left over."""
    total = np.dtype(dtype)
    for n in range(1, 40):
        run(cuda, cpu, same, SUM, [random_array((n,), dtype)], total, total, (0,))
        run(cuda, cpu, same, SUM, [random_array((3, n), dtype)], total, total, (1,))
        run(cuda, cpu, same, SUM, [random_array((n, 3), dtype)], total, total, (0,))


@pytest.mark.parametrize("shape, axes", [c for c in CASES if 0 not in c[0]], ids=str)
def test_map_and_finish(cuda, cpu, same, shape, axes, random_array):
    run(cuda, cpu, same, MEAN_SQUARE_ROOT, [random_array(shape)], F32, F32, axes, True, {"eps": 1e-3})


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("view", ["transposed", "reversed", "every second", "columns"])
def test_views(cuda, cpu, same, view, axes, random_array):
    make = {
        "transposed": lambda a: a.T,
        "reversed": lambda a: a[::-1, ::-1],
        "every second": lambda a: a[::2, ::2],
        "columns": lambda a: a[:, 3:40],
    }[view]
    run(cuda, cpu, same, SUM, [(random_array((50, 48)), make)], F32, F32, axes)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)], ids=str)
def test_broadcast_operands(cuda, cpu, same, axes, random_array):
    run(cuda, cpu, same, DOT, [random_array((6, 1, 40)), random_array((9, 1))], F32, F32, axes)
    run(cuda, cpu, same, DOT, [random_array((6, 9, 40)), 2.0], F32, F32, axes)
    run(cuda, cpu, same, DOT, [random_array((6, 9, 40)), random_array((1, 1, 1))], F32, F32, axes)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"]
)
def test_dtypes(cuda, cpu, same, dtype, axes, random_array):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = abs(random_array((40, 64), "float32", 3.0)).astype(dtype)
    total = np.dtype(np.int64) if dtype.kind in "iub" else dtype
    run(cuda, cpu, same, SUM, [x], total, total, axes)
    run(cuda, cpu, same, Reduction(IDENTITY, "max"), [x], dtype, dtype, axes)
    run(cuda, cpu, same, Reduction(IDENTITY, "min"), [x], dtype, dtype, axes)
    run(cuda, cpu, same, Reduction(IDENTITY, "any"), [x], dtype, np.bool_, axes)
    run(cuda, cpu, same, Reduction(IDENTITY, "all"), [x], dtype, np.bool_, axes)
    if dtype.itemsize >= 4:
        run(cuda, cpu, same, Reduction(IDENTITY, "prod"), [x[:9, :9]], total, total, axes)


def test_sums_of_half_precision_accumulate_in_float32(cuda, same):
    x = np.ones(5000, np.float16)
    x[0] = 2048
    found = cuda.reduce(SUM, [cuda.from_host(x)], x.dtype, F32, x.shape, (0,), False)
    assert cuda.to_host(found) == 2048 + 4999


@pytest.mark.parametrize("combine", ["sum", "prod"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_wrap_around(cuda, cpu, same, checked, dtype, combine, rng):
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, 1000, dtype) | 1
    run(cuda, cpu, same, Reduction(IDENTITY, combine), [x], dtype, dtype, (0,))


def test_extremes_propagate_nan(cuda):
    x = np.ones((3, 200), np.float32)
    x[1, 77] = np.nan
    for combine in ("max", "min"):
        found = cuda.reduce(Reduction(IDENTITY, combine), [cuda.from_host(x)], F32, F32, x.shape, (1,), False)
        assert np.isnan(cuda.to_host(found)).tolist() == [False, True, False]


def test_sums_are_the_same_in_every_order_of_threads(cuda, random_array, checked):
    x = cuda.from_host(random_array((20003,)))
    found = cuda.to_host(cuda._reduce(SUM, [x], F32, F32, x.shape, (0,), splits=5)[0])
    from gradcore.backends.cuda import driver

    if driver.emulated():
        from gradcore.backends.emulator.config import using

        for order in ("forward", 7):
            with using(order=order):
                again = cuda.to_host(cuda._reduce(SUM, [x], F32, F32, x.shape, (0,), splits=5)[0])
            assert again == found


def test_random_numbers_in_a_reduction(cuda, random_array):
    program = trace(lambda seed, offset, x: expr.where(expr.uniform(seed, offset) < 0.5, x, 0))
    x = cuda.from_host(random_array((30, 50)))
    (masked,) = cuda.elementwise(program, [3, 4, x], F32, [F32], x.shape)
    found = cuda.reduce(Reduction(program, "sum"), [3, 4, x], F32, F32, x.shape, (1,), False)
    np.testing.assert_allclose(cuda.to_host(found), cuda.to_host(masked).sum(1), rtol=1e-4, atol=1e-5)


def test_a_new_shape_compiles_nothing(cuda, compilations, random_array):
    reduction = Reduction(trace(lambda x: x * 0.0625), "sum")
    for shape in [(8, 16), (100, 1024), (3, 5000)]:
        x = cuda.from_host(random_array(shape))
        cuda.reduce(reduction, [x], F32, F32, shape, (1,), False)
    assert len(compilations) == 1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(1,), (20003,), (64, 100), (300, 70), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "uint8"])
def test_arg_reduce(cuda, cpu, shape, dtype, variant, rng):
    # Few different values: ties everywhere.
    x = rng.integers(0, 9, shape).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    if dtype == "float32":
        x.flat[rng.integers(0, x.size, 3)] = np.nan
    for axis in range(x.ndim):
        for which in ("max", "min"):
            values, positions = cuda._reduce.arg_reduce(cuda.from_host(x), axis, which, **VARIANTS[variant])
            expected_values, expected_positions = cpu.arg_reduce(x, axis, which)
            np.testing.assert_array_equal(cuda.to_host(positions), expected_positions)
            np.testing.assert_array_equal(cuda.to_host(values).astype(np.float64), expected_values.astype(np.float64))


def test_arg_reduce_of_nothing(cuda):
    with pytest.raises(IndexError, match="non-zero size"):
        cuda.arg_reduce(cuda.from_host(np.zeros((3, 0), np.float32)), 1, "max")
    values, positions = cuda.arg_reduce(cuda.from_host(np.zeros((0, 3), np.float32)), 1, "max")
    assert values.shape == positions.shape == (0,)


@pytest.mark.parametrize("shape, axes", [((1003,), (0,)), ((33, 17), (0,)), ((33, 17), (1,)), ((6, 64), (1,))], ids=str)
def test_every_access_is_in_bounds(cuda, cpu, same, checked, shape, axes, random_array):
    x = random_array(shape)
    run(cuda, cpu, same, SUM, [x], F32, F32, axes)
    run(cuda, cpu, same, SUM, [x], F32, F32, axes, splits=3)
    values, positions = cuda.arg_reduce(cuda.from_host(x), axes[0], "max")
    np.testing.assert_array_equal(cuda.to_host(positions), x.argmax(axes[0]))
