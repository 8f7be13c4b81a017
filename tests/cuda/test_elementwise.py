"""Generated elementwise kernels against NumPy, for every operator, dtype and memory layout."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradcore import expr
from gradcore.expr import PRIMITIVES, trace

F32 = np.dtype(np.float32)
MULTIPLY_ADD = trace(lambda x, y: x * y + x)
FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1.0, -1.0, 3.0, -7.0, 100.0]


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def run(cuda: Any, cpu: Any, same: Any, program: Any, inputs: list[Any], compute: Any, outs: list[Any], **options: Any):
    """Runs a program on both devices and compares. Views are given as (array, function that makes the view)."""
    host = [i[1](i[0]) if isinstance(i, tuple) else i for i in inputs]
    there = [
        i[1](cuda.from_host(i[0])) if isinstance(i, tuple) else cuda.from_host(i) if isinstance(i, np.ndarray) else i
        for i in inputs
    ]
    shape = np.broadcast_shapes(*(np.shape(i) for i in host))
    outs = [np.dtype(o) for o in outs]
    found = cuda._elementwise(program, there, np.dtype(compute), outs, shape, **options)
    with np.errstate(all="ignore"):
        expected = cpu.elementwise(program, host, np.dtype(compute), outs, shape)
    for f, e in zip(found, expected):
        same(f, e)


def call(name: str, *args: Any) -> Any:
    return getattr(expr, name)(*args)


UNARY = [p.name for p in PRIMITIVES.values() if p.arity == 1]
BINARY = [p.name for p in PRIMITIVES.values() if p.arity == 2 and p.name != "uniform"]
LOGIC = [p.name for p in PRIMITIVES.values() if p.kind in ("bool", "operand")]
INTEGER_UNARY = ["neg", "abs", "isnan", "isinf", "isfinite", "logical_not"]
INTEGER_BINARY = ["add", "sub", "mul", "maximum", "minimum", "eq", "lt", "ge", "logical_xor"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unary_operators(cuda, cpu, same, dtype, random_array):
    # NumPy's sign keeps NaN, PyTorch's and ours do not: it has a test of its own.
    names = [n for n in UNARY if n not in ("bitwise_not", "sign")]
    program = trace(lambda x: tuple(call(n, x) for n in names))
    outs = ["bool" if PRIMITIVES[n].kind == "bool" else dtype for n in names]
    x = np.concatenate([np.array(SPECIAL, dtype), random_array((200,), dtype)])
    run(cuda, cpu, same, program, [x], dtype, outs)


def test_sign_of_nan_is_zero(cuda):
    x = cuda.from_host(np.array([np.nan, -2.0, 0.0, 5.0], np.float32))
    (found,) = cuda.elementwise(trace(lambda x: expr.sign(x)), [x], F32, [F32], (4,))
    assert cuda.to_host(found).tolist() == [0.0, -1.0, 0.0, 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_operators(cuda, cpu, same, dtype, random_array):
    names = [n for n in BINARY if not n.startswith("bitwise")]
    program = trace(lambda x, y: tuple(call(n, x, y) for n in names))
    outs = ["bool" if PRIMITIVES[n].kind == "bool" else dtype for n in names]
    x, y = np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype))
    run(cuda, cpu, same, program, [x.copy(), y.copy()], dtype, outs)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_operators(cuda, cpu, same, dtype, rng):
    info = np.iinfo(dtype)
    edges = np.array([info.min, info.max, 0, 1, 2, 3, 7], dtype)
    x = np.concatenate([np.repeat(edges, 7), rng.integers(info.min, info.max, 100, dtype)])
    y = np.concatenate([np.tile(edges, 7), rng.integers(info.min, info.max, 100, dtype)])
    unary = INTEGER_UNARY + ["bitwise_not"]
    binary = INTEGER_BINARY + ["bitwise_and", "bitwise_or", "bitwise_xor"]
    program = trace(lambda x, y: tuple(call(n, x) for n in unary) + tuple(call(n, x, y) for n in binary))
    outs = ["bool" if PRIMITIVES[n].kind == "bool" else dtype for n in unary + binary]
    run(cuda, cpu, same, program, [x, y], dtype, outs)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division(cuda, cpu, same, dtype, rng):
    info = np.iinfo(dtype)
    edges = np.array([info.min, info.max, 0, 1, 2, 3, 7], dtype)
    x = np.concatenate([np.repeat(edges, 7), rng.integers(info.min, info.max, 100, dtype)])
    y = np.concatenate([np.tile(edges, 7), rng.integers(info.min, info.max, 100, dtype)])
    program = trace(lambda x, y: (expr.floor_divide(x, y), expr.remainder(x, y)))
    run(cuda, cpu, same, program, [x[y != 0], y[y != 0]], dtype, [dtype] * 2)
    # The host raises ZeroDivisionError, a kernel cannot: its result is 0.
    there = cuda.from_host(x), cuda.from_host(np.zeros_like(x))
    for found in cuda.elementwise(program, there, x.dtype, [x.dtype] * 2, x.shape):
        assert not cuda.to_host(found).any()


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_rounding_leaves_integers_alone(cuda, cpu, same, dtype):
    program = trace(lambda x: tuple(call(n, x) for n in ("floor", "ceil", "round", "trunc")))
    run(cuda, cpu, same, program, [np.arange(-100, 100, dtype=dtype)], dtype, [dtype] * 4)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_powers(cuda, cpu, same, dtype):
    base, exponent = np.meshgrid(np.arange(-4, 5, dtype=dtype), np.arange(0, 9, dtype=dtype))
    run(cuda, cpu, same, trace(lambda x, y: x**y), [base.copy(), exponent.copy()], dtype, [dtype])


def test_bool_operators(cuda, cpu, same):
    x, y = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    program = trace(lambda x, y: (x & y, x | y, x ^ y, ~x, x + y, x * y, expr.eq(x, y), expr.where(x, y, ~y)))
    run(cuda, cpu, same, program, [x, y], "bool", ["bool"] * 8)


def test_bool_arrays_take_part_in_arithmetic(cuda, cpu, same, random_array):
    mask, x = random_array((40,), scale=1.0) > 0, random_array((40,))
    run(cuda, cpu, same, trace(lambda x, m: (x * m, expr.where(m, x, 0))), [x, mask], F32, [F32, F32])


@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("target", [*FLOATS, *INTEGERS, "bool"])
def test_conversions(cuda, same, source, target, random_array):
    x = random_array((5, 7), source, 20.0)
    if target == "uint8" or source == "uint8":
        x = abs(x)
    with np.errstate(all="ignore"):
        same(cuda.astype(cuda.from_host(x), dtype_of(target)), x.astype(dtype_of(target)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 1023, 4099])
def test_flat(cuda, cpu, same, dtype, n, random_array):
    x, y = random_array((n,), dtype), random_array((n,), dtype)
    run(cuda, cpu, same, MULTIPLY_ADD, [x, y], dtype_of(dtype), [dtype_of(dtype)])


@pytest.mark.parametrize("dtype", FLOATS)
def test_unaligned(cuda, cpu, same, dtype, random_array):
    def from_second(a: Any) -> Any:
        return a[1:]

    inputs = [(random_array((1001,), dtype), from_second), (random_array((1001,), dtype), from_second)]
    run(cuda, cpu, same, MULTIPLY_ADD, inputs, dtype_of(dtype), [dtype_of(dtype)])
    run(cuda, cpu, same, MULTIPLY_ADD, [inputs[0], random_array((1000,), dtype)], dtype_of(dtype), [dtype_of(dtype)])


SHAPES = [
    ((), ()),
    ((), (5,)),
    ((3, 1), (1, 4)),
    ((64, 32), (32,)),
    ((64, 31), (31,)),
    ((64, 32), (64, 1)),
    ((5, 1, 33), (7, 1)),
    ((2, 3, 4, 5), (3, 1, 5)),
    ((1, 8), (6, 1, 8)),
    ((0, 3), (3,)),
    ((4, 1, 8, 1), (1, 2, 1, 4)),
]


@pytest.mark.parametrize("wide", [False, True], ids=["32-bit", "64-bit"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcasting(cuda, cpu, same, shapes, wide, random_array):
    inputs = [random_array(s) for s in shapes]
    run(cuda, cpu, same, MULTIPLY_ADD, inputs, F32, [F32], wide=wide)


VIEWS = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1, ::-1],
    "every second": lambda a: a[::2, ::2],
    "columns": lambda a: a[:, 4:20],
    "broadcast": lambda a: a[:1].repeat(24, 0)[:, None, :].swapaxes(0, 1)[0],
    "permuted": lambda a: a.reshape(4, 6, 24).transpose(2, 0, 1),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32-bit", "64-bit"])
@pytest.mark.parametrize("view", VIEWS)
def test_views(cuda, cpu, same, view, wide, random_array):
    x, y = random_array((24, 24)), random_array((24, 24))
    shape = VIEWS[view](x).shape
    inputs = [(x, VIEWS[view]), random_array(shape)]
    run(cuda, cpu, same, MULTIPLY_ADD, inputs, F32, [F32], wide=wide)
    run(cuda, cpu, same, MULTIPLY_ADD, [(x, VIEWS[view]), (y, VIEWS[view])], F32, [F32], wide=wide)


def test_numbers_and_several_outputs(cuda, cpu, same, random_array):
    program = trace(lambda x, a, flag, y: (expr.where(flag, x * a, y), x < y))
    inputs = [random_array((30, 1)), 2.5, True, random_array((8,), "float16")]
    run(cuda, cpu, same, program, inputs, F32, ["float64", "bool"])
    inputs[2] = False
    run(cuda, cpu, same, program, inputs, F32, ["float64", "bool"])


def test_constants(cuda, cpu, same, random_array):
    infinity = float("inf")
    program = trace(
        lambda x: (x + infinity, expr.maximum(x, -infinity), x + float("nan"), -3 * x, expr.where(x > 0, 1, 0.5))
    )
    run(cuda, cpu, same, program, [random_array((9,))], F32, [F32] * 5)
    whole = trace(lambda x: (x + 2**40, x - (2**63 - 1), expr.minimum(x, -(2**63))))
    run(cuda, cpu, same, whole, [np.arange(1, 9)], "int64", ["int64"] * 3)


def test_a_new_shape_compiles_nothing(cuda, compilations, random_array):
    program = trace(lambda x, y: x - y * 0.0625)
    for shape in [(16, 8), (5, 4), (300, 12)]:
        x, y = cuda.from_host(random_array(shape)), cuda.from_host(random_array(shape[1:]))
        cuda.elementwise(program, [x, x], F32, [F32], shape)
        cuda.elementwise(program, [x, y], F32, [F32], shape)
    assert len(compilations) == 2


def test_every_access_is_in_bounds(cuda, cpu, same, checked, random_array):
    for shapes in [((1003,), (1003,)), ((33, 5), (5,)), ((6, 8), (6, 1)), ((3, 1, 5), (4, 1))]:
        inputs = [random_array(s) for s in shapes]
        run(cuda, cpu, same, MULTIPLY_ADD, inputs, F32, [F32])
        run(cuda, cpu, same, MULTIPLY_ADD, [(i, lambda a: a[..., ::-1]) for i in inputs], F32, [F32])


def test_unknown_dtypes_are_named(cuda):
    x = cuda.xp.zeros(3, np.complex64)
    with pytest.raises(TypeError, match="complex64"):
        cuda.elementwise(trace(lambda x: -x), [x], x.dtype, [x.dtype], (3,))
