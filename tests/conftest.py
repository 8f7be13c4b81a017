"""Devices and tolerances shared by all tests.

A test that takes `device` runs on the CPU, on the emulated CUDA device where a compiler and CUDA's headers are found,
and with `-m gpu` on a real GPU.
"""

from __future__ import annotations

import os

import pytest

GPU = os.environ.get("GRADCORE_CUDA") is None and os.environ.get("GRADCORE_TEST_GPU") == "1"
if not GPU:
    # "cuda" is the emulated device in the tests, unless a GPU is asked for.
    os.environ.setdefault("GRADCORE_CUDA", "emulate")

import gradcore as gc  # noqa: E402

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not GPU:
            item.add_marker(pytest.mark.skip(reason="needs a GPU: set GRADCORE_TEST_GPU=1"))


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
