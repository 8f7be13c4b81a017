"""gradcore.cuda.emulator: users' own kernels, on NumPy arrays too."""

import re
from pathlib import Path

import numpy as np
import pytest

from gradcore.cuda import emulator

CODE = """
extern "C" __global__ void axpy(float a, const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}
extern "C" __global__ void shift(float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n - 1) y[i] = y[i + 1];
}"""


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_numpy_arrays_are_used_in_place(mode):
    x, y = np.arange(10, dtype=np.float32), np.ones(10, np.float32)
    with emulator.using(mode=mode):
        emulator.RawKernel(CODE, "axpy")((1,), (32,), (np.float32(2), x, y, np.int32(10)))
    np.testing.assert_array_equal(y, 2 * x + 1)


def test_device_arrays():
    x, y = emulator.asarray(np.arange(10, dtype=np.float32)), emulator.empty(10, np.float32)
    y[...] = 0
    kernel = emulator.RawModule(code=CODE).get_function("axpy")
    kernel((1,), (32,), (np.float32(2), x, y, np.int32(10)))
    np.testing.assert_array_equal(emulator.asnumpy(y), 2 * np.arange(10))


def test_out_of_bounds_of_a_numpy_array():
    x, y = np.zeros(10, np.float32), np.zeros(12, np.float32)
    kernel = emulator.RawModule(code=CODE).get_function("axpy")
    with (
        emulator.using(mode="check"),
        pytest.raises(emulator.KernelError, match="past the end of argument 1, which has 40"),
    ):
        kernel((1,), (32,), (np.float32(2), x, y, np.int32(12)))


def test_a_race_is_found():
    with emulator.using(mode="check"), pytest.raises(emulator.KernelError, match="data race .* on argument 0"):
        emulator.RawKernel(CODE, "shift")((1,), (64,), (np.arange(64, dtype=np.float32), np.int32(64)))


def test_read_only_arrays_are_not_written():
    y = np.zeros(10, np.float32)
    y.flags.writeable = False
    with (
        emulator.using(mode="check"),
        pytest.raises(emulator.KernelError, match="write to argument 2, which is read-only"),
    ):
        emulator.RawKernel(CODE, "axpy")((1,), (32,), (np.float32(2), np.zeros(10, np.float32), y, np.int32(10)))


def test_strided_arrays_have_their_own_bounds():
    base = np.zeros(20, np.float32)
    with emulator.using(mode="check"):
        emulator.RawKernel(CODE, "shift")((1,), (1,), (base[::2], np.int32(2)))
        with pytest.raises(emulator.KernelError, match="out-of-bounds"):
            emulator.RawKernel(CODE, "shift")((1,), (1,), (base[19::-2][-1:], np.int32(2)))


def test_the_examples_of_the_documentation(capsys):
    page = Path(__file__).parents[2] / "docs" / "emulator.md"
    blocks = re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", page.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    namespace = {}
    for code, output in blocks:
        exec(code, namespace)
        assert capsys.readouterr().out == output


def test_a_missing_compiler_is_named(monkeypatch):
    from gradcore.backends import hostcc

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    hostcc.find_compiler.cache_clear()
    try:
        with pytest.raises(hostcc.HostCompilerError, match="no GCC compiler .* apt install g"):
            hostcc.find_compiler("c++", "gcc")
    finally:
        hostcc.find_compiler.cache_clear()
