"""cuBLAS (through CuPy) and cuBLASLt (through nvmath-python): the calls that compute what `gemm.py` describes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from ml_dtypes import bfloat16

from ...expr import trace
from .. import precision
from ..base import IDENTITY, Array, Reduction
from ..cpp.types import wide
from . import libraries
from .elementwise import Elementwise
from .gemm import Call, Gemm, Operand, Plan, plan, result_shape
from .reduce import Reduce

# cudaDataType_t and cublasComputeType_t, which both libraries take.
DATA_TYPES = {np.dtype(t): code for t, code in ((np.float32, 0), (np.float64, 1), (np.float16, 2), (bfloat16, 14))}
_FLOAT32, _FLOAT64, _TF32 = 68, 70, 77
# Results are float32's or float64's sums of the products; no sum is rounded to half precision on the way
# (CUBLASLT_REDUCTION_SCHEME_INPLACE and COMPUTE_TYPE, but not OUTPUT_TYPE).
_REDUCTIONS = 1 | 2
# What NVIDIA recommends for Hopper, the most of all architectures.
_WORKSPACE = 32 << 20
# Kinds of products whose algorithms are kept.
_MOST_PREPARED = 4096

_INNER = Reduction(trace(lambda x, y: x * y), "sum")
# 0 and 1 in the type that products are added up in, and their addresses.
_NUMBERS = {dtype: np.arange(2, dtype=wide(dtype)) for dtype in DATA_TYPES}
NUMBERS = {dtype: (pair.ctypes.data, pair.ctypes.data + pair.itemsize) for dtype, pair in _NUMBERS.items()}


def compute_type(dtype: np.dtype) -> int:
    """In which type products are added up: float32 for 16-bit floats."""
    if dtype.itemsize == 8:
        return _FLOAT64
    return _TF32 if dtype.itemsize == 4 and precision.get_float32_matmul_precision() != "highest" else _FLOAT32


class Cublas:
    """cuBLAS by CuPy's bindings, on the current stream."""

    def __init__(self, xp: Any):
        library = xp.cuda.cublas
        self._gemm, self._batched = library.gemmEx, library.gemmStridedBatchedEx
        self._algorithm = library.CUBLAS_GEMM_DEFAULT
        self._handle = xp.cuda.device.get_cublas_handle

    def __call__(self, g: Gemm, dtype: np.dtype, a: int, b: int, d: int, add: bool) -> None:
        """Compute `g` of the matrices at these addresses, or add it to what is there."""
        m, n, k, (transposed_a, *of_a), (transposed_b, *of_b), (_, *of_d), batch = g
        kind, numbers, chosen = DATA_TYPES[dtype], NUMBERS[dtype], (compute_type(dtype), self._algorithm)
        sizes = (self._handle(), transposed_a, transposed_b, m, n, k, numbers[1])
        if batch == 1:
            of_a, of_b, of_d = of_a[:1], of_b[:1], of_d[:1]
            self._gemm(*sizes, a, kind, *of_a, b, kind, *of_b, numbers[add], d, kind, *of_d, *chosen)
        else:
            self._batched(*sizes, a, kind, *of_a, b, kind, *of_b, numbers[add], d, kind, *of_d, batch, *chosen)


class _Prepared(NamedTuple):
    """A product that cuBLASLt has chosen an algorithm for."""

    description: int
    layouts: tuple[int, int, int]
    algorithm: Any  # a MatmulHeuristicResult: the algorithm is what it begins with
    workspace: int
    address: np.ndarray  # of the epilogue's vector
    tell: Callable[[], None]  # puts that address into the description


