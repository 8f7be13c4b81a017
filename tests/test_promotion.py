"""Result dtypes and values of arithmetic between dtypes, numbers and zero-dimensional tensors."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import itertools
import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import Raised, agree, assert_same, outcome, short

import gradcore as gc

NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
FLOATS = NAMES[6:]
INTEGERS = NAMES[1:6]

# What a binary operation of two tensors with dimensions gives: one row for each dtype, in the order of NAMES.
TABLE = {
    "bool": "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64",
    "uint8": "uint8 uint8 int16 int16 int32 int64 float16 bfloat16 float32 float64",
    "int8": "int8 int16 int8 int16 int32 int64 float16 bfloat16 float32 float64",
    "int16": "int16 int16 int16 int16 int32 int64 float16 bfloat16 float32 float64",
    "int32": "int32 int32 int32 int32 int32 int64 float16 bfloat16 float32 float64",
    "int64": "int64 int64 int64 int64 int64 int64 float16 bfloat16 float32 float64",
    "float16": "float16 float16 float16 float16 float16 float16 float16 float32 float32 float64",
    "bfloat16": "bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 float32 bfloat16 float32 float64",
    "float32": "float32 float32 float32 float32 float32 float32 float32 float32 float32 float64",
    "float64": "float64 float64 float64 float64 float64 float64 float64 float64 float64 float64",
}

OPERATORS = {
    name: getattr(operator, name)
    for name in "add sub mul truediv floordiv mod pow matmul eq ne lt le gt ge and_ or_ xor".split()
    if name != "matmul"
}
FUNCTIONS = {
    name: (lambda a, b, name=name: getattr(a, name)(b))
    for name in "maximum minimum logical_and logical_or logical_xor div floor_divide remainder pow".split()
}
# Ops whose second operand must be a tensor in PyTorch; gradcore takes numbers too.
TENSORS_ONLY = {"maximum", "minimum", "logical_and", "logical_or", "logical_xor"}


def rank(name: str) -> int:
    return 0 if name == "bool" else 2 if name in FLOATS else 1


def expected_name(a: tuple[str, Any], b: tuple[str, Any]) -> str:
    """PyTorch's rule: the highest category decides; among those of it, tensors with dimensions go first."""
    for kind in ("tensor", "scalar", "number"):
        names = [n for k, n in (a, b) if k == kind]
        others = [n for k, n in (a, b) if k != kind]
        if names and all(rank(n) <= max(map(rank, names)) for n in others):
            return names[0] if len(names) == 1 else TABLE[names[0]].split()[NAMES.index(names[1])]
        if names and kind != "number":
            later = [(k, n) for k, n in (a, b) if k != kind]
            if later:
                return later[0][1]
    raise AssertionError


def values(name: str, second: bool) -> list[Any]:
    if name == "bool":
        return [True, False, True, True]
    whole = [3, 2, -2, 4] if second else [1, -2, 3, -7]
    if name == "uint8":
        whole = [abs(n) for n in whole]
    return [n + 0.5 for n in whole] if name in FLOATS else whole


def make(m: Any, operand: tuple[str, Any], second: bool, device: str) -> Any:
    kind, what = operand
    if kind == "number":
        return what
    data = values(what, second)
    return m.tensor(data if kind == "tensor" else data[3], dtype=getattr(m, what), device=device)


TENSORS = [("tensor", n) for n in NAMES] + [("scalar", n) for n in NAMES]
NUMBERS = [("number", n) for n in (True, 2, -3, 0, 300, 2.5, 2.0, -1.0, 0.5)]


def pairs(name: str) -> Any:
    yield from itertools.product(TENSORS, TENSORS)
    if name in TENSORS_ONLY:
        return
    yield from itertools.product(TENSORS, NUMBERS)
    if name in OPERATORS:
        yield from itertools.product(NUMBERS, TENSORS)


def skipped(name: str, a: tuple[str, Any], b: tuple[str, Any]) -> bool:
    # PyTorch makes an exception of bool ** True alone, and refuses exponents that wrap around as other numbers do.
    if name != "pow" or b[0] != "number":
        return False
    return (a[1] == "bool" and b[1] is True) or (a[1] in ("uint8", "int8") and b[1] == 300)


