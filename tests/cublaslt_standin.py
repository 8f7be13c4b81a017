"""A stand-in for `nvmath.bindings.cublasLt`, working on the emulated device's memory.

It has the functions that gradcore calls, with the parameters of the real ones (tests/cuda/test_libraries.py compares
them where nvmath-python is installed), takes its arguments by address as they do, and refuses what they refuse.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any

import numpy as np

from gradcore.backends.emulator import cublas
from gradcore.backends.emulator.memory import strided


class MatmulDescAttribute(enum.IntEnum):
    COMPUTE_TYPE = 0
    SCALE_TYPE = 1
    TRANSA = 3
    TRANSB = 4
    EPILOGUE = 7
    BIAS_POINTER = 8


class MatrixLayoutAttribute(enum.IntEnum):
    TYPE = 0
    ROWS = 2
    COLS = 3
    LD = 4
    BATCH_COUNT = 5
    STRIDED_BATCH_OFFSET = 6


class MatmulPreferenceAttribute(enum.IntEnum):
    MAX_WORKSPACE_BYTES = 1
    REDUCTION_SCHEME_MASK = 3
    MIN_ALIGNMENT_A_BYTES = 5
    MIN_ALIGNMENT_B_BYTES = 6
    MIN_ALIGNMENT_C_BYTES = 7
    MIN_ALIGNMENT_D_BYTES = 8


class Epilogue(enum.IntEnum):
    DEFAULT = 1
    BIAS = 4
    BGRADB = 512


matmul_heuristic_result_dtype = np.dtype(
    [
        ("algo", [("data_", "<u8", (8,))]),
        ("workspace_size", "<u8"),
        ("state", "<i4"),
        ("waves_count", "<f4"),
        ("reserved", "<i4", (4,)),
    ]
)


def get_matmul_desc_attribute_dtype(attr: int) -> Any:
    kinds = {MatmulDescAttribute.EPILOGUE: np.uint32, MatmulDescAttribute.BIAS_POINTER: np.int64}
    return kinds.get(MatmulDescAttribute(attr), np.int32)


def get_matrix_layout_attribute_dtype(attr: int) -> Any:
    name = MatrixLayoutAttribute(attr).name
    return {"TYPE": np.uint32, "ROWS": np.uint64, "COLS": np.uint64, "BATCH_COUNT": np.int32}.get(name, np.int64)


def get_matmul_preference_attribute_dtype(attr: int) -> Any:
    return np.uint64 if attr == MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES else np.uint32


class cublasLtError(Exception):  # noqa: N801
    pass


class MatmulHeuristicResult:
    """Memory for results of the heuristic, as the real class: an array of structs with an address."""

    def __init__(self, size: int = 1) -> None:
        self._data = np.zeros(size, matmul_heuristic_result_dtype)

    @property
    def ptr(self) -> int:
        return self._data.ctypes.data

    @property
    def workspace_size(self) -> int:
        return int(self._data["workspace_size"][0])


# Objects by their "addresses": dictionaries of attributes.
objects: dict[int, dict[str, int]] = {}
# What happened: the names of the functions called, and the descriptions of the products computed.
calls: list[str] = []
computed: list[dict[str, Any]] = []
# Workspace that every algorithm asks for, and kinds of epilogues that there is no algorithm for.
workspace = 64
refused: set[int] = set()
_TOKEN = 0xA160


def reset() -> None:
    global workspace
    objects.clear()
    calls.clear()
    computed.clear()
    refused.clear()
    workspace = 64


def _new(**attributes: int) -> int:
    address = 0x1000 + 16 * len(calls)
    assert address not in objects
    objects[address] = attributes
    return address


def _called(name: str) -> None:
    calls.append(name)


def create() -> int:
    _called("create")
    return _new(handle=1)


def destroy(light_handle: int) -> None:
    del objects[light_handle]


def matmul_desc_create(compute_type: int, scale_type: int) -> int:
    _called("matmul_desc_create")
    return _new(COMPUTE_TYPE=compute_type, SCALE_TYPE=scale_type, TRANSA=0, TRANSB=0, EPILOGUE=1, BIAS_POINTER=0)


def matmul_desc_destroy(matmul_desc: int) -> None:
    del objects[matmul_desc]


def matrix_layout_create(type: int, rows: int, cols: int, ld: int) -> int:
    _called("matrix_layout_create")
    return _new(TYPE=type, ROWS=rows, COLS=cols, LD=ld, BATCH_COUNT=1, STRIDED_BATCH_OFFSET=0)


def matrix_layout_destroy(mat_layout: int) -> None:
    del objects[mat_layout]


def matmul_preference_create() -> int:
    _called("matmul_preference_create")
    return _new()


def matmul_preference_destroy(pref: int) -> None:
    del objects[pref]


def _set(target: int, attribute: enum.IntEnum, dtype: Any, buf: int, size: int) -> None:
    if size != np.dtype(dtype).itemsize:
        raise cublasLtError(f"CUBLAS_STATUS_INVALID_VALUE: {attribute.name} has {np.dtype(dtype).itemsize} bytes")
    (value,) = np.frombuffer(ctypes.string_at(buf, size), dtype)
    objects[target][attribute.name] = int(value)


def matmul_desc_set_attribute(matmul_desc: int, attr: int, buf: int, size_in_bytes: int) -> None:
    _set(matmul_desc, MatmulDescAttribute(attr), get_matmul_desc_attribute_dtype(attr), buf, size_in_bytes)


def matrix_layout_set_attribute(mat_layout: int, attr: int, buf: int, size_in_bytes: int) -> None:
    _set(mat_layout, MatrixLayoutAttribute(attr), get_matrix_layout_attribute_dtype(attr), buf, size_in_bytes)


def matmul_preference_set_attribute(pref: int, attr: int, buf: int, size_in_bytes: int) -> None:
    _set(pref, MatmulPreferenceAttribute(attr), get_matmul_preference_attribute_dtype(attr), buf, size_in_bytes)


def matmul_algo_get_heuristic(
    light_handle: int,
    operation_desc: int,
    adesc: int,
    bdesc: int,
    cdesc: int,
    ddesc: int,
    preference: int,
    requested_algo_count: int,
    heuristic_results_array: int,
    return_algo_count: int,
) -> None:
    _called("matmul_algo_get_heuristic")
    assert objects[light_handle] == {"handle": 1}
    if objects[operation_desc]["EPILOGUE"] in refused:
        raise cublasLtError("CUBLAS_STATUS_NOT_SUPPORTED")
    assert objects[preference]["MAX_WORKSPACE_BYTES"] >= workspace
    assert requested_algo_count == 1
    result = np.zeros(1, matmul_heuristic_result_dtype)
    # The algorithm remembers what it is good for.
    alignments = [objects[preference][f"MIN_ALIGNMENT_{x}_BYTES"] for x in "ABD"]
    result["algo"]["data_"][0] = [_TOKEN, operation_desc, adesc, bdesc, ddesc, *alignments]
    result["workspace_size"] = workspace
    ctypes.memmove(heuristic_results_array, result.ctypes.data, result.nbytes)
    ctypes.memmove(return_algo_count, np.ones(1, np.int32).ctypes.data, 4)


def _read(layout: dict[str, int], pointer: int, writable: bool = False) -> np.ndarray:
    return cublas.matrices(
        pointer,
        layout["TYPE"],
        layout["ROWS"],
        layout["COLS"],
        layout["LD"],
        layout["STRIDED_BATCH_OFFSET"],
        layout["BATCH_COUNT"],
        writable,
    )


def matmul(
    light_handle: int,
    compute_desc: int,
    alpha: int,
    a: int,
    adesc: int,
    b: int,
    bdesc: int,
    beta: int,
    c: int,
    cdesc: int,
    d: int,
    ddesc: int,
    algo: int,
    workspace: int,
    workspace_size_in_bytes: int,
    stream: int,
) -> None:
    _called("matmul")
    made = np.frombuffer(ctypes.string_at(algo, 64), np.uint64)
    assert made[:5].tolist() == [_TOKEN, compute_desc, adesc, bdesc, ddesc], "an algorithm for another product"
    for pointer, alignment in zip((a, b, d), made[5:].tolist()):
        assert pointer % alignment == 0, f"{pointer:#x} is not aligned to {alignment} bytes"
    if workspace_size_in_bytes:
        strided(workspace, (workspace_size_in_bytes,), (1,), np.uint8, writable=True)[...] = 255
    assert (c, cdesc) == (d, ddesc)
    of = objects[compute_desc]
    x, y, out = _read(objects[adesc], a), _read(objects[bdesc], b), _read(objects[ddesc], d, writable=True)
    x, y = (x.swapaxes(1, 2) if of["TRANSA"] else x), (y.swapaxes(1, 2) if of["TRANSB"] else y)
    assert x.shape[2] == y.shape[1] and out.shape[1:] == (x.shape[1], y.shape[2])
    found = cublas.multiply(x, y, out, alpha, beta, of["COMPUTE_TYPE"])
    rows, columns = out.shape[1:]
    if of["EPILOGUE"] == Epilogue.BIAS:
        bias = strided(of["BIAS_POINTER"], (rows,), (out.itemsize,), out.dtype)
        found = found + bias[:, None].astype(found.dtype)
    elif of["EPILOGUE"] == Epilogue.BGRADB:
        sums = strided(of["BIAS_POINTER"], (columns,), (out.itemsize,), out.dtype, writable=True)
        sums[...] = y.astype(found.dtype).sum(1).sum(0)
    else:
        assert of["EPILOGUE"] == Epilogue.DEFAULT
    out[...] = found
    computed.append({"stream": stream, "batch": out.shape[0], **of})
