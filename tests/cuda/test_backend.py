"""The rest of the backend: transfers, products, scatter-add, bad indices, and what goes wrong with a clear message."""

from __future__ import annotations

import re
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

import gradcore.backends.cuda as package
from gradcore.backends.cpp import sources
from gradcore.backends.cuda import CudaBackend, compiler, driver
from gradcore.backends.cuda.backend import OneOfSeveral
from gradcore.devices import device
from gradcore.expr import trace

F32 = np.dtype(np.float32)


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def test_transfers_copy(cuda, random_array):
    x = random_array((3, 4))
    there = cuda.from_host(x)
    x[0, 0] += 1
    back = cuda.to_host(there)
    assert back[0, 0] == x[0, 0] - 1
    back[0, 1] += 1
    assert cuda.to_host(there)[0, 1] == x[0, 1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64"])
def test_products(cuda, cpu, same, dtype, random_array):
    vectors = [((5,), (5,)), ((4, 5), (5,)), ((4, 0), (0, 3))]
    for a, b in [((4, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((2, 1, 4, 5), (3, 5, 2)), *vectors]:
        x, y = random_array(a, dtype), random_array(b, dtype)
        same(cuda.matmul(cuda.from_host(x), cuda.from_host(y)), cpu.matmul(x, y), 10)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_linear(cuda, cpu, same, dtype, shape, bias, random_array):
    x, w, b = random_array(shape, dtype), random_array((7, 5), dtype), random_array((7,), dtype) if bias else None
    found = cuda.linear(cuda.from_host(x), cuda.from_host(w), cuda.from_host(b) if bias else None)
    same(found, cpu.linear(x, w, b), 10)


KEYS = {
    "rows": (np.array([1, 4, 1, -4, 0]),),
    "bare": np.array([[1, 4], [1, -4]]),
    "a scalar index": (np.array(2),),
    "pairs": (np.array([1, 4, 1]), np.array([2, 0, -1])),
    "last dimension": (slice(None), np.array([0, 0, 2])),
    "mask": (np.array([True, False, True, True, False]),),
    "with a new axis": (None, np.array([3, 3])),
    "nothing": (np.array([], np.int64),),
}


def key_on(cuda, key):
    if isinstance(key, tuple):
        return tuple(cuda.from_host(k) if isinstance(k, np.ndarray) else k for k in key)
    return cuda.from_host(key)


@pytest.mark.parametrize("key", KEYS)
def test_index_add_keys(cuda, same, key, random_array):
    target = random_array((5, 3))
    values = random_array(target[KEYS[key]].shape)
    there = cuda.from_host(target)
    cuda.index_add(there, key_on(cuda, KEYS[key]), cuda.from_host(values))
    np.add.at(target, KEYS[key], values)
    same(there, target)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"]
)
def test_index_add_dtypes(cuda, same, dtype):
    target = np.zeros((5, 3), dtype_of(dtype))
    index = np.array([1, 4, 1, 1, 0])
    values = np.ones((5, 3), dtype_of(dtype))
    there = cuda.from_host(target)
    cuda.index_add(there, cuda.from_host(index), cuda.from_host(values))
    np.add.at(target, index, values)
    same(there, target)


def test_index_add_to_a_view_of_broadcast_values(cuda, same, random_array):
    target, index = random_array((6, 5)), np.array([0, 2, 2])
    there = cuda.from_host(target)
    cuda.index_add(there[::2, 1:], (cuda.from_host(index),), cuda.from_host(np.float32([1, 2, 3, 4])))
    np.add.at(target[::2, 1:], (index,), np.float32([1, 2, 3, 4]))
    same(there, target)


def test_index_add_rounds_once(cuda, same):
    """4096 halves of 1 added one by one to 2048 would all be lost."""
    there = cuda.from_host(np.full((2, 1), 2048, np.float16))
    index = cuda.from_host(np.zeros(4096, np.int64))
    cuda.index_add(there, index, cuda.from_host(np.ones((4096, 1), np.float16)))
    same(there, np.array([[6144], [2048]], np.float16))


def test_index_add_is_in_bounds_whatever_the_index(cuda, same, checked):
    there = cuda.from_host(np.zeros((4, 300), np.float32))
    index = cuda.from_host(np.array([1, 9, 1, -7]))
    cuda.index_add(there, index, cuda.from_host(np.ones((4, 300), np.float32)))
    expected = np.zeros((4, 300), np.float32)
    expected[1] = 2
    same(there, expected)


def test_astype_of_a_view_is_contiguous(cuda, same, random_array):
    x = random_array((4, 6))
    same(cuda.astype(cuda.from_host(x).T, np.dtype(np.float64)), x.T.astype(np.float64))


# ---------------------------------------------------------------- bad indices


@pytest.mark.parametrize("bad, size", [(7, 5), (-6, 5), (5, 5), (0, 0)])
def test_a_bad_index_is_raised_at_the_next_synchronisation(cuda, bad, size):
    index = cuda.from_host(np.array([[0, 4, bad], [1, -5, 2]]) if size else np.array([bad]))
    cuda.errors.check("index_select", index, size, 2)
    with pytest.raises(IndexError) as raised:
        cuda.synchronize()
    assert str(raised.value) == f"index_select(): index {bad} is out of bounds for dimension 2 with size {size}"
    # Reported once, and the device lives on.
    cuda.synchronize()
    cuda.errors.check("index_select", cuda.from_host(np.array([0])), 1, 0)
    cuda.synchronize()


def test_a_transfer_raises_too(cuda):
    cuda.errors.check("take", cuda.from_host(np.array([3, 9], np.int32)), 4, 0)
    with pytest.raises(IndexError, match="take.*index 9"):
        cuda.to_host(cuda.from_host(np.zeros(1)))


def test_good_indices_raise_nothing(cuda):
    cuda.check_index("take", cuda.from_host(np.array([-4, 3])), 4, 0)
    cuda.check_index("take", cuda.from_host(np.zeros((0,), np.int64)), 0, 0)
    cuda.synchronize()


def test_the_first_error_wins(cuda):
    cuda.errors.check("gather", cuda.from_host(np.array([8])), 4, 1)
    cuda.errors.check("take", cuda.from_host(np.array([9])), 4, 0)
    with pytest.raises(IndexError, match="gather"):
        cuda.synchronize()


def test_a_bad_target_reads_nothing(cuda, checked):
    x = cuda.from_host(np.zeros((3, 4), np.float32))
    loss, _, weight = cuda.cross_entropy(x, cuda.from_host(np.array([1, 4, -1])), None, -100, 0.0)
    with pytest.raises(IndexError, match=r"cross_entropy\(\): index (4|-1) is out of bounds .* size 4"):
        cuda.to_host(loss)
    assert cuda.to_host(weight).tolist() == [1, 0, 0]


# ---------------------------------------------------------------- several devices


def test_methods_run_on_their_own_device(cuda, monkeypatch):
    current = [0]

    class Entered:
        def __init__(self, index):
            self.index = index

        def __enter__(self):
            current.append(self.index)

        def __exit__(self, *_):
            current.pop()

    backend = OneOfSeveral(0)
    monkeypatch.setattr(backend, "index", 3)
    monkeypatch.setattr(driver, "current_device", lambda: current[-1])
    monkeypatch.setattr(cuda.xp.cuda, "Device", Entered)
    used = []
    monkeypatch.setattr(backend, "_elementwise", lambda *_: used.append(current[-1]) or [None])
    backend.elementwise(None, (), F32, (), ())
    assert used == [3] and current == [0]
    current.append(3)
    backend.elementwise(None, (), F32, (), ())
    assert used == [3, 3] and current == [0, 3]
    assert backend.multi_tensor.__wrapped__ is CudaBackend.multi_tensor


# ---------------------------------------------------------------- errors in words


def test_no_such_device(cuda):
    with pytest.raises(RuntimeError, match="invalid device ordinal: cuda:99.* there (is|are) [1-9]"):
        package.backend_for(device("cuda:99"))


def test_cupy_missing(monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError("No module named 'cupy'")

    monkeypatch.delenv("GRADCORE_CUDA", raising=False)
    monkeypatch.setattr(driver.importlib, "import_module", missing)
    with pytest.raises(RuntimeError, match=r"pip install 'gradcore\[cuda12\]'.*GRADCORE_CUDA=emulate"):
        driver.library.__wrapped__()


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (None, "No CUDA GPUs are available: no CUDA-capable device"),
        (0, "Found no NVIDIA driver on your system: cudaErrorInsufficientDriver"),
        (10020, "The NVIDIA driver on your system is too old (found version 10020): cudaErrorInsufficientDriver"),
    ],
)
def test_no_gpu(monkeypatch, version, told):
    class CUDARuntimeError(RuntimeError):
        pass

    def count() -> int:
        if version is not None:
            raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        return 0

    runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=count, driverGetVersion=lambda: version)
    monkeypatch.setattr(driver, "library", lambda: SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    with pytest.raises(RuntimeError, match=f"{re.escape(told)}.*nvidia-smi"):
        driver.device_count.__wrapped__()


def test_a_kernel_that_does_not_compile(cuda, monkeypatch):
    monkeypatch.setattr(compiler, "on_compile", [])
    with pytest.raises(RuntimeError) as raised:
        compiler.Compiler(cuda.xp).kernels(
            '#include "math.cuh"\nextern "C" __global__ void broken() { undeclared(); }', ("broken",), "exp of float32"
        )
    message = str(raised.value)
    assert "exp of float32 does not compile" in message and "undeclared" in message
    path = message.rsplit(" ", 1)[1]
    with open(path) as file:
        assert "floor_divide" in file.read()  # the header too


# ---------------------------------------------------------------- sources


def test_headers_are_inserted_once():
    text = sources.assemble('#include "reduce.cuh"\n#include "math.cuh"\n#include <cuda_fp16.h>\n')
    assert text.count("struct Combine") == 0
    assert text.count("floor_divide_float(T a, T b) {") == 1
    assert text.count("#include") == 1 and "#pragma once" not in text


def test_installed_and_checked_out_kernels(tmp_path, monkeypatch):
    package_directory = tmp_path / "gradcore"
    module = package_directory / "backends" / "cuda" / "sources.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(sources, "__file__", str(module))
    with pytest.raises(RuntimeError, match="Reinstall"):
        sources.directory.__wrapped__()
    for place in (tmp_path / "kernels", package_directory / "kernels"):
        place.mkdir()
        (place / "math.cuh").touch()
        assert sources.directory.__wrapped__() == place


def test_generated_names_are_stable(cuda, compilations):
    x = cuda.from_host(np.zeros(3, np.float32))
    cuda.elementwise(trace(lambda lambda_, x: lambda_ * x + 0.03125), [x, x], F32, [F32], (3,))
    assert "elementwise_mul_add(" in compilations[0]
