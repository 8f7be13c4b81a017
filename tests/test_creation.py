"""Making tensors: from data, by shape, like others; what is copied and what shares memory."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from parity import agree, assert_same, cases, evaluate, outcome

import gradcore as gc

NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


# ---------------------------------------------------------------- tensor(data)
DATA = [
    3, 2.5, True, -0.0, [], [[]], [[], []], [1, 2], [1, 2.5], [True, 2], [True, 2.5], [[1, 2], [3, 4]], (1, 2),
    [(1, 2), [3, 4]], range(3), [range(2), range(2)], [float("nan"), float("inf")], [2**62], [-(2**63)], [[[1.0]]],
    [[1, 2], [3]], [[1, 2], 3], [1, [2]], [[[1], [2]], [[1], [2, 3]]], "abc", None, [None], {}, [1, "a"], [2**63],
    [2**70],
]  # fmt: skip


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_tensor_of_data(data: Any, device: str, oracle: Any) -> None:
    agree(lambda m, d: m.tensor(data, device=d), oracle, device, exact=True)


def test_dtypes_of_data() -> None:
    for data, dtype in (
        ([1, 2], gc.int64), ([1, 2.0], gc.float32), ([True], gc.bool), ([], gc.float32), (2**40, gc.int64),
        ([gc.tensor(1.0, dtype=gc.float64)], gc.float64), ([gc.tensor(1), 2.5], gc.float32),
        (np.float64(1), gc.float64), ([np.int8(1)], gc.int8), (np.zeros(1, np.float16), gc.float16),
    ):  # fmt: skip
        assert gc.tensor(data).dtype is dtype, data
    assert gc.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert gc.tensor([gc.tensor(1), gc.tensor(2.5)]).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("name", NAMES)
def test_tensor_as_a_dtype(name: str, device: str, oracle: Any) -> None:
    for data in ([0, 1, 2], [0.5, 1.9, 100.0], [True, False], 3, [], [1e10], [float("nan")], [300]):
        if name == "bfloat16" and data == [1e10]:
            continue
        agree(lambda m, d: m.tensor(data, dtype=getattr(m, name), device=d), oracle, device)


ARGUMENTS = """
    m.tensor([1.0], device=d, requires_grad=True); m.tensor([1], device=d, requires_grad=True);
    m.tensor(1.5, dtype='float32'); m.tensor([1.0], device='nowhere'); m.tensor(); m.tensor([1], [2]);
    m.tensor([1], size=1); m.as_tensor([1, 2.5], device=d); m.as_tensor(3, dtype=m.float64, device=d);
    m.as_tensor(np.arange(3), dtype=m.float32, device=d); m.Tensor([1, 2]); m.Tensor(2, 3).shape; m.Tensor();
