"""Attention: kernels/attention.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...expr import trace
from ..attention import AttentionInputs
from ..base import Array, Reduction
from ..cpp import sources
from ..cpp.types import FLOAT32, FLOAT64, wide
from .compiler import Compiler
from .emission import prologue
from .layout import struct
from .reduce import Reduce

_NAMES = ("attention", "attention_backward_queries", "attention_backward_keys")
_LANES = 4
_COLS = 16
_WIDTHS = (32, 64, 128)
_INNER = Reduction(trace(lambda grad, out: grad * out), "sum")
# The kernels' struct Settings: seed and offset, the mask's strides, the numbers computed with, sizes.
_SETTINGS = {
    compute: np.dtype(
        [("random", "u8", 2), ("strides", "i8", 3), ("numbers", compute, 2), ("sizes", "i4", 5)], align=True
    )
    for compute in (FLOAT32, FLOAT64)
}


class Attention:
    """Runs attention on contiguous heads of one device."""

    def __init__(self, xp: Any, compiler: Compiler, reduce: Reduce):
        self._empty = xp.empty
        self._compiler = compiler
        self._reduce = reduce
        self._kernels: dict[Any, tuple[Any, ...]] = {}

    @staticmethod
    def width(dtype: np.dtype) -> int:
        """See `Backend.attention_width`: tiles in shared memory must not be larger than 48 KiB."""
        return _WIDTHS[-1] if wide(dtype).itemsize == 4 else _WIDTHS[-2]

    def forward(self, given: AttentionInputs) -> tuple[Array, Array]:
        """See `Backend.attention`."""
        query, value = given.query, given.value
        heads, n = query.shape[:2]
        out = self._empty((heads, n, value.shape[2]), query.dtype)
        lse = self._empty((heads, n), wide(query.dtype))
        kernels, rows, settings = self._built(given)
        kernels[0]((heads * -(-n // rows),), (rows * _LANES,), (*given[:4], out, lse, settings))
        return out, lse

    def backward(self, grad: Array, given: AttentionInputs, out: Array, lse: Array) -> tuple[Array, Array, Array]:
        """See `Backend.attention_backward`."""
        (heads, n), (shared, m) = given.query.shape[:2], given.key.shape[:2]
        compute = wide(grad.dtype)
        inner = self._reduce(_INNER, (grad, out), compute, compute, out.shape, (2,))[0]
        dq, dk, dv = (self._empty(x.shape, x.dtype) for x in given[:3])
        kernels, rows, settings = self._built(given)
        block, arrays = (rows * _LANES,), (grad, *given[:4], lse, inner)
        kernels[1]((heads * -(-n // rows),), block, (*arrays, dq, settings))
        kernels[2]((shared * -(-m // rows),), block, (*arrays, dk, dv, settings))
        return dq, dk, dv

    def _built(self, given: AttentionInputs) -> tuple[tuple[Any, ...], int, np.ndarray]:
        """The kernels, the rows of a block, and the struct Settings."""
        query, key, value, mask, causal, scale, dropout = given
        dtype, (heads, n, e), (shared, m, f) = query.dtype, query.shape, value.shape
        compute = wide(dtype)
        width = next(w for w in _WIDTHS if w >= max(e, f))
        rows = 32 if width * compute.itemsize <= 256 else 16
        masks = dtype if mask is None else mask.dtype
        key_ = (dtype, mask is None, masks, causal, dropout is None, width)
        kernels = self._kernels.get(key_)
        if kernels is None:
            flags = {
                "MASKED": mask is not None,
                "BOOLEAN": masks.kind == "b",
                "CAUSAL": causal,
                "DROPPED": dropout is not None,
            }
            settings = prologue({"T": dtype, "M": masks}, dtype, D=width, ROWS=rows, COLS=_COLS, **flags)
            text = settings + sources.read("attention.cu")
            kernels = self._kernels[key_] = self._compiler.kernels(text, _NAMES, f"attention of {dtype.name}")
        strides = (0, 0, 0) if mask is None else tuple(s // mask.dtype.itemsize for s in mask.strides)
        p, seed, offset = dropout or (0.0, 0, 0)
        numbers = ((seed, offset), strides, (scale, p), (n, m, e, f, heads // shared))
        return kernels, rows, struct(np.array([numbers], _SETTINGS[compute]))
