"""Indexing and assignment: any key that PyTorch takes, with its values, gradients and errors, on both devices."""

# ruff: noqa: B023 (functions made in a loop run before it goes on)
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from parity import Raised, agree, assert_same, outcome

import gradcore as gc

# What an entry of a key is in one module: ("tensor", data), ("array", data), ("list", data), or the entry itself.
Entry = Any


def entry_of(m: Any, entry: Entry, device: str) -> Any:
    if isinstance(entry, tuple) and entry and entry[0] in ("tensor", "array"):
        kind, data = entry
        if kind == "array":
            return np.array(data, dtype=None if np.size(data) else np.int64)
        return m.tensor(data, device=device) if np.size(data) else m.tensor(data, dtype=m.int64, device=device)
    return entry


def key_of(m: Any, key: Any, device: str) -> Any:
    if isinstance(key, tuple) and key and isinstance(key[0], tuple) and key[0] and key[0][0] == "key":
        return tuple(entry_of(m, e, device) for e in key[1:])
    return entry_of(m, key, device)


# ---------------------------------------------------------------- fixed cases
KEYS = [
    0, -1, 3, -4, (0, 3), (2, 4), (0, 0, 0), (..., 0, 0, 0), (0, ..., 1), ..., (), None, (None, slice(None), None),
    slice(None, None, 2), slice(1, 10), slice(5, None), slice(2, 1), slice(-2, None), slice(None, None, -1),
    slice(0, 3, 0), True, False, (True, 0), (0, True), (None, True), (slice(None), True), np.int64(1), np.array(1),
    (1,), [0, 2], [[0, 2], [1, 3]], ([0, 2], 1), ([0, 2], [1, 3]), [[0, 2]], [], ([], []), range(2),
    (slice(None), range(2)), [True, False, True], [5], ([0, 1], [0, 1, 2]), [-3, 2], [-4], ([0, 1], slice(1, 3)),
    (slice(0, 2), [0, 0]), ("tensor", [0, 2]), ("tensor", 1), ("tensor", [[0, 1], [2, 2]]),
    ("tensor", [True, False, True]), ("tensor", [3]), ("tensor", [True, False]),
    ("tensor", [[True, False, True, True]] * 3), ("tensor", [[True, False, True]] * 3), ("tensor", [0.0, 1.0]),
    ("tensor", 1.0), ("tensor", True), ("tensor", False), ("tensor", []), ("array", [0, 2]),
    ("array", [True, False, True]), 1.0, 1.5, {}, slice(0, 2.5),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_keys(key: Any, device: str, oracle: Any) -> None:
    def get(m: Any, d: str) -> Any:
        return m.arange(12, device=d).reshape(3, 4)[key_of(m, key, d)]

    agree(get, oracle, device)


def test_expected_values(device: str) -> None:
    x = gc.arange(12, device=device).reshape(3, 4)
    assert x[1].tolist() == [4, 5, 6, 7] and x[1, 2].item() == 6 and x[-1, -1].item() == 11
    assert x[:, 1].tolist() == [1, 5, 9] and x[1:, ::2].tolist() == [[4, 6], [8, 10]]
    assert x[[0, 2], [1, 3]].tolist() == [1, 11] and x[[2, 0]].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert x[x > 8].tolist() == [9, 10, 11] and x[..., None].shape == (3, 4, 1)
    assert x[gc.tensor(1), gc.tensor(2)].item() == 6


def test_an_int_selects_before_index_arrays_do(device: str, oracle: Any) -> None:
    """Unlike in NumPy an int beside index arrays is none itself: the new dimensions stay where the arrays are."""
    x = gc.arange(24, device=device).reshape(2, 3, 4)
    assert x[0, :, [0, 1]].tolist() == [[0, 1], [4, 5], [8, 9]]
    for key in (
        (0, slice(None), [0, 1]), (0, slice(None), [[0, 1]]), ([0, 1], slice(None), 0), ([0, 1], 0),
        (0, [0, 1], [1, 2]), ([0, 1], 0, [1, 2]), (slice(None), 0, [1, 2]), (0, ..., [0, 1]), ([1], None, 0),
        (0, None, [2, 1]), ([[True, False, True], [False, True, False]], 0), (1, [True, False, True]),
        (0, slice(None), [True, False, True, True]),
    ):  # fmt: skip
        agree(lambda m, d: m.arange(24, device=d).reshape(2, 3, 4)[key], oracle, device)


def test_index_dtypes(oracle: Any) -> None:
    for name in ("int64", "int32", "uint8", "float32", "float64"):
        agree(lambda m, d: m.arange(3)[m.tensor([0, 1, 1], dtype=getattr(m, name))], oracle)
    for bad in (gc.tensor([1.0]), gc.tensor(0.5), [0.5], np.array([1.5]), 1.5):
        with pytest.raises(IndexError):
            gc.arange(3)[bad]


def test_slices_of_tensors(oracle: Any) -> None:
    agree(lambda m, d: m.arange(5)[m.tensor(1) : m.tensor(3)], oracle)
    agree(lambda m, d: m.arange(5)[m.tensor(1.0) :], oracle)


def test_zero_dimensional_and_empty(device: str, oracle: Any) -> None:
    for key in (0, ..., None, (), ("tensor", True), ("tensor", False), ("tensor", 0), slice(None), [0], (None, ...)):
        agree(lambda m, d: m.tensor(5, device=d)[key_of(m, key, d)], oracle, device)
    for key in (0, [], [0], slice(0, 5), ("tensor", []), ("array", []), ..., None, True):
        agree(lambda m, d: m.zeros(0, device=d)[key_of(m, key, d)], oracle, device)
    for shape, key in (
        ((0, 3), (slice(None), 1)),
        ((3, 0), [0, 1]),
        ((3, 0), (slice(None), [0])),
        ((0, 3), (slice(None), [2])),
    ):
        agree(lambda m, d: m.zeros(shape, device=d)[key], oracle, device)


# ---------------------------------------------------------------- any key
SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


@st.composite
def keys(draw: Any, shape: tuple[int, ...]) -> Any:
    """A key for a tensor of `shape`, mostly one that fits."""
    entries: list[Any] = [("key",)]
    common = draw(st.sampled_from([(2,), (1,), (3,), (2, 3), (2, 1), ()]))
    dims, ellipsis = list(shape), False
    while dims and draw(st.integers(0, 9)):
        n = dims[0]
        kind = draw(
            st.sampled_from(["int", "slice", "slice", "none", "ellipsis", "index", "index", "mask", "range", "bool"])
        )
        if kind in ("int", "index", "range") and n == 0:
            kind = "slice"
        if kind == "none":
            entries.append(None)
            continue
        if kind == "bool":
            entries.append(draw(st.booleans()))
            continue
        if kind == "ellipsis":
            if not ellipsis:
                entries.append(...)
                ellipsis = True
                del dims[: draw(st.integers(0, len(dims)))]
            continue
        if kind == "mask":
            several = draw(st.integers(1, min(2, len(dims))))
            size = tuple(dims[:several])
            mask = draw(st.lists(st.booleans(), min_size=int(np.prod(size)), max_size=int(np.prod(size))))
            entries.append((draw(st.sampled_from(["tensor", "array"])), np.array(mask, bool).reshape(size)))
            del dims[:several]
            continue
        dims.pop(0)
        index = st.integers(-n, n - 1)
        if kind == "int":
            entries.append(draw(st.one_of(index, index.map(lambda i: ("tensor", i)), index.map(np.int64), st.just(n))))
        elif kind == "slice":
            ends = st.none() | st.integers(-n - 1, n + 1)
            entries.append(slice(draw(ends), draw(ends), draw(st.none() | st.integers(1, 3))))
        elif kind == "range":
            entries.append(range(draw(st.integers(0, n))))
        else:
            size = common[draw(st.integers(0, len(common))) :]
            data = draw(st.lists(index, min_size=int(np.prod(size)), max_size=int(np.prod(size))))
            array = np.array(data, np.int64).reshape(size)
            kind = draw(st.sampled_from(["tensor", "array", "list"]))
            entries.append(array.tolist() if kind == "list" else (kind, array))
    return tuple(entries)


CASES = SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), keys(shape)))
many = settings(
    max_examples=400, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def made(m: Any, shape: tuple[int, ...], device: str, start: int = 0) -> Any:
    size = int(np.prod(shape))
    return m.arange(start, start + size, dtype=m.float64, device=device).reshape(shape).requires_grad_()


def weighted(m: Any, x: Any) -> Any:
    return (x * m.arange(1, x.numel() + 1, dtype=x.dtype, device=x.device).reshape(x.shape)).sum()


@many
@given(case=CASES)
def test_any_key(case: Any, device: str, oracle: Any) -> None:
    shape, key = case

    def get(m: Any, d: str) -> Any:
        x = made(m, shape, d)
        out = x[key_of(m, key, d)]
        weighted(m, out).backward()
        return out.detach(), x.grad

    agree(get, oracle, device, exact=True)


@many
@given(case=CASES, how=st.sampled_from(["number", "same", "trailing", "leading", "scalar"]))
def test_any_assignment(case: Any, how: str, device: str, oracle: Any) -> None:
    shape, key = case
    numbers = oracle.arange(int(np.prod(shape))).reshape(shape)
    picked = outcome(lambda: numbers[key_of(oracle, key, "cpu")])
    if isinstance(picked, Raised):
        size: tuple[int, ...] = ()
    else:
        # Which value wins where one element is named twice is not promised.
        assume(how in ("number", "scalar") or picked.unique().numel() == picked.numel())
        size = tuple(picked.shape)
    size = {"same": size, "trailing": size[1:], "leading": (1, *size), "scalar": ()}.get(how, ())

    def put(m: Any, d: str) -> Any:
        x, value = made(m, shape, d), made(m, size, d, start=100)
        y = x * 1
        y[key_of(m, key, d)] = -7.5 if how == "number" else value
        weighted(m, y).backward()
        return y.detach(), x.grad, value.grad

    agree(put, oracle, device, exact=True)


# ---------------------------------------------------------------- assignment
ASSIGNMENTS = [
    (0, 5), ((0, [0, 1]), 5), ([0, 1], [1, 2, 3, 4]), ([0, 1], [1, 2, 3]), (0, [1, 2, 3]), (0, [[1, 2, 3, 4]]),
    (0, [[[1]]]), (slice(None), 1.7), (3, 1), ([3], 1), ((0, 0, 0), 1), (..., 1), (True, 1), (False, 1),
    (slice(0, 0), [1, 2, 3]), ([0, 1], [[1], [2]]), ((slice(None), 1), [1, 2, 3]), ((slice(None), 1), [1, 2]),
    (slice(None, None, -1), 1), (1.5, 1), (("tensor", [[True, False, True, False]] * 3), [1, 2, 3, 4, 5, 6]),
    (("tensor", [True, False, True]), 0), (("tensor", [[True, False, True, False]] * 3), [1, 2]),
    (("tensor", [True, False]), 0), ([], 3), (0, "a"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), ASSIGNMENTS, ids=repr)
def test_assignments(key: Any, value: Any, device: str, oracle: Any) -> None:
    def put(m: Any, d: str) -> Any:
        x = m.arange(12, device=d).reshape(3, 4)
        try:
            x[key_of(m, key, d)] = m.tensor(value, device=d) if isinstance(value, list) else value
        except Exception:
            assert x.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] and x._version == 0
            raise
        return x

    agree(put, oracle, device)


