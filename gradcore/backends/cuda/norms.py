"""Layer norm and RMS norm (kernels/layer_norm.cu and kernels/layer_norm_backward.cu)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...expr import trace
from ..base import IDENTITY, Array, Reduction
from ..cpp import sources
from ..cpp.types import computed, scalar, wide
from .compiler import Compiler
from .emission import prologue
from .reduce import Reduce
from .rows import BLOCK, LARGEST_BLOCK, STREAMING_BLOCK, geometry, held, power_of_two, row_width

# Elements of a row that a thread of the backward kernel holds: it has as many of x and dy, and their sums.
_PER_THREAD = 8
# Rows in turn, and the next one's reads begin while this one is added up: two blocks on a multiprocessor, or more.
_BACKWARD_BLOCK = 512
# Blocks whose partial sums are added up in the end: enough to fill a device, few enough to cost little. A constant,
# not the device's size: it decides the order of summation.
_MOST_PARTIALS = 256

_BY_COLUMN = Reduction(IDENTITY, "sum")
_BY_COLUMN_OF_NORMAL = {
    True: Reduction(trace(lambda grad, x, mean, rstd: grad * ((x - mean) * rstd)), "sum"),
    False: Reduction(trace(lambda grad, x, rstd: grad * (x * rstd)), "sum"),
}


class Norms:
    """Runs the kernels that normalize contiguous (rows, columns) arrays of one device."""

    def __init__(self, xp: Any, compiler: Compiler, reduce: Reduce):
        self._empty, self._zeros = xp.empty, xp.zeros
        self._compiler = compiler
        self._reduce = reduce
        self._kernels: dict[Any, tuple[Any, ...]] = {}

    def layer_norm(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        out_dtype: np.dtype,
        centered: bool = True,
        longest: int | None = None,
    ) -> tuple[Array, Array | None, Array]:
        """See `Backend.layer_norm`; rows of more than `longest` elements are read twice."""
        rows, columns = x.shape
        compute = wide(x.dtype)
        y, rstd = self._empty(x.shape, out_dtype), self._empty((rows,), compute)
        mean = self._empty((rows,), compute) if centered else None
        if not y.size:
            return y, mean, rstd
        given = [p for p in (weight, bias) if p is not None]
        types = {"X": x.dtype, "W": given[0].dtype if given else x.dtype, "Y": out_dtype}
        width = row_width(columns, (x, y, *given))
        most = 32 if width > 1 else 24  # sm_120 spills with more single elements
        threads, per_thread = held(columns, width, most // 2 if compute.itemsize == 8 else most)
        fits = columns <= (threads * per_thread if longest is None else longest)
        if not fits:
            threads = STREAMING_BLOCK
        flags = {"CENTERED": centered, "WEIGHTED": weight is not None, "BIASED": bias is not None}
        names = ("layer_norm", "layer_norm_long")
        kernels = self._built("layer_norm.cu", names, types, compute, flags, width, per_thread, max(BLOCK, threads))
        grid, block = geometry(rows, threads)
        number = scalar(computed(compute))
        sizes = (np.int64(rows), np.int32(columns))
        kernels[0 if fits else 1](grid, block, (x, weight, bias, y, mean, rstd, number(eps), *sizes))
        return y, mean, rstd

    def layer_norm_backward(
        self,
        grad: Array,
        x: Array,
        mean: Array | None,
        rstd: Array,
        weight: Array | None,
        needs: tuple[bool, ...],
        longest: int | None = None,
    ) -> tuple[Array | None, Array | None, Array | None]:
        """See `Backend.layer_norm_backward`; rows of more than `longest` elements are read more than once."""
        rows, columns = x.shape
        compute = wide(x.dtype)
        kept = x.dtype if weight is None else weight.dtype
        if not x.size:
            dweight, dbias = (self._zeros((columns,), kept) if need else None for need in needs[1:])
            return self._empty(x.shape, x.dtype) if needs[0] else None, dweight, dbias
        if not needs[0]:
            return None, *self._by_columns(grad, x, mean, rstd, kept, needs[1:])
        dx = self._empty(x.shape, x.dtype)
        width = row_width(columns, (grad, x, dx, *(() if weight is None else (weight,))))
        # Single elements need more registers: a predicate and an address each. Doubles need twice as many all over.
        per_thread = _PER_THREAD if width > 1 else _PER_THREAD // 4 * 3
        per_thread = per_thread // 4 if compute.itemsize == 8 else per_thread
        threads = max(8, power_of_two(-(-columns // per_thread)))
        fits = columns <= (LARGEST_BLOCK * per_thread if longest is None else longest)
        if not fits:
            threads = STREAMING_BLOCK
        size = max(_BACKWARD_BLOCK, threads)
        together = size // threads
        wanted = needs[1:] if fits else (False, False)
        types = {"DY": grad.dtype, "X": x.dtype, "W": kept}
        flags = {
            "CENTERED": mean is not None,
            "WEIGHTED": weight is not None,
            "TO_WEIGHT": wanted[0],
            "TO_BIAS": wanted[1],
        }
        names = ("layer_norm_backward", "layer_norm_backward_long", "layer_norm_parameters")
        kernels = self._built("layer_norm_backward.cu", names, types, compute, flags, width, per_thread, size)
        blocks, block = -(-rows // together), (threads, together)
        sizes = (np.int64(rows), np.int32(columns))
        if not fits:
            kernels[1]((blocks,), block, (grad, x, mean, rstd, weight, dx, *sizes))
            return dx, *self._by_columns(grad, x, mean, rstd, kept, needs[1:])
        if not any(wanted):
            kernels[0]((blocks,), block, (grad, x, mean, rstd, weight, dx, None, *sizes))
            return dx, None, None
        blocks = min(blocks, _MOST_PARTIALS)
        partials = self._empty((sum(wanted), blocks, columns), compute)
        kernels[0]((blocks,), block, (grad, x, mean, rstd, weight, dx, partials, *sizes))
        dweight, dbias = (self._empty((columns,), kept) if need else None for need in wanted)
        outs = [d for d in (dweight, dbias) if d is not None]
        args = (partials, outs[0], outs[-1], np.int32(blocks), np.int32(columns))
        kernels[2]((-(-columns // 32), len(outs)), (32, min(32, power_of_two(blocks))), args)
        return dx, dweight, dbias

    def _by_columns(
        self, grad: Array, x: Array, mean: Array | None, rstd: Array, dtype: np.dtype, needs: Sequence[bool]
    ) -> tuple[Array | None, Array | None]:
        """The gradients of weight and bias, each by a pass of its own."""
        compute, rows = wide(x.dtype), (x.shape[0], 1)
        means = [] if mean is None else [mean.reshape(*rows)]
        inputs = (grad, x, *means, rstd.reshape(*rows))
        found = []
        for need, reduction, values in zip(
            needs, (_BY_COLUMN_OF_NORMAL[mean is not None], _BY_COLUMN), (inputs, (grad,)), strict=True
        ):
            found.append(self._reduce(reduction, values, compute, dtype, x.shape, (0,))[0] if need else None)
        return found[0], found[1]

    def _built(
        self,
        file: str,
        names: tuple[str, ...],
        types: dict[str, np.dtype],
        compute: np.dtype,
        flags: dict[str, bool],
        width: int,
        per_thread: int,
        block: int,
    ) -> tuple[Any, ...]:
        key = (file, *types.values(), *flags.values(), width, per_thread, block)
        kernels = self._kernels.get(key)
        if kernels is None:
            settings = prologue(types, compute, VEC=width, PER_THREAD=per_thread, BLOCK=block, **flags)
            subject = f"{names[0]} of {', '.join(d.name for d in types.values())}"
            text = settings + sources.read(file)
            kernels = self._kernels[key] = self._compiler.kernels(text, names, subject)
        return kernels
