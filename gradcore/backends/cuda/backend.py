"""`CudaBackend`: the interface of a device, by fused kernels on CuPy arrays or on the emulated device's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import numpy as np

from ...devices import device as Device
from ...expr import Program, trace
from .. import convolution
from ..attention import AttentionInputs
from ..base import IDENTITY, Array, Backend, Number, Reduction
from ..cpp.types import wide
from ..ctc import CtcInputs
from ..recurrence import Step
from ..sliding import Sliding, Windows
from . import driver
from .attention import Attention
from .blas import DATA_TYPES, Products
from .compiler import Compiler
from .convolution import Unfold
from .ctc import Ctc
from .cudnn import Cudnn
from .elementwise import Elementwise
from .errors import ErrorWord
from .indexing import Segments
from .multi_tensor import MultiTensor
from .norms import Norms
from .pooling import Pool
from .random import Random
from .recurrence import Cells
from .reduce import Reduce
from .rows import Rows

_MOMENTS = Reduction(
    IDENTITY,
    "moments",
    trace(lambda mean, squares, n, eps: (mean, squares / n, (squares / n + eps) ** -0.5)),
)


class CudaBackend(Backend):
    """One CUDA device. Its methods expect the device to be the current one; see `OneOfSeveral`."""

    columns = 1 << 27

    def __init__(self, index: int):
        self.index = index
        self.device = Device("cuda", index)
        self.xp = driver.library()
        self.array_type = self.xp.ndarray
        self.compiler = compiler = Compiler(self.xp)
        self.errors = ErrorWord(self.xp, compiler)
        self._elementwise = Elementwise(self.xp, compiler)
        self._reduce = Reduce(self.xp, compiler, self._elementwise)
        self._products = Products(self.xp, self._elementwise, self._reduce)
        self._segments = Segments(self.xp, compiler, self._elementwise)
        self._rows = Rows(self.xp, compiler, self.errors)
        self._ctc = Ctc(self.xp, compiler)
        self._norms = Norms(self.xp, compiler, self._reduce)
        self._multi_tensor = MultiTensor(self.xp, compiler)
        self._cudnn = Cudnn(self.xp)
        self._unfold = Unfold(self.xp, compiler)
        self._pool = Pool(self.xp, compiler)
        self._attention = Attention(self.xp, compiler, self._reduce)
        self._cells = Cells(compiler)
        self._random = Random(self._elementwise)

    # -- transfers
    def from_host(self, array: np.ndarray) -> Array:
        return self.xp.array(array)

    def to_host(self, array: Array) -> np.ndarray:
        host: np.ndarray = array.get()
        self.errors.raise_pending()
        return host

    def to_dlpack(self, array: Array, stream: int | None, max_version: tuple[int, int] | None) -> Any:
        return array.__dlpack__(stream=stream, max_version=max_version)

    def from_dlpack(self, given: Any) -> Array:
        return self.xp.from_dlpack(given)

    def synchronize(self) -> None:
        self.xp.cuda.Device(self.index).synchronize()
        self.errors.raise_pending()

    def astype(self, array: Array, dtype: np.dtype) -> Array:
        # Whatever is not exact in the array's own type is not exact in the other either.
        return self._elementwise(IDENTITY, (array,), array.dtype, (dtype,), array.shape)[0]

    def copy(self, array: Array) -> Array:
        return array.copy() if array.flags.c_contiguous else self.astype(array, array.dtype)

    # -- fused kernels
    def elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        return self._elementwise(program, inputs, compute, out_dtypes, shape)

    def reduce(
        self,
        reduction: Reduction,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        keepdims: bool,
        parameters: dict[str, Number] | None = None,
    ) -> Array:
        return self._reduce(reduction, inputs, compute, out_dtype, shape, axes, keepdims, parameters)[0]

    def sums(
        self,
        map: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
    ) -> list[Array]:
        return self._reduce(Reduction(map, "sum"), inputs, compute, out_dtype, shape, axes)

    def arg_reduce(self, x: Array, axis: int, which: str) -> tuple[Array, Array]:
        return self._reduce.arg_reduce(x, axis, which)

    # -- linear algebra
    def matmul(self, a: Array, b: Array) -> Array:
        return self._products.matmul(a, b) if a.dtype in DATA_TYPES else self.xp.matmul(a, b)

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if x.dtype in DATA_TYPES:
            return self._products.linear(x, weight, bias)
        out = self.matmul(x, weight.T)
        return (
            out
            if bias is None
            else self._elementwise(convolution.ADD, (out, bias), out.dtype, (out.dtype,), out.shape)[0]
        )

    def linear_backward(
        self, grad: Array, x: Array, weight: Array, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if all(needs[1:]) and len(needs) > 2:
            both = self._products.weight_gradient(grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1]))
            if both is not None:
                return self.matmul(grad, weight) if needs[0] else None, *both
        return super().linear_backward(grad, x, weight, needs)

    def raising_linalg(self) -> AbstractContextManager[None]:
        return driver.raising_linalg()

    # -- rows
    def softmax(self, x: Array, log: bool, out_dtype: np.dtype) -> Array:
        return self._rows.softmax(x, log, out_dtype)

    def softmax_backward(self, grad: Array, result: Array, log: bool, out_dtype: np.dtype) -> Array:
        return self._rows.softmax_backward(grad, result, log, out_dtype)

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array]:
        return self._rows.cross_entropy(logits, target, weight, ignore_index, label_smoothing)

    def cross_entropy_backward(
        self,
        grad: Array,
        logits: Array,
        target: Array,
        weight: Array | None,
        lse: Array,
        ignore_index: int,
        label_smoothing: float,
    ) -> Array:
        return self._rows.cross_entropy_backward(grad, logits, target, weight, lse, ignore_index, label_smoothing)

    def ctc_loss(self, inputs: CtcInputs) -> tuple[Array, Array]:
        return self._ctc.loss(inputs)

    def ctc_loss_backward(
        self, grad: Array, inputs: CtcInputs, losses: Array, alpha: Array, zero_infinity: bool
    ) -> Array:
        return self._ctc.backward(grad, inputs, losses, alpha, zero_infinity)

    def layer_norm(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        out_dtype: np.dtype,
        centered: bool = True,
    ) -> tuple[Array, Array | None, Array]:
        return self._norms.layer_norm(x, weight, bias, eps, out_dtype, centered)

    def layer_norm_backward(
        self,
        grad: Array,
        x: Array,
        mean: Array | None,
        rstd: Array,
        weight: Array | None,
        needs: tuple[bool, ...],
    ) -> tuple[Array | None, Array | None, Array | None]:
        return self._norms.layer_norm_backward(grad, x, mean, rstd, weight, needs)

    def channel_moments(self, x: Array, eps: float) -> tuple[Array, Array, Array]:
        work = wide(x.dtype)
        mean, variance, rstd = self._reduce(_MOMENTS, (x,), work, work, x.shape, (0, 2), parameters={"eps": eps})
        return mean, variance, rstd

    # -- convolution
    def unfold(self, x: Array, sliding: Sliding, out: tuple[int, ...]) -> Array:
        return self._unfold.unfold(x, sliding, out)

    def fold(self, columns: Array, sliding: Sliding, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
        return self._unfold.fold(columns, sliding, shape, out)

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, sliding: Sliding, out: tuple[int, ...], groups: int
    ) -> Array:
        found = self._cudnn.convolution(x, weight, sliding, out)
        if found is None:
            return super().convolution(x, weight, bias, sliding, out, groups)
        return self._with_bias(found, bias)

    def convolution_input(
        self, grad: Array, weight: Array, bias: Array | None, sliding: Sliding, size: tuple[int, ...], groups: int
    ) -> Array:
        found = self._cudnn.convolution_input(grad, weight, sliding, size, groups)
        if found is None:
            return super().convolution_input(grad, weight, bias, sliding, size, groups)
        return self._with_bias(found, bias)

    def convolution_weight(self, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array:
        found = self._cudnn.convolution_weight(grad, x, sliding, groups)
        return super().convolution_weight(grad, x, sliding, groups) if found is None else found

    def _with_bias(self, x: Array, bias: Array | None) -> Array:
        return x if bias is None else convolution.plus_bias(self, x, bias)

    # -- recurrence
    def cell(self, step: Step, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        self._cells(step, inputs, outs, size)

    # -- pooling
    def mean_pool(self, x: Array, windows: tuple[Windows, ...]) -> Array:
        return self._pool.mean_pool(x, windows)

    def mean_pool_backward(self, grad: Array, windows: tuple[Windows, ...]) -> Array:
        return self._pool.mean_pool_backward(grad, windows)

    def max_pool(self, x: Array, windows: tuple[Windows, ...]) -> tuple[Array, Array]:
        return self._pool.max_pool(x, windows)

    def max_pool_backward(self, grad: Array, places: Array, windows: tuple[Windows, ...]) -> Array:
        return self._pool.max_pool_backward(grad, places, windows)

    # -- attention
    attention_drops = True

    def attention_width(self, dtype: np.dtype) -> int:
        return self._attention.width(dtype)

    def attention(self, inputs: AttentionInputs) -> tuple[Array, Array]:
        return self._cudnn.attention(inputs) or self._attention.forward(inputs)

    def attention_backward(
        self, grad: Array, inputs: AttentionInputs, out: Array, lse: Array
    ) -> tuple[Array, Array, Array]:
        found = self._cudnn.attention_backward(grad, inputs, out, lse)
        return found or self._attention.backward(grad, inputs, out, lse)

    # -- indexing
    def check_index(self, op: str, index: Array, size: int, dim: int, negative: bool = True) -> None:
        self.errors.check(op, index, size, dim, -size if negative else 0)
        if driver.emulated():
            # Launches there are done when they return, and indexing itself would raise next.
            self.errors.raise_pending()

    def index_add(self, target: Array, key: Any, values: Array) -> None:
        self._segments.add(target, key, values)

    def scatter(self, target: Array, index: Array, values: Array, axis: int, combine: str) -> None:
        if combine == "unique":
            target[self._along(target, index, axis)] = values
        else:
            self._segments.along(target, index, values, axis, combine)

    # -- random numbers
    def uniform(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        return self._random.uniform(shape, dtype, seed, offset)

    def normal(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        return self._random.normal(shape, dtype, seed, offset)

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        return self._random.integers(low, high, shape, dtype, seed, offset)

    def permutation(self, n: int, dtype: np.dtype, seed: int, offset: int) -> Array:
        return self.from_host(self._random.permutation(n, seed, offset).astype(dtype))

    # -- optimizers
    def multi_tensor(
        self, name: str, program: Program, columns: Sequence[Sequence[Array]], numbers: Sequence[Number | Array]
    ) -> None:
        self._multi_tensor.update(name, program, columns, numbers)

    def multi_tensor_flagged(
        self,
        name: str,
        program: Program,
        columns: Sequence[Sequence[Array]],
        numbers: Sequence[Number | Array],
        flag: Program,
        found: Array,
    ) -> None:
        self._multi_tensor.update(name, program, columns, numbers, (flag, found))

    def multi_tensor_reduce(self, name: str, map: Program, combine: str, arrays: Sequence[Array]) -> Array:
        partials = self._multi_tensor.reduce(name, map, combine, arrays)
        if not partials:
            return super().multi_tensor_reduce(name, map, combine, arrays)
        found = partials[0] if len(partials) == 1 else self.xp.concatenate(partials)
        dtype = found.dtype
        return self.reduce(Reduction(IDENTITY, combine), [found], dtype, dtype, found.shape, (0,), False)


def _on_own_device(method: Any) -> Any:
    @wraps(method)
    def call(self: CudaBackend, *args: Any, **kwargs: Any) -> Any:
        if driver.current_device() == self.index:
            return method(self, *args, **kwargs)
        with self.xp.cuda.Device(self.index):
            return method(self, *args, **kwargs)

    return call


class OneOfSeveral(CudaBackend):
    """A device among several: each method makes it the current one, as launches and allocations go to that."""


for _name, _method in vars(Backend).items():
    if callable(_method) and not _name.startswith("_"):
        setattr(OneOfSeveral, _name, _on_own_device(getattr(CudaBackend, _name)))