def test_assigning_other_dtypes(device: str, oracle: Any) -> None:
    def into(dtype: str, value: Any, key: Any = 0) -> Any:
        def put(m: Any, d: str) -> Any:
            x = m.ones(3, dtype=getattr(m, dtype), device=d)
            x[key] = value if not isinstance(value, list) else m.tensor(value[0], dtype=m.float64, device=d)
            return x

        return put

    for dtype, value in (
        ("float32", 2), ("int64", 2.7), ("int64", -2.7), ("int8", 300), ("int64", float("nan")), ("bool", 2),
        ("int64", True), ("float16", 1e6), ("float32", [2.5]), ("int64", [2.5]), ("bool", [0.5]),
    ):  # fmt: skip
        agree(into(dtype, value), oracle, device)
        agree(into(dtype, value, slice(None)), oracle, device)


def test_assigning_sequences_and_arrays() -> None:
    x = gc.zeros(3)
    x[:2] = [1, 2]  # type: ignore[assignment]
    x[2] = np.float32(3)  # type: ignore[assignment]
    assert x.tolist() == [1, 2, 3]
    x[:] = np.array([4, 5, 6])  # type: ignore[assignment]
    assert x.tolist() == [4, 5, 6]


def test_assignment_writes_through_views(device: str) -> None:
    x = gc.zeros(2, 3, device=device)
    x.t()[1] = 5
    x[0][2] = 7
    x.view(6)[gc.tensor([0])] = 9
    assert x.tolist() == [[9, 5, 7], [0, 5, 0]] and x._version == 3