"""


@cases(ARGUMENTS)
def test_arguments(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, m=m, d=d), oracle, device)


# ---------------------------------------------------------------- NumPy
NUMPY = [np.dtype(c) for c in "? b B h i l e f d".split()]


@pytest.mark.parametrize("dtype", NUMPY, ids=str)
def test_numpy_arrays_of_every_dtype(dtype: np.dtype, device: str, oracle: Any) -> None:
    array = np.array([[0, 1, 2], [3, 100, 7]]).astype(dtype)
    agree(lambda m, d: m.tensor(array, device=d), oracle, device, exact=True)
    agree(lambda m, d: m.tensor(array[:, 1:].T, device=d), oracle, device, exact=True)
    agree(lambda m, d: m.from_numpy(array).numpy(), oracle)
    agree(lambda m, d: m.tensor(array[0, 1], device=d), oracle, device, exact=True)  # a NumPy scalar
    assert gc.from_numpy(array).numpy().dtype == dtype
    assert gc.tensor(array, device=device).cpu().numpy().tobytes() == array.tobytes()


def test_bfloat16_arrays(device: str) -> None:
    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    assert gc.tensor(array, device=device).dtype is gc.bfloat16
    assert gc.tensor(array, device=device).tolist() == [1.5, -2.0]
    assert gc.from_numpy(array).numpy().dtype == array.dtype


def test_non_native_byte_order(oracle: Any) -> None:
    array = np.arange(3, dtype=">i4")
    assert gc.tensor(array).tolist() == [0, 1, 2] and gc.tensor(array).dtype is gc.int32
    agree(lambda m, d: m.from_numpy(array), oracle)
    agree(lambda m, d: m.as_tensor(array), oracle)
    with pytest.raises(ValueError, match="byte order"):
        gc.from_numpy(array)


@pytest.mark.parametrize("dtype", ["c8", "c16", "u2", "u4", "u8", "U3", "S3", "O", "M8[D]", "f4,f4"])
def test_unsupported_arrays(dtype: str) -> None:
    for make in (gc.from_numpy, gc.tensor, gc.as_tensor):
        with pytest.raises(
            TypeError, match=r"can't convert np.ndarray of type .*\. The only supported types are: bool"
        ):
            make(np.zeros(2, dtype))


def test_from_numpy_takes_arrays_only(oracle: Any) -> None:
    for value in ([1, 2], 3, np.float32(1), None):
        agree(lambda m, d: m.from_numpy(value), oracle)
    with pytest.raises(TypeError, match=r"expected np.ndarray \(got list\)"):
        gc.from_numpy([1, 2])  # type: ignore[arg-type]


def test_what_shares_memory_and_what_copies() -> None:
    array = np.zeros(3, np.float32)
    t = gc.from_numpy(array)
    shared = [t, gc.as_tensor(array), gc.as_tensor(t), t.detach(), t.data, t.view(3), t.cpu(), t.to("cpu"), t.float()]
    copies = [
        gc.tensor(array),
        t.clone(),
        t.to(gc.float32, copy=True),
        t.double(),
        gc.as_tensor(t, gc.float64),
    ]
    with pytest.warns(UserWarning, match="To copy construct from a tensor, it is recommended"):
        copies.append(gc.tensor(t))
    array[0] = 1
    assert [s[0].item() for s in shared] == [1.0] * len(shared)
    assert [c[0].item() for c in copies] == [0.0] * len(copies)
    t[1] = 2
    assert array[1] == 2 and t.numpy() is not None and np.shares_memory(t.numpy(), array)
    assert np.shares_memory(np.asarray(t), array) and not np.shares_memory(np.array(t), array)


def test_detach_shares_the_version_and_data_does_not() -> None:
    t = gc.ones(2)
    version = t._version
    t.detach().add_(1)
    assert t._version == version + 1
    t.data.add_(1)
    assert t._version == version + 1 and t.tolist() == [3, 3]


def test_tensor_of_a_tensor_is_detached(oracle: Any) -> None:
    agree(lambda m, d: m.tensor(m.ones(2, requires_grad=True) * 2), oracle)
    agree(lambda m, d: m.tensor(m.ones(2, requires_grad=True), requires_grad=True), oracle)
    agree(lambda m, d: m.as_tensor(m.ones(2, requires_grad=True)), oracle)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    array=st.sampled_from(NUMPY).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
)
def test_any_array_survives(array: np.ndarray) -> None:
    for t in (gc.tensor(array), gc.from_numpy(array), gc.tensor(array.tolist(), dtype=gc.from_numpy(array).dtype)):
        if t.shape == array.shape:  # (lists forget trailing sizes after a 0)
            np.testing.assert_array_equal(t.numpy(), array)
    np.testing.assert_array_equal(np.array(gc.tensor(array).tolist(), array.dtype).reshape(array.shape), array)


# ---------------------------------------------------------------- by shape
SIZES = """
    f(2, 3); f((2, 3)); f([2, 3]); f(size=(2, 3)); f(()); f([]); f(0, 3); f(5); f(np.int64(2), 3); f(); f(-1);
    f(2, -3); f(2.5); f('a'); f(True); f(2, [3]); f(None); f((2, None));
