"""What a device must be able to do; the rest of gradcore is written against this class alone.

An array here is what the device's array library uses (`numpy.ndarray`, `cupy.ndarray`): no wrapper. Shape work that
moves no data (reshape, transpose, basic indexing) is done by the arrays' own methods and `Backend.xp`; everything that
computes goes through the methods below, which a device implements by NumPy calls or by fused kernels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..devices import device as Device
from ..expr import Program, trace
from . import convolution, recurrence
from .attention import AttentionInputs
from .cpp.types import wide
from .ctc import CtcInputs
from .recurrence import Direction, Layer, Slopes, Step
from .reduction import IDENTITY, Reduction, each_sum
from .sliding import Sliding, Windows

Array = Any
Number = bool | int | float


class BadIndex(IndexError, RuntimeError):
    """An index is out of range. (Of functions where PyTorch raises RuntimeError scripts may expect that.)"""


_INT64 = np.dtype(np.int64)
_SUM = Reduction(IDENTITY, "sum")
_MEAN = Reduction(IDENTITY, "sum", trace(lambda acc, count: acc / count))
_VARIANCE = Reduction(trace(lambda x, mean: (x - mean) * (x - mean)), "sum", trace(lambda acc, count: acc / count))
_RSTD = trace(lambda variance, eps: (variance + eps) ** -0.5)
_CHANNEL_SUMS = trace(lambda g, x, mean, rstd: (g, g * ((x - mean) * rstd)))
_QUOTIENT = trace(lambda a, b: a / b)


class Memory(ABC):
    """The arrays of one device: made, moved, converted, copied. Nothing here computes.

    dtypes are NumPy dtypes throughout (bfloat16 is `ml_dtypes.bfloat16`). Arrays returned are new and own their memory,
    unless a method says otherwise; a zero-dimensional result is an array, never a scalar. Kernels return C-contiguous
    arrays; the CPU may keep the layout of its operands, as NumPy does.
    """

    device: Device
    xp: Any  # numpy, cupy, or the emulated device's namespace
    # Elements of the columns that a convolution has in memory at a time.
    columns: int
    array_type: type

    @abstractmethod
    def from_host(self, array: np.ndarray) -> Array:
        """A copy of a NumPy array on this device."""

    @abstractmethod
    def to_host(self, array: Array) -> np.ndarray:
        """The array as NumPy: a copy from another device, the array itself on the CPU. Waits for pending work."""

    @abstractmethod
    def to_dlpack(self, array: Array, stream: int | None, max_version: tuple[int, int] | None) -> Any:
        """A DLPack capsule that lends the array's memory, for use on `stream`."""

    @abstractmethod
    def from_dlpack(self, given: Any) -> Array:
        """An array in the memory of this device that a capsule, or an array of another library, lends."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work given to the device is done, and raise what it reported."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        return self.xp.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Number, dtype: np.dtype) -> Array:
        return self.xp.full(shape, value, dtype)

    def astype(self, array: Array, dtype: np.dtype) -> Array:
        """A converted copy."""
        return array.astype(dtype)

    def copy(self, array: Array) -> Array:
        """A C-contiguous copy."""
        return array.copy()

    def broadcast(self, array: Array, shape: tuple[int, ...]) -> Array:
        """A view of `array` in a shape that it broadcasts to. Nothing is to be written where elements repeat."""
        return self.xp.broadcast_to(array, shape)


class Backend(Memory):
    """One device: its arrays, kernels, matrix products and random numbers.

    What computes is a method of this class, so that an op's kernels can be told from its code (`gradcore.ops.work`).
    """

    # -- fused kernels
    @abstractmethod
    def elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        """Evaluate `program` for every element of the broadcast `shape`; one array for each output.

        `inputs`, in the order of `program.inputs`, are arrays that broadcast to `shape` or Python numbers. Values are
        computed in `compute` (in float32 for float16 and bfloat16); bool arrays stay bool.
        """

    @abstractmethod
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
        """`reduction` over the (sorted, non-negative) `axes` of the broadcast `shape` of the inputs.

        Sums of float16 and bfloat16 accumulate in float32. An empty reduction yields the neutral element.
        """

    def sums(
        self,
        map: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
    ) -> list[Array]:
        """The sums of each output of `map` over `axes`, as `reduce` makes one: in one pass where the device can."""
        return [
            self.reduce(reduction, [inputs[i] for i in at], compute, out_dtype, shape, axes, False)
            for reduction, at in each_sum(map)
        ]

    @abstractmethod
    def arg_reduce(self, x: Array, axis: int, which: str) -> tuple[Array, Array]:
        """Along `axis` (removed): the extreme values and the int64 positions of the first of them.

        `which` is `"max"` or `"min"`; NaN counts as the extreme.
        """

    # -- linear algebra
    @abstractmethod
    def matmul(self, a: Array, b: Array) -> Array:
        """`a @ b` with NumPy's rules; transposed operands are not copied where the library allows it."""

    @abstractmethod
    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """`x @ weight.T + bias` for x (..., k), weight (n, k), bias (n,)."""

    def linear_backward(
        self, grad: Array, x: Array, weight: Array, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of `linear`'s x, weight and bias, where `needs` says so; x and grad have any leading shape."""
        rows = grad if grad.ndim == 2 else grad.reshape(-1, weight.shape[0])
        flat = x if x.ndim == 2 else x.reshape(-1, weight.shape[1])
        return (
            self.matmul(grad, weight) if needs[0] else None,
            self.matmul(rows.T, flat) if needs[1] else None,
            self.column_sum(rows) if len(needs) > 2 and needs[2] else None,
        )

    def column_sum(self, x: Array) -> Array:
        """The sums of the columns of a matrix."""
        return self.reduce(_SUM, (x,), x.dtype, x.dtype, x.shape, (0,), False)

    def cumsum(self, x: Array, axis: int, out_dtype: np.dtype, reverse: bool) -> Array:
        """The sums along `axis` of the elements up to each one or, if `reverse`, from each one on."""
        order = (slice(None),) * axis + (slice(None, None, -1 if reverse else 1),)
        total = self.xp.cumsum(x[order], axis, wide(out_dtype))[order]
        return total if total.dtype == out_dtype else self.astype(total, out_dtype)

    def raising_linalg(self) -> AbstractContextManager[None]:
        """Where `xp.linalg` raises `numpy.linalg.LinAlgError` if a matrix has no such result."""
        return nullcontext()

    # -- rows: x is C-contiguous (rows, columns)
    @abstractmethod
    def softmax(self, x: Array, log: bool, out_dtype: np.dtype) -> Array:
        """Softmax or log-softmax of each row, with the row's maximum subtracted first."""

    @abstractmethod
    def softmax_backward(self, grad: Array, result: Array, log: bool, out_dtype: np.dtype) -> Array:
        """The gradient of the row's input from the gradient and the value of its result."""

    @abstractmethod
    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array | None]:
        """Cross-entropy of each row of `logits` (rows, classes) with class indices `target` (rows,) int64.

        Returns the losses (rows,), the rows' log-sum-exp (rows,) float32 (float64 for float64), and the rows' weights
        (rows,) in the same dtype, by which the losses are multiplied: `weight[target]`, or 1, and 0 where the target is
        `ignore_index`; None stands for all ones. A target out of range raises IndexError.
        """

    @abstractmethod
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
        """The gradient of `logits` from the gradient (rows,) of the losses."""

    def cross_entropy_loss(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        reduction: str,
        ignore_index: int,
        label_smoothing: float,
    ) -> tuple[Array, Array, Array]:
        """`cross_entropy` with the losses of the rows reduced: `"none"`, `"sum"` or `"mean"`.

        Returns the loss, the rows' log-sum-exp, and the sum of the rows' weights, by which a mean divides.
        """
        losses, lse, weights = self.cross_entropy(logits, target, weight, ignore_index, label_smoothing)
        if weights is None:
            total = self.full((), losses.size, lse.dtype)
        else:
            total = self.reduce(_SUM, (weights,), lse.dtype, lse.dtype, weights.shape, (0,), False)
        if reduction == "none":
            return losses, lse, total
        loss = self.reduce(_SUM, (losses,), losses.dtype, losses.dtype, losses.shape, (0,), False)
        return (self._divide(loss, total) if reduction == "mean" else loss), lse, total

    def cross_entropy_loss_backward(
        self,
        grad: Array,
        logits: Array,
        target: Array,
        weight: Array | None,
        lse: Array,
        total: Array | None,
        ignore_index: int,
        label_smoothing: float,
    ) -> Array:
        """The gradient of `logits` from that of the reduced loss, or (rows,) of the losses; `total` if it is a mean."""
        if total is not None:
            grad = self._divide(grad, total)
        if grad.ndim == 0:
            grad = self.broadcast(grad, logits.shape[:1])
        return self.cross_entropy_backward(grad, logits, target, weight, lse, ignore_index, label_smoothing)

    def _divide(self, a: Array, b: Array) -> Array:
        return self.elementwise(_QUOTIENT, (a, b), b.dtype, (a.dtype,), a.shape)[0]

    # -- connectionist temporal classification
    @abstractmethod
    def ctc_loss(self, inputs: CtcInputs) -> tuple[Array, Array]:
        """The negative logarithms (batch,) of the probabilities of the label sequences, summed over all alignments.

        Returns them and the forward variables alpha (time, batch, 2 * longest + 1), which the backward pass wants: the
        log-probability of all beginnings of alignments that are, at that time, at that place of the labels with blanks
        before, between and after them.
        """

    @abstractmethod
    def ctc_loss_backward(
        self, grad: Array, inputs: CtcInputs, losses: Array, alpha: Array, zero_infinity: bool
    ) -> Array:
        """The gradient of the scores that the log-probabilities are the log-softmax of, from that (batch,) of losses.

        It is NaN where a loss is infinite, or 0 if `zero_infinity`, and 0 after the end of an input.
        """

    @abstractmethod
    def layer_norm(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        out_dtype: np.dtype,
        centered: bool = True,
    ) -> tuple[Array, Array | None, Array]:
        """`(x - mean) * rstd * weight + bias` of each row, with `rstd = 1 / sqrt(mean((x - mean)^2) + eps)`.

        `weight` and `bias` are (columns,). Returns the result, and the rows' mean and rstd (rows,) in float32 (float64
        for float64). If not `centered`, the mean counts as 0, and None is returned for it: RMS norm.
        """

    @abstractmethod
    def layer_norm_backward(
        self,
        grad: Array,
        x: Array,
        mean: Array | None,
        rstd: Array,
        weight: Array | None,
        needs: tuple[bool, ...],
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of `layer_norm`'s x, weight and bias, where `needs` says so.

        `mean` is None for RMS norm. The gradients of weight and bias have weight's dtype, or x's without weight.
        """

    # -- channels: x is (outer, channels, inner), C-contiguous
    def channel_moments(self, x: Array, eps: float) -> tuple[Array, Array, Array]:
        """Of each channel the mean, the (biased) variance and `(variance + eps) ** -0.5`.

        They are (channels,), in float32 (float64 for float64).
        """
        work, axes = wide(x.dtype), (0, 2)
        mean = self.reduce(_MEAN, (x,), work, work, x.shape, axes, False)
        variance = self.reduce(_VARIANCE, (x, mean[:, None]), work, work, x.shape, axes, False)
        return mean, variance, self.elementwise(_RSTD, (variance, eps), work, (work,), variance.shape)[0]

    def channel_sums(self, grad: Array, x: Array, mean: Array, rstd: Array) -> Sequence[Array]:
        """The sums of `grad` and of `grad * (x - mean) * rstd` over outer and inner, in the dtype of `mean`.

        `grad` and `x` are (outer, statistics, channels of each, inner), `mean` and `rstd` (statistics,), and the sums
        (statistics, channels of each).
        """
        operands = (grad, x, mean.reshape(-1, 1, 1), rstd.reshape(-1, 1, 1))
        return self.sums(_CHANNEL_SUMS, operands, mean.dtype, mean.dtype, grad.shape, (0, 3))

    # -- pooling: x is (planes, *size), C-contiguous, with as many dimensions of `size` as there are `windows`
    @abstractmethod
    def mean_pool(self, x: Array, windows: tuple[Windows, ...]) -> Array:
        """The sum of each window divided by its count; integers are divided towards zero."""

    @abstractmethod
    def mean_pool_backward(self, grad: Array, windows: tuple[Windows, ...]) -> Array:
        """The gradient of `mean_pool`'s x."""

    @abstractmethod
    def max_pool(self, x: Array, windows: tuple[Windows, ...]) -> tuple[Array, Array]:
        """The largest element of each window and its int64 place in the plane: the first of several, the last NaN."""

    @abstractmethod
    def max_pool_backward(self, grad: Array, places: Array, windows: tuple[Windows, ...]) -> Array:
        """The gradient of `max_pool`'s x from the places that it gave."""

    # -- attention
    attention_drops = False  # whether `attention` takes dropout

    def attention_width(self, dtype: np.dtype) -> int:
        """The longest queries, keys and values that `attention` takes."""
        return 1 << 30

    @abstractmethod
    def attention(self, inputs: AttentionInputs) -> tuple[Array, Array]:
        """`softmax(query @ key.T * scale) @ value` (heads, n, v), and the log-sum-exp of each row (heads, n) in the
        dtype computed in.

        A query without any key gets 0, and infinity as its log-sum-exp. No array of n * m elements is made.
        """

    @abstractmethod
    def attention_backward(
        self, grad: Array, inputs: AttentionInputs, out: Array, lse: Array
    ) -> tuple[Array, Array, Array]:
        """The gradients of query, key and value from that of `out`, C-contiguous; `attention` gave `out` and `lse`."""

    # -- convolution: x is (images, channels, *size), C-contiguous
    @abstractmethod
    def unfold(self, x: Array, sliding: Sliding, out: tuple[int, ...]) -> Array:
        """What the kernel meets at each place of the output: (channels * kernel, images * places), "im2col"."""

    @abstractmethod
    def fold(self, columns: Array, sliding: Sliding, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
        """The transpose of `unfold`: each element of an array of `shape` gets the sum of what was made of it."""

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, sliding: Sliding, out: tuple[int, ...], groups: int
    ) -> Array:
        """The products of `weight` (channels out, channels in / groups, *kernel) with what it meets, and `bias`."""
        return convolution.forward(self, x, weight, bias, sliding, out, groups)

    def convolution_input(
        self, grad: Array, weight: Array, bias: Array | None, sliding: Sliding, size: tuple[int, ...], groups: int
    ) -> Array:
        """The gradient of `convolution`'s x, of spatial `size`; with a bias added, it is a transposed convolution."""
        return convolution.input_gradient(self, grad, weight, bias, sliding, size, groups)

    def convolution_weight(self, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array:
        """The gradient of `convolution`'s weight."""
        return convolution.weight_gradient(self, grad, x, sliding, groups)

    # -- recurrence: all arrays C-contiguous
    @abstractmethod
    def cell(self, step: Step, inputs: Sequence[Array], outs: Sequence[Array], size: int) -> None:
        """Evaluate a step for every element of (rows, size). What is written may also be read."""

    def unroll(self, direction: Direction, gates: Array, made: Layer) -> None:
        """Fill `made`, step by step, from what the steps take of the input (steps, rows, gates * size)."""
        recurrence.unroll(self, direction, gates, made)

    def unroll_backward(self, direction: Direction, grad: Array, made: Layer, slopes: Slopes) -> None:
        """Fill `slopes`, from the gradient of `made.out`.

        `slopes.h` and `slopes.c` hold the gradients of the last states before; of a cell without a cell state what is
        left in `slopes.c` belongs to the first hidden state, too.
        """
        recurrence.unroll_backward(self, direction, grad, made, slopes)

    # -- indexing
    @abstractmethod
    def check_index(self, op: str, index: Array, size: int, dim: int, negative: bool = True) -> None:
        """Raise BadIndex (at the latest when the device next synchronises) unless -size <= index < size.

        Unless `negative`, indices below 0 are out of bounds, too.
        """

    @abstractmethod
    def index_add(self, target: Array, key: Any, values: Array) -> None:
        """`target[key] += values`, adding once for every time an element is named."""

    def take(self, x: Array, index: Array, axis: int) -> Array:
        """The slices of `x` along `axis` that `index`, of any shape, names: its dimensions take the place of `axis`."""
        return self.xp.take(x, index, axis)

    def gather(self, x: Array, index: Array, axis: int) -> Array:
        """`x` at the places that `index` names along `axis`; otherwise both have one shape."""
        return self.xp.take_along_axis(x, index, axis)

    @abstractmethod
    def scatter(self, target: Array, index: Array, values: Array, axis: int, combine: str) -> None:
        """Combine `values` with the places of `target` that `index`, of the same shape, names along `axis`.

        `combine` is `"sum"`, `"prod"`, `"max"` or `"min"`, the latter two propagating NaN, `"last"`: of several values
        for one place the last takes it, or `"unique"`: no place is named twice, and its value is replaced.
        """

    def _along(self, target: Array, index: Array, axis: int) -> tuple[Array, ...]:
        """The key of the places of `target` that `index` names along `axis`."""
        grid = [self.xp.arange(n).reshape((n,) + (1,) * (index.ndim - d - 1)) for d, n in enumerate(index.shape)]
        grid[axis] = index
        return tuple(grid)

    # -- order
    def sort(self, x: Array, axis: int, descending: bool) -> tuple[Array, Array]:
        """The elements along `axis` in order, equal ones as they were, NaN as the largest; and their places (int64)."""
        keys = self._sortable(x)
        # What is last in the reversed order comes first, and of equal elements the first does.
        backwards = tuple([slice(None, None, -1 if descending and d == axis else 1) for d in range(x.ndim)])
        index = self.xp.argsort(keys[backwards], axis, kind="stable")[backwards].astype(_INT64, copy=False)
        if descending:
            index = x.shape[axis] - 1 - index
        return self.gather(x, index, axis), index

    def topk(self, x: Array, k: int, axis: int, largest: bool) -> tuple[Array, Array]:
        """The first `k` of `sort`'s results."""
        part = (slice(None),) * axis + (slice(k),)
        values, index = self.sort(x, axis, largest)
        return self.xp.ascontiguousarray(values[part]), self.xp.ascontiguousarray(index[part])

    def _sortable(self, x: Array) -> Array:
        """`x` as a dtype that the library sorts: 16-bit floats as float32, which is exact."""
        return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x

    # -- random numbers: the same seed and offset give the same numbers
    @abstractmethod
    def uniform(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        """Uniform numbers in [0, 1)."""

    @abstractmethod
    def normal(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        """Standard normal numbers."""

    @abstractmethod
    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        """Uniform integers in [low, high)."""

    @abstractmethod
    def permutation(self, n: int, dtype: np.dtype, seed: int, offset: int) -> Array:
        """The numbers 0 to n-1 in random order."""

    # -- optimizers
    @abstractmethod
    def multi_tensor(
        self, name: str, program: Program, columns: Sequence[Sequence[Array]], numbers: Sequence[Number | Array]
    ) -> None:
        """Update many arrays in place, in one launch for each combination of dtypes.

        Each of `columns` lists an array for every parameter; arrays in one place have one size. `program` has the
        columns as its first inputs, then `numbers`, which may be zero-dimensional arrays; its outputs are the new
        values of all columns but the second, which is only read. `name` is what profilers see. 16-bit floats are
        computed in float32.
        """

    def multi_tensor_flagged(
        self,
        name: str,
        program: Program,
        columns: Sequence[Sequence[Array]],
        numbers: Sequence[Number | Array],
        flag: Program,
        found: Array,
    ) -> None:
        """`multi_tensor`, after which `found`, a zero-dimensional float32 array, is 1 if `flag` of any element of the
        first column, as it was before, is not 0."""
        if any(x.size for x in columns[0]):
            found[...] = self.xp.maximum(found, self.multi_tensor_reduce(name, flag, "max", columns[0]))
        self.multi_tensor(name, program, columns, numbers)

    def multi_tensor_reduce(self, name: str, map: Program, combine: str, arrays: Sequence[Array]) -> Array:
        """All elements of many floating point arrays, mapped, combined into one number: a zero-dimensional array of the
        dtype that they are accumulated in, float32 for 16-bit floats. `combine` is `"sum"`, `"max"` or `"min"`; NaN
        goes through all.
        """
        dtype = max((wide(x.dtype) for x in arrays), key=lambda d: d.itemsize)
        filled = [x for x in arrays if x.size]
        parts = self.empty((len(filled),), dtype)
        for i, x in enumerate(filled):
            axes = tuple(range(x.ndim))
            parts[i] = self.reduce(Reduction(map, combine), [x], wide(x.dtype), dtype, x.shape, axes, False)
        return self.reduce(Reduction(IDENTITY, combine), [parts], dtype, dtype, parts.shape, (0,), False)
