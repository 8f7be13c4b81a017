"""The CUDA device under test, real or emulated, and the compilation of every kernel by NVRTC.

Whatever is compiled for the emulated device in a session is compiled by NVRTC too, on the spot: a kernel that a real
GPU would refuse fails the test that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import nvrtc
import pytest

from gradcore.backends.cpu import CpuBackend
from gradcore.backends.cuda import CudaBackend, backend_for, compiler, driver
from gradcore.devices import device

if nvrtc.available():

    def _compile_for_real(source: str, options: tuple[str, ...], names: tuple[str, ...]) -> None:
        if driver.emulated():  # a GPU has its own compiler say no
            nvrtc.verify(source, options)

    compiler.on_compile.append(_compile_for_real)

# Relative and absolute error by dtype: some tens of roundings.
_TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-12}


@pytest.fixture(scope="session")
def cuda(_cuda_reason: str | None) -> CudaBackend:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    return backend_for(device("cuda"))


@pytest.fixture(scope="session")
def cpu() -> CpuBackend:
    return CpuBackend()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def random_array(rng: np.random.Generator) -> Callable[..., np.ndarray]:
    """Makes an array of a dtype, given by name, with values of about the size of `scale`."""

    def make(shape: tuple[int, ...], dtype: str = "float32", scale: float = 2.0) -> np.ndarray:
        return np.asarray(rng.standard_normal(shape) * scale).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))

    return make


@pytest.fixture
def same(cuda: CudaBackend) -> Callable[..., None]:
    """Asserts that a device array equals a host array: dtype, shape, and values up to the dtype's tolerance."""

    def check(found: Any, expected: np.ndarray, factor: float = 1.0) -> None:
        host = cuda.to_host(found)
        assert isinstance(found, cuda.array_type)
        assert host.dtype == expected.dtype
        assert host.shape == expected.shape
        assert found.flags.c_contiguous
        tolerance = factor * _TOLERANCE.get(host.dtype.name, 0.0)
        wide = host.dtype if host.dtype.kind in "iub" else np.dtype(np.float64)
        np.testing.assert_allclose(host.astype(wide), expected.astype(wide), rtol=tolerance, atol=tolerance)

    return check


@pytest.fixture
def checked() -> Iterator[None]:
    """Runs a test with every access checked, and threads in reverse order, where the device is emulated."""
    if not driver.emulated():
        yield
        return
    from gradcore.backends.emulator.config import using

    with using(mode="check", order="reverse"):
        yield


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """The sources compiled during the test."""
    sources: list[str] = []

    def note(source: str, options: tuple[str, ...], names: tuple[str, ...]) -> None:
        sources.append(source)

    compiler.on_compile.append(note)
    yield sources
    compiler.on_compile.remove(note)