"""


@cases(SIZES)
def test_sizes(case: str, device: str, oracle: Any) -> None:
    for name in ("zeros", "ones", "empty", "rand", "randn"):
        agree(lambda m, d: evaluate(case, f=getattr(m, name)).shape, oracle, device)
    agree(lambda m, d: evaluate(case, f=lambda *a, **k: m.zeros(*a, **k, device=d)), oracle, device)


@pytest.mark.parametrize("name", NAMES)
def test_filled(name: str, device: str, oracle: Any) -> None:
    for make in (
        lambda m, d: m.zeros(2, 3, dtype=getattr(m, name), device=d),
        lambda m, d: m.ones(2, 3, dtype=getattr(m, name), device=d),
        lambda m, d: m.full((2, 3), 2, dtype=getattr(m, name), device=d),
        lambda m, d: m.full((2,), 2.7, dtype=getattr(m, name), device=d),
        lambda m, d: m.full((2,), True, dtype=getattr(m, name), device=d),
        lambda m, d: m.zeros(2, dtype=getattr(m, name), device=d, requires_grad=True),
        lambda m, d: m.eye(2, 3, dtype=getattr(m, name), device=d),
    ):
        agree(make, oracle, device)
    assert gc.empty(2, dtype=getattr(gc, name), device=device).dtype is getattr(gc, name)


FULL = """
    m.full((2,), 3, device=d); m.full((2,), 3.5, device=d); m.full([2], True, device=d); m.full((), 1.0, device=d);
    m.full((2,), m.tensor(2.5), device=d); m.full(size=(2,), fill_value=1, device=d);
    m.full((2,), float('inf'), device=d); m.full((2,), 300, dtype=m.int8, device=d); m.full((2,), 'a', device=d);
    m.full((2,), [1, 2], device=d); m.full((-1,), 1, device=d); m.full(2); m.zeros(2, dtype=float, device=d);
    m.ones(2, dtype=int, device=d); m.zeros(2, dtype='float32'); m.zeros(2, dtype=np.float32); m.eye(3, device=d);
    m.eye(0); m.eye(3, 1); m.eye(-1); m.eye(2, -1); m.eye(2.5);
