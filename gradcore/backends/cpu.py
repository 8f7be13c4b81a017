"""The CPU: NumPy arrays, ufuncs and BLAS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ..devices import device as Device
from ..expr import Program
from ..expr.numpy_emit import compile_numpy
from .base import Array, Backend, Number, Reduction

_HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_F32 = np.dtype(np.float32)
_WIDER = dict.fromkeys(_HALF, _F32)
_INT64 = np.dtype(np.int64)
_NONE: frozenset[str] = frozenset()

_COMBINE: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}
_SUMS = (np.add, np.multiply)


def _wide(dtype: np.dtype) -> np.dtype:
    """The dtype to accumulate in."""
    return _WIDER.get(dtype, dtype)


class CpuBackend(Backend):
    """NumPy on the host."""

    device = Device("cpu")
    xp = np
    array_type = np.ndarray

    def from_host(self, array: np.ndarray) -> Array:
        return np.array(array)

    def to_host(self, array: Array) -> np.ndarray:
        return array

    def synchronize(self) -> None:
        pass

    def full(self, shape: tuple[int, ...], value: Number, dtype: np.dtype) -> Array:
        out = np.empty(shape, dtype)  # np.full does the same in twice the time
        out.fill(value)
        return out

    def broadcast(self, array: Array, shape: tuple[int, ...]) -> Array:
        if array.size == 1:  # the gradient of a full reduction; ten times faster than np.broadcast_to
            return np.ndarray(shape, array.dtype, array, 0, (0,) * len(shape))
        out = np.broadcast_to(array, shape)
        out.flags.writeable = array.flags.writeable  # parts that repeat nothing may be changed in place
        return out

    # -- fused kernels
    def elementwise(
        self,
        program: Program,
        inputs: Sequence[Array | Number],
        compute: np.dtype,
        out_dtypes: Sequence[np.dtype],
        shape: tuple[int, ...],
    ) -> list[Array]:
        results = self._evaluate(program, inputs, compute, shape)
        outs = []
        for value, dtype in zip(results, out_dtypes):
            if value.__class__ is not np.ndarray or value.dtype is not dtype:
                value = np.asarray(value, dtype)
            if value.shape != shape:
                value = np.broadcast_to(value, shape).copy()
            elif program.operations < len(results) and any(value is i for i in inputs):
                value = value.copy()  # an output that is an input
            outs.append(value)
        return outs

    def _evaluate(
        self, program: Program, inputs: Sequence[Array | Number], compute: np.dtype, shape: tuple[int, ...]
    ) -> tuple[Any, ...]:
        # Half precision is rounded once, at the end, not after every operator.
        work = _wide(compute)
        scalars: list[str] | None = None
        values = list(inputs)
        for position, value in enumerate(inputs):
            if value.__class__ is not np.ndarray:
                scalars = scalars or []
                scalars.append(program.inputs[position])
            elif value.dtype is not work and (value.dtype.kind != "b" or program.promotes(program.inputs[position])):
                values[position] = value.astype(work)
        function = compile_numpy(program, frozenset(scalars) if scalars else _NONE)
        if work.kind in "iu":
            try:
                with np.errstate(divide="raise"):
                    result = function(*values)
            except FloatingPointError:
                raise ZeroDivisionError("ZeroDivisionError: integer division or modulo by zero") from None
        else:
            result = function(*values, shape) if program.random else function(*values)
        return result if result.__class__ is tuple else (result,)

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
        ufunc: Any = _COMBINE[reduction.combine]
        wide = _wide(compute)
        mapped: Any = inputs[0]
        if reduction.map.operations:
            mapped = np.asarray(self._evaluate(reduction.map, inputs, wide, shape)[0])
            if mapped.shape != shape:
                mapped = np.broadcast_to(mapped, shape)
        acc = ufunc.reduce(mapped, axes, wide if ufunc in _SUMS else None, None, keepdims)
        if reduction.finish is not None:
            count = 1
            for axis in axes:
                count *= shape[axis]
            values = {"acc": acc, "count": count, **(parameters or {})}
            names = reduction.finish.inputs
            acc = compile_numpy(reduction.finish, frozenset(names) - {"acc"})(*(values[n] for n in names))
        if acc.__class__ is np.ndarray and acc.dtype is out_dtype:
            return acc
        return np.asarray(acc, out_dtype)

    def arg_reduce(self, x: Array, axis: int, which: str) -> tuple[Array, Array]:
        index = (np.argmax if which == "max" else np.argmin)(x, axis=axis, keepdims=True)
        values = np.take_along_axis(x, index, axis)
        return np.asarray(np.squeeze(values, axis)), np.asarray(np.squeeze(index, axis), _INT64)

    # -- linear algebra
    def matmul(self, a: Array, b: Array) -> Array:
        if a.dtype in _WIDER:
            return np.asarray(np.matmul(a.astype(_F32), b.astype(_F32)), a.dtype)
        return np.asarray(np.matmul(a, b))

    def column_sum(self, x: Array) -> Array:
        return np.add.reduce(x, 0, _wide(x.dtype)).astype(x.dtype, copy=False)

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if x.dtype in _WIDER:
            out = np.matmul(x.astype(_F32), weight.astype(_F32).T)
            return (out if bias is None else out + bias.astype(_F32)).astype(x.dtype)
        out = np.matmul(x, weight.T)
        if bias is not None:
            out += bias
        return out

    # -- rows
    def softmax(self, x: Array, log: bool, out_dtype: np.dtype) -> Array:
        x = x.astype(_wide(x.dtype), copy=False)
        if x.size == 0:
            return x.astype(out_dtype)
        shifted = x - x.max(axis=1, keepdims=True)
        if log:
            shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        else:
            np.exp(shifted, out=shifted)
            shifted /= shifted.sum(axis=1, keepdims=True)
        return shifted.astype(out_dtype, copy=False)

    def softmax_backward(self, grad: Array, result: Array, log: bool, out_dtype: np.dtype) -> Array:
        wide = _wide(result.dtype)
        grad, result = grad.astype(wide, copy=False), result.astype(wide, copy=False)
        if log:
            out = grad - np.exp(result) * grad.sum(axis=1, keepdims=True)
        else:
            out = result * (grad - (grad * result).sum(axis=1, keepdims=True))
        return out.astype(out_dtype, copy=False)

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array | None]:
        wide = _wide(logits.dtype)
        x = logits.astype(wide, copy=False)
        rows, classes = x.shape
        keep, safe = _targets(target, classes, ignore_index)
        top = np.maximum.reduce(x, 1) if classes else np.zeros(rows, wide)
        shifted = x - top[:, None]
        lse = np.log(np.add.reduce(np.exp(shifted, shifted), 1)) + top
        loss = lse - x[np.arange(rows), safe]
        if keep is None and weight is None and not label_smoothing:
            return loss.astype(logits.dtype, copy=False), lse, None
        full = np.ones(classes, wide) if weight is None else weight.astype(wide, copy=False)
        w = full[safe]
        if keep is not None:
            w = np.where(keep, w, 0)
        loss *= w
        if label_smoothing:
            # Every row's loss is a weighted sum over classes c of q[c] * (lse - x[c]).
            smooth = (lse * full.sum() - x @ full) / classes
            loss = (1 - label_smoothing) * loss + label_smoothing * smooth
        if keep is not None:
            loss = np.where(keep, loss, 0)
        return loss.astype(logits.dtype, copy=False), lse, w

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
        wide = _wide(logits.dtype)
        rows, classes = logits.shape
        keep, safe = _targets(target, classes, ignore_index)
        out = logits.astype(wide, copy=False) - lse[:, None]
        np.exp(out, out)
        index = np.arange(rows)
        w = None if weight is None else weight.astype(wide, copy=False)
        if label_smoothing:
            # The gradient of sum(q * (lse - x)) is sum(q) * softmax(x) - q.
            q = np.full((rows, classes), label_smoothing / classes, wide)
            if w is not None:
                q *= w
            q[index, safe] += (1 - label_smoothing) * (1 if w is None else w[safe])
            out *= q.sum(axis=1, keepdims=True)
            out -= q
        else:
            out[index, safe] -= 1
            if w is not None:
                out *= w[safe][:, None]
        g = grad.astype(wide, copy=False)
        out *= (g if keep is None else np.where(keep, g, 0))[:, None]
        return out.astype(logits.dtype, copy=False)

    # -- indexing
    def check_index(self, op: str, index: Array, size: int, dim: int) -> None:
        if index.size and (index.min() < -size or index.max() >= size):
            bad = index[(index < -size) | (index >= size)].flat[0]
            raise IndexError(f"{op}(): index {bad} is out of bounds for dimension {dim} with size {size}")

    def index_add(self, target: Array, key: Any, values: Array) -> None:
        np.add.at(target, key, values)

    # -- random numbers
    @staticmethod
    def _generator(seed: int, offset: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=seed & (2**64 - 1), counter=[0, offset, 0, 0]))

    def uniform(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        draw: Any = np.float64 if dtype == np.float64 else np.float32
        values = self._generator(seed, offset).random(shape, draw)
        if dtype in _WIDER:  # so few bits that rounding to 16 never makes a 1 of them
            steps = 2.0 ** (ml_dtypes.finfo(dtype).nmant + 1)
            values = np.floor(values * steps) / steps
        return np.asarray(values, dtype)

    def normal(self, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        draw: Any = np.float64 if dtype == np.float64 else np.float32
        return np.asarray(self._generator(seed, offset).standard_normal(shape, draw), dtype)

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype, seed: int, offset: int) -> Array:
        return np.asarray(self._generator(seed, offset).integers(low, high, shape, np.int64), dtype)

    def permutation(self, n: int, dtype: np.dtype, seed: int, offset: int) -> Array:
        return self._generator(seed, offset).permutation(n).astype(dtype)

    # -- optimizers
    def sgd_step(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        momenta: Sequence[Array] | None,
        *,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        maximize: bool,
        first: bool,
    ) -> None:
        columns = [params, grads] if momenta is None else [params, momenta, grads]
        for p, *rest in _stretches(columns):
            g = rest.pop()
            if maximize:
                g = -g
            if weight_decay:
                g = g + weight_decay * p
            if rest:
                (buffer,) = rest
                if first:
                    buffer[...] = g
                else:
                    buffer *= momentum
                    buffer += (1 - dampening) * g if dampening else g
                g = g + momentum * buffer if nesterov else buffer
            p -= lr * g

    def adam_step(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        exp_avgs: Sequence[Array],
        exp_avg_sqs: Sequence[Array],
        max_exp_avg_sqs: Sequence[Array] | None,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
        step: int,
    ) -> None:
        root = (1 - beta2**step) ** 0.5
        step_size = lr / (1 - beta1**step) * root
        columns = [params, exp_avgs, exp_avg_sqs, grads]
        if max_exp_avg_sqs is not None:
            columns.insert(3, max_exp_avg_sqs)
        for p, m, v, *rest in _stretches(columns):
            g = rest.pop()
            if maximize:
                g = -g
            if weight_decay:
                if decoupled:
                    p *= 1 - lr * weight_decay
                else:
                    g = g + weight_decay * p
            t = np.asarray(g - m)
            t *= 1 - beta1
            m += t
            np.multiply(g, g, out=t)
            t *= 1 - beta2
            v *= beta2
            v += t
            if rest:
                (largest,) = rest
                np.maximum(largest, v, out=largest)
                v = largest
            # lr / (1 - beta1^step) * m / (sqrt(v) / root + eps), with one operation fewer
            np.sqrt(v, out=t)
            t += eps * root
            np.divide(m, t, out=t)
            t *= step_size
            p -= t


# Elements: what an update touches stays in the cache from one ufunc to the next.
_STRETCH = 1 << 16


def _stretches(columns: Sequence[Sequence[Array]]) -> Iterator[Sequence[Array]]:
    """The arrays that belong together, one of each column, in stretches that fit into the cache.

    All but the last may be written to. Half precision comes as float32, and is rounded once when written back.
    """
    for arrays in zip(*columns):
        size = arrays[0].size
        if size <= _STRETCH or not all(a.flags.c_contiguous for a in arrays):
            pieces: Iterable[Sequence[Array]] = (arrays,)
        else:
            flat = [a.reshape(-1) for a in arrays]
            pieces = ([a[i : i + _STRETCH] for a in flat] for i in range(0, size, _STRETCH))
        if arrays[0].dtype not in _HALF:
            yield from pieces
            continue
        for piece in pieces:
            wide = [a.astype(_F32) for a in piece]
            yield wide
            for narrow, updated in zip(piece[:-1], wide):
                narrow[...] = updated


def _targets(target: Array, classes: int, ignore_index: int) -> tuple[Array | None, Array]:
    """The rows that count (None: all of them), and targets with the ignored ones replaced by 0."""
    # As unsigned numbers negative targets are large: one pass finds both kinds that are out of range.
    if not (0 <= ignore_index < classes) and (target.size == 0 or np.maximum.reduce(target.view(np.uint64)) < classes):
        return None, target
    keep = target != ignore_index
    safe = np.where(keep, target, 0)
    bad = safe[(safe < 0) | (safe >= classes)]
    if bad.size:
        raise IndexError(f"cross_entropy(): Target {bad[0]} is out of bounds (the input has {classes} classes)")
    return keep, safe