class CublasLt:
    """cuBLASLt by nvmath-python's bindings, on the current stream; an algorithm is kept for each kind of product."""

    def __init__(self, xp: Any, library: Any):
        self._xp = xp
        self._library = library
        self._handle = library.create()
        self._prepared: dict[Any, _Prepared | None] = {}
        self._lock = Lock()  # the address of a bias is a part of the description

    def __call__(
        self, g: Gemm, dtype: np.dtype, a: int, b: int, d: int, add: bool, epilogue: str = "", vector: int = 0
    ) -> bool:
        """Compute `g` of the matrices at these addresses, or add it to what is there.

        With the epilogue `"BIAS"`, `vector` (m) is added to each column; with `"BGRADB"` it gets the sums of the
        columns of op(B), (n). False if cuBLASLt does not do it; then nothing has been done.
        """
        compute = compute_type(dtype)
        alignments = tuple(min(256, pointer & -pointer) for pointer in (a, b, d))
        key = (g, dtype, compute, add, epilogue, alignments)
        with self._lock:
            try:
                if key not in self._prepared:
                    if len(self._prepared) == _MOST_PREPARED:
                        self._forget()
                    self._prepared[key] = self._prepare(g, dtype, compute, epilogue, vector, alignments)
                ready = self._prepared[key]
                if ready is not None:
                    self._multiply(ready, dtype, a, b, d, add, vector)
            except MemoryError:
                raise
            except Exception as error:
                libraries.fall_back("cuBLASLt refuses a product", f"{epilogue} {g} of {dtype.name}: {error}")
                ready = self._prepared[key] = None
        return ready is not None

    def _multiply(self, ready: _Prepared, dtype: np.dtype, a: int, b: int, d: int, add: bool, vector: int) -> None:
        description, (of_a, of_b, of_d), algorithm, nbytes, address, tell = ready
        if vector:
            address[0] = vector
            tell()
        workspace = self._xp.empty((nbytes,), np.uint8) if nbytes else None
        one, beta = NUMBERS[dtype][1], NUMBERS[dtype][add]
        self._library.matmul(
            self._handle, description, one, a, of_a, b, of_b, beta, d, of_d, d, of_d, algorithm.ptr,
            workspace.data.ptr if workspace is not None else 0, nbytes, self._xp.cuda.get_current_stream().ptr,
        )  # fmt: skip

    def _prepare(
        self, g: Gemm, dtype: np.dtype, compute: int, epilogue: str, vector: int, alignments: tuple[int, ...]
    ) -> _Prepared:
        lt = self._library
        kind, scale = DATA_TYPES[dtype], DATA_TYPES[wide(dtype)]
        description = lt.matmul_desc_create(compute, scale)
        self._describe(description, "TRANSA", int(g.a.transposed))
        self._describe(description, "TRANSB", int(g.b.transposed))
        if epilogue:
            self._describe(description, "EPILOGUE", int(lt.Epilogue[epilogue]))
        attribute = lt.MatmulDescAttribute.BIAS_POINTER
        address = np.array([vector], lt.get_matmul_desc_attribute_dtype(attribute))
        tell = partial(lt.matmul_desc_set_attribute, description, attribute, address.ctypes.data, address.nbytes)
        tell()
        layouts = (
            self._layout(kind, g.m, g.k, g.a, g.batch),
            self._layout(kind, g.k, g.n, g.b, g.batch),
            self._layout(kind, g.m, g.n, g.d, g.batch),
        )
        preference = lt.matmul_preference_create()
        attributes = lt.MatmulPreferenceAttribute
        wanted = {attributes.MAX_WORKSPACE_BYTES: _WORKSPACE, attributes.REDUCTION_SCHEME_MASK: _REDUCTIONS}
        for name, alignment in zip("ABCD", (*alignments, alignments[2])):
            wanted[attributes[f"MIN_ALIGNMENT_{name}_BYTES"]] = alignment
        for attribute, value in wanted.items():
            dtype_of = lt.get_matmul_preference_attribute_dtype
            _set(lt.matmul_preference_set_attribute, preference, attribute, dtype_of(attribute), value)
        found, count = lt.MatmulHeuristicResult(1), np.zeros(1, np.int32)
        try:
            lt.matmul_algo_get_heuristic(
                self._handle, description, *layouts, layouts[2], preference, 1, found.ptr, count.ctypes.data
            )
        finally:
            lt.matmul_preference_destroy(preference)
        if not count[0]:
            raise RuntimeError("there is no algorithm for it")
        workspace = int(found.workspace_size)
        if workspace and epilogue:
            workspace += 16  # as nvmath-python itself does: some epilogues write past what they asked for
        return _Prepared(description, layouts, found, workspace, address, tell)

    def _forget(self) -> None:
        for ready in self._prepared.values():
            if ready is not None:
                self._library.matmul_desc_destroy(ready.description)
                for layout in ready.layouts:
                    self._library.matrix_layout_destroy(layout)
        self._prepared.clear()

    def _describe(self, description: int, name: str, value: int) -> None:
        lt = self._library
        attribute = lt.MatmulDescAttribute[name]
        kind = lt.get_matmul_desc_attribute_dtype(attribute)
        _set(lt.matmul_desc_set_attribute, description, attribute, kind, value)

    def _layout(self, kind: int, rows: int, columns: int, operand: Operand, batch: int) -> int:
        lt = self._library
        if operand.transposed:
            rows, columns = columns, rows
        layout: int = lt.matrix_layout_create(kind, rows, columns, operand.leading)
        if batch > 1:
            attributes = lt.MatrixLayoutAttribute
            for attribute, value in (
                (attributes.BATCH_COUNT, batch),
                (attributes.STRIDED_BATCH_OFFSET, operand.stride),
            ):
                kind = lt.get_matrix_layout_attribute_dtype(attribute)
                _set(lt.matrix_layout_set_attribute, layout, attribute, kind, value)
        return layout