"""


@cases(FULL)
def test_full_and_eye(case: str, device: str, oracle: Any) -> None:
    agree(lambda m, d: evaluate(case, m=m, d=d), oracle, device)


RANGES = [
    (5,), (5.0,), (0,), (1, 5), (1, 5, 2), (1, 2, 0.25), (5, 0, -2), (0.5, 3), (-3, 3, 2), (5, -5, -3), (0, 1, 0.1),
    (True,), (1, 5, 0), (1, 5, -1), (5, 1), (0, float("nan")), (0, float("inf")), (), (2**31, 2**31 + 2), (1, 1),
    (1, 1, -1), (-0.0, 2),
]  # fmt: skip


@pytest.mark.parametrize("arguments", RANGES, ids=str)
def test_arange(arguments: tuple[Any, ...], device: str, oracle: Any) -> None:
    agree(lambda m, d: m.arange(*arguments, device=d), oracle, device)
    for name in ("int64", "int32", "float16", "float64"):
        agree(lambda m, d: m.arange(*arguments, dtype=getattr(m, name), device=d), oracle, device)


def test_arange_by_keyword(oracle: Any) -> None:
    assert gc.arange(1, 7, 2).tolist() == [1, 3, 5] and gc.arange(3).dtype is gc.int64
    agree(lambda m, d: m.arange(end=3), oracle)
    agree(lambda m, d: m.arange(start=1, end=3), oracle)
    agree(lambda m, d: m.arange(1, 5, step=2), oracle)
    agree(lambda m, d: m.arange(m.tensor(3)), oracle)
    agree(lambda m, d: m.arange(3.0, requires_grad=True), oracle)
    agree(lambda m, d: m.arange(3, requires_grad=True), oracle)
    for name in ("int64", "int32", "int8"):
        for arguments in ((-3.7, 5), (0, 10, 3.5), (10, 0, -2.5)):
            agree(lambda m, d: m.arange(*arguments, dtype=getattr(m, name)), oracle)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(start=st.integers(-50, 50), end=st.integers(-50, 50), step=st.integers(-7, 7).filter(bool))
def test_arange_is_range(start: int, end: int, step: int) -> None:
    if (end - start) * step < 0:
        with pytest.raises(RuntimeError, match="upper bound and lower bound inconsistent with step sign"):
            gc.arange(start, end, step)
        return
    assert gc.arange(start, end, step).tolist() == list(range(start, end, step))
    assert gc.arange(float(start), end, step).tolist() == list(range(start, end, step))


def test_linspace(device: str, oracle: Any) -> None:
    assert gc.linspace(0, 1, 5, device=device).tolist() == [0, 0.25, 0.5, 0.75, 1]
    for arguments in ((0, 1, 5), (0, 1, 1), (0, 1, 0), (-3, 2, 7), (2, 2, 3), (1, 0, 4), (0, 1, -1), (1e-3, 1e3, 50)):
        agree(lambda m, d: m.linspace(*arguments, device=d), oracle, device)
        for name in ("float64", "float16"):
            agree(lambda m, d: m.linspace(*arguments, dtype=getattr(m, name), device=d), oracle, device)
    agree(lambda m, d: m.linspace(0, 10, 4, dtype=m.int64, device=d), oracle, device)
    agree(lambda m, d: m.linspace(start=0, end=1, steps=3, device=d, requires_grad=True), oracle, device)
    agree(lambda m, d: m.linspace(m.tensor(0.0), m.tensor(1.0), 3, device=d), oracle, device)
    agree(lambda m, d: m.linspace(0, 1), oracle)


# ---------------------------------------------------------------- like others
LIKE = ["zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"]


@pytest.mark.parametrize("name", LIKE)
def test_like(name: str, device: str, oracle: Any) -> None:
    def described(t: Any) -> Any:
        return t.shape, t.dtype, t.requires_grad, t.is_leaf

    for make in (
        lambda m, d: described(getattr(m, name)(m.ones(2, 3, device=d))),
        lambda m, d: described(getattr(m, name)(m.ones((), device=d, dtype=m.float64))),
        lambda m, d: described(getattr(m, name)(m.ones(0, 3, device=d))),
        lambda m, d: described(getattr(m, name)(m.ones(2, device=d, requires_grad=True) * 2)),
        lambda m, d: described(getattr(m, name)(m.ones(2, device=d, dtype=m.int64), dtype=m.float16)),
        lambda m, d: described(getattr(m, name)(m.ones(2, device=d), requires_grad=True)),
        lambda m, d: getattr(m, name)([1, 2]),
        lambda m, d: getattr(m, name)(3),
    ):
        agree(make, oracle, device)
    like = getattr(gc, name)(gc.ones(2, device=device))
    assert like.device == gc.ones(1, device=device).device
    assert getattr(gc, name)(gc.ones(2, device=device), device="cpu").device == gc.device("cpu")


def test_full_like_and_new(device: str, oracle: Any) -> None:
    for make in (
        lambda m, d: m.full_like(m.tensor([1, 2], device=d), 2.5),
        lambda m, d: m.full_like(m.tensor([1, 2], device=d), 2.5, dtype=m.float32),
        lambda m, d: m.full_like(m.tensor([1.0], device=d), m.tensor(2)),
        lambda m, d: m.full_like(m.tensor([1], dtype=m.int8), 300),
        lambda m, d: m.zeros_like(m.tensor([1, 2], device=d)),
        lambda m, d: m.tensor([1, 2], device=d).new_zeros(2, 3),
        lambda m, d: m.tensor([1, 2], device=d).new_zeros((2, 3)),
        lambda m, d: m.tensor([1, 2], device=d).new_ones(size=(2,), dtype=m.float32),
        lambda m, d: m.tensor([1.0], device=d).new_ones(2, requires_grad=True),
        lambda m, d: m.tensor([1, 2], device=d).new_full((2,), 5),
        lambda m, d: m.tensor([1, 2], device=d).new_full((2,), 5.5),
        lambda m, d: m.tensor([1, 2], device=d).new_tensor([1.5]),
        lambda m, d: m.tensor([1.0], device=d).new_tensor([1, 2]),
        lambda m, d: m.tensor([1], device=d).new_empty(3).shape,
    ):
        agree(make, oracle, device)
    x = gc.ones(1, device=device, dtype=gc.float16)
    for new in (x.new_zeros(2), x.new_ones(2), x.new_empty(2), x.new_full((2,), 1), x.new_tensor([1])):
        assert new.device == x.device and new.dtype is gc.float16


# ---------------------------------------------------------------- dtypes
def test_limits(oracle: Any) -> None:
    for name in NAMES[6:]:
        for attribute in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
            agree(lambda m, d: getattr(m.finfo(getattr(m, name)), attribute), oracle)
        agree(lambda m, d: m.iinfo(getattr(m, name)), oracle)
    for name in NAMES[1:6]:
        for attribute in ("bits", "max", "min", "dtype"):
            agree(lambda m, d: getattr(m.iinfo(getattr(m, name)), attribute), oracle)
        agree(lambda m, d: m.finfo(getattr(m, name)), oracle)
    assert gc.finfo().max == gc.finfo(gc.float32).max


def test_dtype_attributes(oracle: Any) -> None:
    for name, attribute in itertools.product(NAMES, ("is_floating_point", "is_complex", "is_signed", "itemsize")):
        assert_same(*(outcome(lambda m=m: getattr(getattr(m, name), attribute)) for m in (gc, oracle)))
    for alias in ("half", "float", "double", "short", "int", "long"):
        agree(lambda m, d: getattr(m, alias), oracle)
        assert getattr(gc, alias) in map(gc.__dict__.get, NAMES)
    assert repr(gc.float32) == str(gc.float32) == "gradcore.float32" and repr(gc.bool) == "gradcore.bool"
