"""What happens seldom: broken installations, and caches that are full."""

from __future__ import annotations

import numpy as np
import pytest
from updates import run

import gradcore.backends.cuda as package
from gradcore.backends.cuda import compiler, driver
from gradcore.expr import cpp_emit, trace


def test_cupy_that_does_not_load(monkeypatch):
    def broken(name: str):
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.delenv("GRADCORE_CUDA", raising=False)
    monkeypatch.setattr(driver.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match=r"does not load: libcuda.*gradcore\[cuda12\].*GRADCORE_CUDA=emulate"):
        driver.library.__wrapped__()


def test_missing_headers_are_named(tmp_path, monkeypatch):
    class Library:
        class RawModule:
            def __init__(self, code: str, options: tuple[str, ...]):
                pass

            def compile(self) -> None:
                raise RuntimeError("kernel.cu(1): error: could not open source file cuda_fp16.h\n1 error detected")

    monkeypatch.setattr(compiler, "on_compile", [])
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(RuntimeError) as raised:
        compiler.Compiler(Library).kernels("text of the kernel", ("k",), "exp of float16")
    assert "exp of float16 does not compile: kernel.cu(1): error" in str(raised.value)
    assert "pip install 'cupy-cuda12x[ctk]'" in str(raised.value)
    (kept,) = tmp_path.iterdir()
    assert kept.read_text() == "text of the kernel" and str(kept) in str(raised.value)


def test_the_devices_are_counted(cuda):
    assert package.device_count() == driver.device_count() > cuda.index
    assert package.array_type() is cuda.array_type


def test_gradients_that_move_at_every_step(cuda):
    """Each place in memory makes another table of addresses, of which only some are kept."""
    param = cuda.from_host(np.zeros(3, np.float32))
    grads = [cuda.from_host(np.full(3, i, np.float32)) for i in range(100)]
    for grad in grads:
        run(cuda, "sgd", [[param], [grad]])
    np.testing.assert_allclose(cuda.to_host(param), [-0.1 * sum(range(100))] * 3, rtol=1e-5)


def test_truth_values_built_into_a_kernel(cuda):
    flag = np.dtype(np.bool_)
    x = cuda.from_host(np.array([True, False]))
    for value in (True, False):
        program = trace(lambda x, value=value: x ^ value, ["x"])
        (found,) = cuda.elementwise(program, [x], flag, [flag], (2,))
        assert cuda.to_host(found).tolist() == [not value, value]
    assert [cpp_emit.constant(value, "bool") for value in (True, False)] == ["true", "false"]
