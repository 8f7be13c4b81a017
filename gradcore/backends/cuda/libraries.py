"""NVIDIA's libraries that are used where they are installed: cuBLASLt (nvmath-python) and cuDNN (its frontend).

Neither is needed. What a library does not take, or fails at, is computed the other way; a failure is told once.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from typing import Any

from . import driver

_BLAS = ("default", "cublas", "cublaslt")
_blas = "default"
_told: set[str] = set()


def preferred_blas_library(backend: str | None = None) -> str:
    """The library for matrix products on a GPU; with an argument, choose it.

    `"default"` and `"cublaslt"` are cuBLASLt where nvmath-python is installed, and cuBLAS otherwise; `"cublas"` is
    cuBLAS in any case.

    Raises:
        RuntimeError: if there is no library of that name.
    """
    global _blas
    if backend is not None:
        if backend not in _BLAS:
            raise RuntimeError(f"Unknown input value. Choose from: {', '.join(_BLAS)}. Got {backend!r}")
        _blas = backend
    return _blas


def fall_back(what: str, error: BaseException | str) -> None:
    """Say, once for each `what`, that a library fails and something else does its work."""
    if what not in _told:
        _told.add(what)
        reason = " ".join(str(error).split())  # the libraries' own logs may be in it
        warnings.warn(f"{what}: {reason[:400]}; gradcore goes on without it", stacklevel=2)


@cache
def _load(name: str) -> Any:
    """A module, or None if it is not installed; one that is but does not load is told."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    except Exception as error:
        fall_back(f"{name} does not load", error)
        return None


def cublaslt() -> Any:
    """`nvmath.bindings.cublasLt`, or None."""
    return None if driver.emulated() else _load("nvmath.bindings.cublasLt")


def cudnn() -> Any:
    """The module `cudnn` of nvidia-cudnn-frontend, or None."""
    return None if driver.emulated() else _load("cudnn")