@pytest.mark.parametrize("a", NAMES)
def test_promote_types(a: str) -> None:
    found = [gc.promote_types(getattr(gc, a), getattr(gc, b)).name for b in NAMES]
    assert found == TABLE[a].split()


@pytest.mark.parametrize("kinds", list(itertools.product(("tensor", "scalar"), repeat=2)), ids="-".join)
def test_result_dtypes(kinds: tuple[str, str]) -> None:
    for a, b in itertools.product(NAMES, NAMES):
        left, right = (kinds[0], a), (kinds[1], b)
        out = make(gc, left, False, "cpu") * make(gc, right, True, "cpu")
        assert out.dtype.name == expected_name(left, right), (left, right)
        assert gc.result_type(make(gc, left, False, "cpu"), make(gc, right, True, "cpu")) is out.dtype


@pytest.mark.parametrize("name", NAMES)
def test_python_numbers_change_only_the_category(name: str) -> None:
    x = gc.tensor(values(name, False), dtype=getattr(gc, name))
    assert (x * 2.5).dtype is (x.dtype if name in FLOATS else gc.float32)
    assert (x * 2).dtype is (x.dtype if name != "bool" else gc.int64)
    assert (x * True).dtype is x.dtype
    assert (x / 2).dtype is (x.dtype if name in FLOATS else gc.float32)
    assert (x == 2.5).dtype is gc.bool


@pytest.mark.parametrize("name", [*OPERATORS, *FUNCTIONS])
def test_binary_operations(name: str, oracle: Any) -> None:
    function = OPERATORS.get(name) or FUNCTIONS[name]
    for a, b in pairs(name):
        if skipped(name, a, b):
            continue
        results = [
            outcome(lambda m=m: function(make(m, a, False, "cpu"), make(m, b, True, "cpu"))) for m in (gc, oracle)
        ]
        assert_same(*results, where=f"{a} {name} {b}")


@pytest.mark.parametrize("name", ["add", "truediv", "floordiv", "mod", "pow", "lt"])
def test_binary_operations_on_cuda(name: str, _cuda_reason: str | None) -> None:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    function = OPERATORS[name]
    left = [("tensor", "uint8"), ("scalar", "int32"), ("tensor", "bfloat16")]
    right = [("tensor", "bool"), ("tensor", "int64"), ("scalar", "float16"), ("number", 300), ("number", 2.5)]
    for a, b in itertools.product(left, right):
        here = outcome(lambda: function(make(gc, a, False, "cpu"), make(gc, b, True, "cpu")))
        there = outcome(lambda: function(make(gc, a, False, "cuda"), make(gc, b, True, "cuda")))
        if isinstance(here, Raised) and isinstance(here.error.__context__, ZeroDivisionError):
            continue  # a GPU does not notice
        assert_same(there, here, where=f"{a} {name} {b}")


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_", "floor_divide_", "remainder_", "pow_", "bitwise_or_"])
def test_inplace_keeps_the_dtype(name: str, oracle: Any) -> None:
    for a, b in itertools.product(TENSORS[:10], [*TENSORS, *NUMBERS]):
        if skipped(name[:-1], a, b):
            continue

        def change(m: Any, a: Any = a, b: Any = b) -> Any:
            x = make(m, a, False, "cpu")
            out = getattr(x, name)(make(m, b, True, "cpu"))
            assert out is x
            return x

        assert_same(outcome(change, gc), outcome(change, oracle), where=f"{a} {name} {b}")


def test_inplace_refusals_change_nothing(device: str) -> None:
    for x, change in (
        (gc.tensor([1, 2], device=device), lambda x: x.add_(1.5)),
        (gc.tensor([1, 2], device=device), lambda x: x.div_(2)),
        (gc.tensor([True, False], device=device), lambda x: x.add_(1)),
        (gc.tensor([1.0, 2.0], device=device), lambda x: x.add_(gc.ones(2, 2, device=device))),
        (gc.tensor([1.0, 2.0], device=device), lambda x: x.mul_(gc.ones(3, device=device))),
    ):
        before, version = x.tolist(), x._version
        with pytest.raises(RuntimeError):
            change(x)
        assert x.tolist() == before and x._version == version and x.grad_fn is None
    with pytest.raises(RuntimeError, match=r"result type Float can't be cast to the desired output type Long"):
        gc.tensor([1]).add_(1.5)


