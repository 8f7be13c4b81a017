"""The stand-ins of NVIDIA's libraries against the real packages, where these are installed; no GPU is needed.

What is compared is what gradcore relies on: the names and the order of parameters, enumerations, the sizes of
attributes. Skipped without the packages: CI has none of them.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import cublaslt_standin
import numpy as np
import pytest

from gradcore.backends.cuda import blas
from gradcore.backends.emulator import cublas


def documented(function: Any) -> list[str]:
    """The names of the parameters of a compiled function, from its documentation's first line."""
    line = next(line for line in function.__doc__.splitlines() if line.strip())
    inside = re.fullmatch(r"\w+\((.*)\)(?: -> .*)?", line.strip())
    assert inside, line
    return [part.split("=")[0].split()[-1] for part in inside[1].split(", ") if part]


def test_cublas_of_cupy():
    pytest.importorskip("cupy")
    import cupy
    from cupy.cuda import cublas as real

    for name in ("gemmEx", "gemmStridedBatchedEx"):
        assert documented(getattr(real, name)) == list(inspect.signature(getattr(cublas, name)).parameters)
    for name in [n for n in vars(cublas) if n.startswith("CUBLAS_")]:
        assert getattr(real, name) == getattr(cublas, name)
    assert {blas._FLOAT32, blas._FLOAT64, blas._TF32} == {
        real.CUBLAS_COMPUTE_32F,
        real.CUBLAS_COMPUTE_64F,
        real.CUBLAS_COMPUTE_32F_FAST_TF32,
    }
    assert callable(cupy.cuda.device.get_cublas_handle)
    for dtype, code in blas.DATA_TYPES.items():
        kind = {"float16": "16F", "float32": "32F", "float64": "64F", "bfloat16": "16BF"}[dtype.name]
        assert getattr(cupy.cuda.runtime, f"CUDA_R_{kind}") == code


def test_cublaslt_of_nvmath():
    real = pytest.importorskip("nvmath.bindings.cublasLt")
    ours = cublaslt_standin
    functions = [n for n, f in vars(ours).items() if inspect.isfunction(f) and f.__module__ == ours.__name__]
    for name in functions:
        if not name.startswith("_") and name != "reset":
            assert documented(getattr(real, name)) == list(inspect.signature(getattr(ours, name)).parameters), name
    for name in ("MatmulDescAttribute", "MatrixLayoutAttribute", "MatmulPreferenceAttribute", "Epilogue"):
        for member in getattr(ours, name):
            assert getattr(real, name)[member.name] == member, f"{name}.{member.name}"
    for kind, of in (
        ("MatmulDescAttribute", "get_matmul_desc_attribute_dtype"),
        ("MatrixLayoutAttribute", "get_matrix_layout_attribute_dtype"),
        ("MatmulPreferenceAttribute", "get_matmul_preference_attribute_dtype"),
    ):
        for member in getattr(ours, kind):
            assert np.dtype(getattr(real, of)(member)) == np.dtype(getattr(ours, of)(member)), member
    assert np.dtype(real.matmul_heuristic_result_dtype) == ours.matmul_heuristic_result_dtype
    found = real.MatmulHeuristicResult(1)
    assert found.ptr and int(np.asarray(found[0]["workspace_size"]).item()) >= 0
