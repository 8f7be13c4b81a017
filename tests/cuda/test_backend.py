"""The rest of the backend: transfers, products, scatter-add, bad indices, and what goes wrong with a clear message."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import gradcore.backends.cuda as package
from gradcore.backends.cuda import compiler, driver, sources
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
    for a, b in [((4, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((2, 1, 4, 5), (3, 5, 2)), ((5,), (5,)), ((4, 5), (5,)), ((4, 0), (0, 3))]:
        x, y = random_array(a, dtype), random_array(b, dtype)
        same(cuda.matmul(cuda.from_host(x), cuda.from_host(y)), cpu.matmul(x, y), 10)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_linear(cuda, cpu, same, dtype, shape, bias, random_array):
    x, w, b = random_array(shape, dtype), random_array((7, 5), dtype), random_array((7,), dtype) if bias else None
    found = cuda.linear(cuda.from_host(x), cuda.from_host(w), cuda.from_host(b) if bias else None)
    same(found, cpu.linear(x, w, b), 10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int32", "int64", "uint8"])
def test_index_add(cuda, same, dtype):
    target = np.zeros((5, 3), dtype_of(dtype))
    index = np.array([1, 4, 1, 1, 0])
    values = np.ones((5, 3), dtype_of(dtype))
    there = cuda.from_host(target)
    cuda.index_add(there, cuda.from_host(index), cuda.from_host(values))
    np.add.at(target, index, values)
    same(there, target)


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


@pytest.mark.parametrize("fails", [False, True])
def test_no_gpu(monkeypatch, fails):
    class CUDARuntimeError(RuntimeError):
        pass

    def count() -> int:
        if fails:
            raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        return 0

    runtime = type("runtime", (), {"CUDARuntimeError": CUDARuntimeError, "getDeviceCount": staticmethod(count)})
    library = type("cupy", (), {"cuda": type("cuda", (), {"runtime": runtime})})
    monkeypatch.setattr(driver, "library", lambda: library)
    with pytest.raises(RuntimeError, match="InsufficientDriver.*nvidia-smi" if fails else "no CUDA-capable.*nvidia-smi"):
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
    assert 'elementwise_mul_add(' in compilations[0]