UNARY = """abs neg sign square floor ceil round trunc relu exp log sqrt rsqrt sin cos tanh sigmoid reciprocal isnan
isinf isfinite logical_not bitwise_not log1p expm1 atan""".split()
# PyTorch's answers for bool tensors that gradcore refuses, as it does that of abs
BOOL_REFUSED = {"floor", "ceil", "round"}


@pytest.mark.parametrize("name", UNARY)
def test_unary_operations(name: str, oracle: Any) -> None:
    for dtype in NAMES:
        if dtype == "bool" and name in BOOL_REFUSED:
            with pytest.raises(NotImplementedError, match=f"\"{name}\" not implemented for 'Bool'"):
                getattr(gc.tensor([True]), name)()
            continue
        results = [outcome(lambda m=m: getattr(make(m, ("tensor", dtype), False, "cpu"), name)()) for m in (gc, oracle)]
        assert_same(*results, where=f"{name} {dtype}")


@pytest.mark.parametrize("name", "sum mean var std prod max min amax amin argmax argmin any all norm".split())
def test_reductions(name: str, oracle: Any) -> None:
    for dtype, arguments in itertools.product(NAMES, [(), (0,), (0, True)] if name != "norm" else [()]):
        if name.startswith("arg") and dtype == "bool":
            continue  # PyTorch refuses
        results = [
            outcome(lambda m=m: getattr(make(m, ("tensor", dtype), False, "cpu"), name)(*arguments))
            for m in (gc, oracle)
        ]
        assert_same(*results, where=f"{name}{arguments} {dtype}")


@pytest.mark.parametrize("name", ["sum", "prod", "mean"])
def test_reductions_into_a_dtype(name: str, oracle: Any) -> None:
    for dtype, out in itertools.product(NAMES, ("int32", "int64", "float32", "float64", "float16", "bool")):
        results = [
            outcome(lambda m=m: getattr(make(m, ("tensor", dtype), False, "cpu"), name)(dtype=getattr(m, out)))
            for m in (gc, oracle)
        ]
        assert_same(*results, where=f"{name} {dtype} -> {out}")


def test_where_and_clamp_promote(oracle: Any) -> None:
    for a, b in itertools.product([*TENSORS, ("number", 2), ("number", 2.5)], repeat=2):

        def choose(m: Any, a: Any = a, b: Any = b) -> Any:
            return m.where(m.tensor([True, False, True, False]), make(m, a, False, "cpu"), make(m, b, True, "cpu"))

        assert_same(outcome(choose, gc), outcome(choose, oracle), where=f"where {a} {b}")
        if a[0] != "number" and a[1] != "bool":

            def limit(m: Any, a: Any = a, b: Any = b) -> Any:
                return make(m, a, False, "cpu").clamp(min=make(m, b, True, "cpu"))

            assert_same(outcome(limit, gc), outcome(limit, oracle), where=f"clamp {a} {b}")


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_wrap_around(name: str, device: str) -> None:
    d = getattr(gc, name)
    info = gc.iinfo(d)
    top = gc.tensor([info.max], dtype=d, device=device)
    assert (top + 1).item() == info.min
    assert (gc.tensor([info.min], dtype=d, device=device) - 1).item() == info.max
    assert (top * 2).item() == (-2 if info.min < 0 else info.max - 1)
    assert (top + top.new_ones(1)).item() == info.min
    if info.bits < 64:
        assert (gc.tensor([1], dtype=d, device=device) + 2**info.bits).item() == 1


SIGNS = [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-6, 3), (0, 5), (-1, 100)]


