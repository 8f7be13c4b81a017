"""Devices and tolerances shared by all tests.

A test that takes `device` runs on the CPU and on a CUDA device: the emulated one, where a compiler and CUDA's headers
are found, or, under `pytest -m gpu`, a real GPU. That run selects all tests that use a CUDA device.
"""

from __future__ import annotations

import os

# One BLAS thread: the matrices are small, and the tests run in parallel processes. Read when NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402

import gradcore as gc  # noqa: E402

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

# Results are compared with the CPU's, to float32's precision.
gc.backends.cudnn.allow_tf32 = False

# Relative and absolute error allowed, by dtype: some tens of roundings.
TOLERANCE = {
    gc.float16: (4e-3, 4e-3),
    gc.bfloat16: (3e-2, 3e-2),
    gc.float32: (2e-5, 2e-6),
    gc.float64: (1e-10, 1e-12),
}


def cuda_missing() -> str | None:
    """Why "cuda" cannot be used here, or None if it can."""
    try:
        gc.zeros(1, device="cuda")
    except RuntimeError as error:
        return str(error)
    return None


def pytest_configure(config: pytest.Config) -> None:
    if "gpu" not in config.option.markexpr:
        os.environ.setdefault("GRADCORE_CUDA", "emulate")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if parameters.get("device") == "cuda" or "_cuda_reason" in getattr(item, "fixturenames", ()):
            if parameters.get("device") != "cpu":
                item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def _cuda_reason() -> str | None:
    return cuda_missing()


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest, _cuda_reason: str | None) -> str:
    if request.param == "cuda" and _cuda_reason is not None:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    return str(request.param)


@pytest.fixture
def oracle() -> object:
    """PyTorch; the test is skipped without it."""
    if torch is None:
        pytest.skip("PyTorch is not installed: pip install torch")
    return torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    gc.manual_seed(0)