def test_leaves_are_protected(device: str, oracle: Any) -> None:
    for key in (0, [0], slice(None), ..., ("tensor", [True, False, False])):

        def put(m: Any, d: str) -> Any:
            x = m.ones(3, device=d, requires_grad=True)
            x[key_of(m, key, d)] = 1
            return x

        agree(put, oracle, device)
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            put(gc, device)


# ---------------------------------------------------------------- errors
BAD = [
    (lambda x: x[5], r"index 5 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[0, -5], r"index -5 is out of bounds for dimension 1 with size 4"),
    (lambda x: x[0, 0, 0], r"too many indices for tensor of dimension 2"),
    (lambda x: x[0][0][0], r"invalid index of a 0-dim tensor"),
    (lambda x: x[[True, False]],
     r"The shape of the mask \[2\] at index 0 does not match the shape of the indexed tensor "
     r"\[3, 4\] at index 0"),
    (lambda x: x[:, [True, False, True]],
     r"The shape of the mask \[3\] at index 0 does not match the shape of the indexed "
     r"tensor \[3, 4\] at index 1"),
    (lambda x: x[1.5],
     r"only integers, slices \(`:`\), ellipsis \(`...`\), None and long or byte Variables are valid indices"),
]  # fmt: skip


@pytest.mark.parametrize(("get", "message"), BAD, ids=[m[:40] for _, m in BAD])
def test_messages(get: Any, message: str, device: str, oracle: Any) -> None:
    with pytest.raises(IndexError, match=message):
        get(gc.zeros(3, 4, device=device))
    with pytest.raises(IndexError, match=message):
        get(oracle.zeros(3, 4))


@pytest.mark.parametrize("bad", [[0, 3], [-4, 0], [[2**40]]], ids=repr)
def test_bad_indices_are_found(bad: Any, device: str) -> None:
    """On CUDA at the latest when the device is waited for; the device goes on working, and nothing is written."""
    x = gc.ones(3, device=device)
    index = gc.tensor(bad, device=device)
    with pytest.raises(IndexError, match=r"index -?\d+ is out of bounds for dimension 0 with size 3"):
        x[index].cpu()
    with pytest.raises(IndexError, match="out of bounds"):
        x[index]
        if device == "cuda":
            gc.cuda.synchronize()
    with pytest.raises(IndexError, match="out of bounds"):
        x[index] = gc.tensor(5.0)
    with pytest.raises(IndexError, match="out of bounds"):
        x[index] += 1
    assert x.tolist() == [1, 1, 1] and x._version == 0
    assert (x + 1).sum().item() == 6


def test_indices_elsewhere(_cuda_reason: str | None) -> None:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    x = gc.arange(3, device="cuda")
    assert x[gc.tensor([0, 2])].tolist() == [0, 2] and x[gc.tensor([True, False, True])].device == x.device
    assert x[[0, 1]].device == x.device and x[np.array([0, 1])].tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        gc.arange(3)[gc.tensor([0], device="cuda")]
    with pytest.raises(RuntimeError, match=r"the tensor is on cuda:0, the value on cpu; move one with .to\(\)"):
        x[:2] = gc.tensor([1, 2])
    x[0] = gc.tensor(7)
    assert x.tolist() == [7, 1, 2]


def test_gradients_add_up_for_repeated_indices(device: str) -> None:
    x = gc.zeros(3, device=device, requires_grad=True)
    x[[0, 0, 2]].sum().backward()
    assert x.grad.tolist() == [2, 0, 1]


def test_results(oracle: Any) -> None:
    assert_same(gc.arange(4)[gc.tensor([[0, 1]])], oracle.arange(4)[oracle.tensor([[0, 1]])])
    x = gc.arange(4)
    assert not np.shares_memory(x[[0, 1]].numpy(), x.numpy()) and np.shares_memory(x[1:].numpy(), x.numpy())