def test_integer_division_rounds_down(device: str, oracle: Any) -> None:
    a, b = [p for p, _ in SIGNS], [q for _, q in SIGNS]
    x, y = gc.tensor(a, device=device), gc.tensor(b, device=device)
    assert (x // y).tolist() == [p // q for p, q in SIGNS]
    assert (x % y).tolist() == [p % q for p, q in SIGNS]
    assert gc.div(x, y, rounding_mode="trunc").tolist() == [int(p / q) for p, q in SIGNS]
    for mode in ("trunc", "floor"):
        agree(lambda m, d: m.div(m.tensor(a, device=d), m.tensor(b, device=d), rounding_mode=mode), oracle, device)
        agree(lambda m, d: m.div(m.tensor(a, device=d), 2.5, rounding_mode=mode), oracle, device)


def test_integer_division_is_exact() -> None:
    big = 2**62 + 3
    assert gc.div(gc.tensor([-big]), 2, rounding_mode="trunc").item() == -(big // 2)
    assert (gc.tensor([big]) // 2).item() == big // 2


def test_integer_division_by_zero() -> None:
    for divide in (lambda x: x // 0, lambda x: x % 0, lambda x: x // gc.tensor([0]), lambda x: 1 // (x * 0)):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            divide(gc.tensor([1]))


def test_the_default_dtype_is_what_integers_become() -> None:
    try:
        gc.set_default_dtype(gc.float64)
        assert (gc.tensor([1]) / 2).dtype is gc.float64
        assert (gc.tensor([1]) * 2.5).dtype is gc.float64
        assert gc.exp(gc.tensor([1])).dtype is gc.float64
        assert gc.tensor(1.5).dtype is gc.zeros(1).dtype is gc.rand(1).dtype is gc.float64
    finally:
        gc.set_default_dtype(gc.float32)
    assert (gc.tensor([1]) / 2).dtype is gc.float32
    for bad in (gc.int64, "float32", float):
        with pytest.raises(TypeError, match="only floating-point types are supported as the default type"):
            gc.set_default_dtype(bad)  # type: ignore[arg-type]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    a=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    b=st.integers(-(2**63), 2**63 - 1),
    name=st.sampled_from(["add", "sub", "mul", "floordiv", "mod", "and_", "or_", "xor"]),
)
def test_integer_arithmetic(a: list[int], b: int, name: str) -> None:
    """Python's own integers, modulo 2**64."""
    if name in ("floordiv", "mod") and b == 0:
        return
    function = getattr(operator, name)
    expected = [(function(x, b) + 2**63) % 2**64 - 2**63 for x in a]
    assert function(gc.tensor(a), b).tolist() == expected
    assert function(gc.tensor(a), gc.tensor(b)).tolist() == expected


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(name: str, oracle: Any) -> None:
    """The error against float64 is at most twice PyTorch's own, or half a unit in the last place."""
    functions = {
        "softmax": lambda m, x: m.softmax(x, 1),
        "log_softmax": lambda m, x: m.log_softmax(x, 1),
        "sum": lambda m, x: x.sum(1),
        "mean": lambda m, x: x.mean(0),
        "var": lambda m, x: x.var(1),
        "norm": lambda m, x: x.norm(dim=1),
        "matmul": lambda m, x: x @ x.t(),
        "sigmoid": lambda m, x: m.sigmoid(x),
        "tanh": lambda m, x: m.tanh(x),
        "exp": lambda m, x: m.exp(x / 4),
        "pow": lambda m, x: m.abs(x) ** 1.5,
        "rsqrt": lambda m, x: m.rsqrt(m.abs(x) + 1),
        "prod": lambda m, x: (x / 8 + 1).prod(1),
    }
    generator = oracle.Generator().manual_seed(0)
    data = oracle.randn(64, 256, generator=generator, dtype=oracle.float64).to(getattr(oracle, name))
    x = gc.tensor(data.double().numpy()).to(getattr(gc, name))

    def both_passes(m: Any, function: Any, x: Any) -> Any:
        x = x.detach().requires_grad_()
        out = function(m, x)
        return out.detach(), *m.autograd.grad(out, x, m.ones_like(out))

    for label, function in functions.items():
        exact, ours, theirs = (
            both_passes(m, function, t) for m, t in ((oracle, data.double()), (gc, x), (oracle, data))
        )
        for which, right, here, there in zip(("values", "gradients"), exact, ours, theirs):
            assert short(here.dtype) == name
            error = (oracle.from_numpy(here.double().numpy()) - right).abs().max()
            unit = right.abs().max() * gc.finfo(getattr(gc, name)).eps / 2
            assert error <= max(2 * (there.double() - right).abs().max(), unit), f"{which} of {label}"
