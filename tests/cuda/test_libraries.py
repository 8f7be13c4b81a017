"""The stand-ins of NVIDIA's libraries against the real packages, where these are installed; no GPU is needed.

What is compared is what gradcore relies on: the names and the order of parameters, enumerations, the sizes of
attributes. Skipped without the packages: CI has none of them.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import cublaslt_standin
import cudnn_standin
import numpy as np
import pytest

from gradcore.backends.cuda import blas, cudnn
from gradcore.backends.emulator import cublas


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        pytest.skip(f"could not import {name}: {error}")


def documented(function: Any) -> list[str]:
    """The names of the parameters of a compiled function, from its documentation's first line."""
    line = next(line for line in function.__doc__.splitlines() if line.strip())
    inside = re.fullmatch(r"\w+\((.*)\)(?: -> .*)?", line.strip())
    assert inside, line
    return [part.split("=")[0].split()[-1] for part in inside[1].split(", ") if part]


def test_cublas_of_cupy():
    installed("cupy")
    import cupy
    from cupy.cuda import cublas as real

    for name, parameters in cublas.PARAMETERS.items():
        assert documented(getattr(real, name)) == parameters
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
    real = installed("nvmath.bindings.cublasLt")
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
    assert type(found.ptr) is int and type(found.workspace_size) is int


def test_cudnn_of_the_frontend():
    real, ours = installed("cudnn"), cudnn_standin
    backend_graph = getattr(real._pybind_module, "backend_graph", real.pygraph)
    for name in ("conv_fprop", "conv_dgrad", "conv_wgrad", "sdpa", "sdpa_backward", "tensor", "__init__"):
        used = set(inspect.signature(getattr(ours.pygraph, name)).parameters) - {"self"}
        function = getattr(backend_graph, name)
        known = set(re.findall(r"(\w+)(?: \([^)]*\))?: ", function.__doc__ or ""))
        known |= set(inspect.signature(function).parameters) if inspect.isfunction(function) else set()
        assert used <= known, f"{name}: {used - known}"
    for name in (
        "validate",
        "build_operation_graph",
        "create_execution_plans",
        "deselect_numeric_notes",
        "check_support",
    ):
        assert callable(getattr(real.pygraph, name))
    for name in ("build_plans", "get_workspace_size", "execute"):
        assert callable(getattr(real.pygraph, name))
    assert list(inspect.signature(real.pygraph.execute).parameters)[2:4] == ["workspace", "handle"]
    for kind in ("data_type", "heur_mode", "numerical_note"):
        for member in getattr(ours, kind):
            assert hasattr(getattr(real, kind), member.name), f"{kind}.{member.name}"
    if inspect.isfunction(real.set_stream):
        assert list(inspect.signature(real.set_stream).parameters) == ["handle", "stream"]
    else:
        assert re.findall(r"(\w+): ", real.set_stream.__doc__) == ["handle", "stream"]
    assert callable(real.create_handle) and callable(real.backend_version)


@pytest.mark.parametrize("operation", ["conv_fprop", "conv_dgrad", "conv_wgrad", "sdpa", "sdpa_backward"])
def test_the_frontend_takes_the_graphs(operation):
    """The operation is described to the real frontend; what follows needs a GPU."""
    real = installed("cudnn")
    half, single = np.dtype(np.float16), np.dtype(np.float32)
    image, weight, loss = np.zeros((2, 4, 6, 6), half), np.zeros((3, 4, 3, 3), half), np.zeros((2, 3, 4, 4), half)
    q, v, stats = np.zeros((1, 2, 5, 8), half), np.zeros((1, 2, 5, 16), half), np.zeros((1, 2, 5, 1), single)
    geometry = {"pre_padding": [0, 0], "post_padding": [0, 0], "stride": [1, 1], "dilation": [1, 1]}
    shape = {"attn_scale": 0.5, "use_causal_mask": True}
    inputs, outputs, attributes = {
        "conv_fprop": ({"image": image, "weight": weight}, [loss], geometry),
        "conv_dgrad": ({"loss": loss, "filter": weight}, [image], geometry),
        "conv_wgrad": ({"image": image, "loss": loss}, [weight], geometry),
        "sdpa": ({"q": q, "k": q, "v": v}, [v, stats], {**shape, "is_inference": False}),
        "sdpa_backward": (
            {"q": q, "k": q, "v": v, "o": v, "dO": v, "stats": stats},
            [q, q, v],
            {**shape, "use_deterministic_algorithm": True},
        ),
    }[operation]
    compute = real.data_type.FLOAT
    graph = real.pygraph(intermediate_data_type=compute, compute_data_type=compute)
    cudnn.describe(real, graph, operation, inputs, outputs, attributes)
    if not hasattr(graph, "find_tensor"):  # the oldest frontends cannot be asked
        return
    for uid, x in enumerate((*inputs.values(), *outputs), 1):
        tensor = graph.find_tensor(uid)
        assert tuple(tensor.get_dim()) == x.shape
        assert [s * x.itemsize for s in tensor.get_stride()] == list(x.strides)  # NumPy's, of new arrays