def _set(setter: Any, target: int, attribute: int, dtype: Any, value: int) -> None:
    buffer = np.array([value], dtype)
    setter(target, attribute, buffer.ctypes.data, buffer.nbytes)


class Products:
    """Matrix products of one device's floating point arrays, without copies of transposed operands."""

    def __init__(self, xp: Any, elementwise: Elementwise, reduce: Reduce):
        self._xp = xp
        self._elementwise = elementwise
        self._reduce = reduce
        self._cublas: Cublas | None = None
        self._lt: CublasLt | None = None
        self._asked = False

    def matmul(self, a: Array, b: Array) -> Array:
        """See `Backend.matmul`; both operands have one dtype of `DATA_TYPES`."""
        if a.ndim == b.ndim == 1:
            return self._reduce(_INNER, (a, b), a.dtype, a.dtype, a.shape, (0,))[0]
        out = self._product(a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None])
        if a.ndim == 1:
            return out[..., 0, :]
        return out[..., 0] if b.ndim == 1 else out

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """See `Backend.linear`."""
        if x.ndim == 1:
            return self.linear(x[None], weight, bias)[0]
        return self._product(x, weight.T, bias)

    def weight_gradient(self, grad: Array, x: Array) -> tuple[Array, Array] | None:
        """`grad.T @ x` for matrices, and the sums of grad's columns, by one kernel, or None if there is none."""
        lt, shape = self.lt, (grad.shape[1], x.shape[1])
        if not (lt and grad.size and x.size):
            return None
        a, b, (_, (call,), _) = self._readable(grad.T, x)
        out, sums = self._xp.empty(shape, x.dtype), self._xp.empty(shape[:1], x.dtype)
        done = lt(call.gemm, x.dtype, *_addresses(call, a, b, out), False, "BGRADB", sums.data.ptr)
        return (out, sums) if done else None

    @property
    def lt(self) -> CublasLt | None:
        """cuBLASLt, if it is installed, works and is wanted."""
        if libraries.preferred_blas_library() == "cublas":
            return None
        if not self._asked:
            self._asked = True
            library = libraries.cublaslt()
            try:
                self._lt = CublasLt(self._xp, library) if library else None
            except Exception as error:
                libraries.fall_back("cuBLASLt cannot be used", error)
        return self._lt

    def _product(self, x: Array, y: Array, bias: Array | None = None) -> Array:
        """`x @ y`, and `bias` (columns of y) added to each row; no operand has fewer than two dimensions."""
        dtype = x.dtype
        if not (x.size and y.size):
            return self._filled(bias, result_shape(x.shape, y.shape), dtype)
        x, y, (shape, calls, _) = self._readable(x, y)
        lt = self.lt
        if lt and bias is not None and bias.shape == shape[-1:] and bias.flags.c_contiguous and _aligned(bias):
            out = self._xp.empty(shape, dtype)
            if all(lt(c.gemm, dtype, *_addresses(c, x, y, out), False, "BIAS", bias.data.ptr) for c in calls):
                return out
        # The product is added to the bias before it is rounded, as by the epilogue.
        out = self._xp.empty(shape, dtype) if bias is None else self._filled(bias, shape, dtype)
        for call in calls:
            arguments = (call.gemm, dtype, *_addresses(call, x, y, out), bias is not None)
            if not (lt and lt(*arguments)):
                self._cublas = self._cublas or Cublas(self._xp)
                self._cublas(*arguments)
        return out

    def _filled(self, bias: Array | None, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        return self._xp.zeros(shape, dtype) if bias is None else self._whole(bias, shape)

    def _whole(self, x: Array, shape: tuple[int, ...]) -> Array:
        """A contiguous copy of an array that broadcasts to `shape`."""
        return self._elementwise(IDENTITY, (x,), x.dtype, (x.dtype,), shape)[0]

    def _readable(self, x: Array, y: Array) -> tuple[Array, Array, Plan]:
        """The operands, copied if a library cannot read them as they lie, and how they are multiplied."""
        made = plan(x.shape, x.strides, y.shape, y.strides, x.itemsize)
        if made.calls:
            return x, y, made
        x, y = (o if shape is None else self._whole(o, shape) for o, shape in zip((x, y), made.copies))
        return self._readable(x, y)


def _aligned(vector: Array) -> bool:
    return not vector.data.ptr % 16  # cuBLASLt is told of the matrices' alignment, and not of this


def _addresses(call: Call, x: Array, y: Array, out: Array) -> tuple[int, int, int]:
    """Of the library's operands, the first of which is `y`."""
    size = out.itemsize
    return y.data.ptr + call.a * size, x.data.ptr + call.b * size, out.data.ptr + call.d * size
