"""Attention: kernels/attention.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...expr import trace
from ..base import Array, Dropout, Reduction
from ..cpp import sources
from ..cpp.types import computed, half_header, scalar, stored, wide
from .compiler import Compiler
from .reduce import Reduce

_NAMES = ("attention", "attention_backward_queries", "attention_backward_keys")
_LANES = 4
_COLS = 16
_WIDTHS = (32, 64, 128)
_INNER = Reduction(trace(lambda grad, out: grad * out), "sum")


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

    def forward(
        self,
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None,
        causal: bool,
        scale: float,
        dropout: Dropout | None,
    ) -> tuple[Array, Array]:
        """See `Backend.attention`."""
        heads, n = query.shape[:2]
        out = self._empty((heads, n, value.shape[2]), query.dtype)
        lse = self._empty((heads, n), wide(query.dtype))
        kernels, rows, settings = self._built(query, key, value, mask, causal, scale, dropout)
        grid = (heads * -(-n // rows),)
        kernels[0](grid, (rows * _LANES,), (query, key, value, mask, out, lse, *settings))
        return out, lse

    def backward(
        self,
        grad: Array,
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None,
        out: Array,
        lse: Array,
        causal: bool,
        scale: float,
        dropout: Dropout | None,
    ) -> tuple[Array, Array, Array]:
        """See `Backend.attention_backward`."""
        (heads, n), (shared, m) = query.shape[:2], key.shape[:2]
        compute = wide(query.dtype)
        inner = self._reduce(_INNER, (grad, out), compute, compute, out.shape, (2,), False)
        dq, dk, dv = (self._empty(x.shape, x.dtype) for x in (query, key, value))
        kernels, rows, settings = self._built(query, key, value, mask, causal, scale, dropout)
        block, given = (rows * _LANES,), (grad, query, key, value, mask, lse, inner)
        kernels[1]((heads * -(-n // rows),), block, (*given, dq, *settings))
        kernels[2]((shared * -(-m // rows),), block, (*given, dk, dv, *settings))
        return dq, dk, dv

    def _built(
        self,
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None,
        causal: bool,
        scale: float,
        dropout: Dropout | None,
    ) -> tuple[tuple[Any, ...], int, tuple[Any, ...]]:
        """The kernels, the rows of a block, and the arguments that all of them end with."""
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
            text = (
                half_header((dtype, masks))
                + f"typedef {stored(dtype)} T;\ntypedef {computed(dtype)} A;\ntypedef {stored(masks)} M;\n"
                + f"constexpr int D = {width}, ROWS = {rows}, COLS = {_COLS};\n"
                + "".join(f"constexpr bool {name} = {str(flag).lower()};\n" for name, flag in flags.items())
                + sources.read("attention.cu")
            )
            kernels = self._kernels[key_] = self._compiler.kernels(text, _NAMES, f"attention of {dtype.name}")
        strides = (0, 0, 0) if mask is None else tuple(s // mask.dtype.itemsize for s in mask.strides)
        counts = np.array([n, m, e, f, heads // shared, 0], np.int32)  # (the last fills the struct up)
        words = np.concatenate([np.array(strides, np.int64).view(np.int32), counts])
        sizes = words.view(np.dtype((np.void, words.nbytes)))
        number = scalar(computed(compute))
        p, seed, offset = dropout or (0.0, 0, 0)
        return kernels, rows, (number(scale), number(p), np.uint64(seed), np.uint64(offset), sizes)
