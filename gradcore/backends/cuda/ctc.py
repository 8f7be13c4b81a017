"""Connectionist temporal classification: kernels/ctc_loss.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Array
from ..cpp import sources
from ..cpp.types import INT64, stored
from .compiler import Compiler
from .rows import BLOCK, power_of_two


class Ctc:
    """Runs the forward-backward algorithm on one device."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._empty = xp.empty
        self._contiguous = xp.ascontiguousarray
        self._compiler = compiler
        self._kernels: dict[np.dtype, tuple[Any, ...]] = {}

    def _of(self, dtype: np.dtype) -> tuple[Any, ...]:
        kernels = self._kernels.get(dtype)
        if kernels is None:
            text = f"typedef {stored(dtype)} T;\n" + sources.read("ctc_loss.cu")
            names = ("ctc_alpha", "ctc_beta", "ctc_gradient")
            kernels = self._kernels[dtype] = self._compiler.kernels(text, names, f"ctc_loss of {dtype.name}")
        return kernels

    def loss(
        self, log_probs: Array, labels: Array, input_lengths: Array, label_lengths: Array, blank: int
    ) -> tuple[Array, Array]:
        """See `Backend.ctc_loss`."""
        steps, batch, classes = log_probs.shape
        longest = labels.shape[1]
        losses = self._empty((batch,), log_probs.dtype)
        alpha = self._empty((steps, batch, 2 * longest + 1), log_probs.dtype)
        if batch:
            sizes = (np.int32(batch), np.int32(classes), np.int32(longest), np.int64(blank))
            given = self._given(log_probs, labels, input_lengths, label_lengths)
            self._of(log_probs.dtype)[0]((batch,), _block(longest), (*given, losses, alpha, *sizes))
        return losses, alpha

    def backward(
        self,
        grad: Array,
        log_probs: Array,
        labels: Array,
        input_lengths: Array,
        label_lengths: Array,
        losses: Array,
        alpha: Array,
        blank: int,
        zero_infinity: bool,
    ) -> Array:
        """See `Backend.ctc_loss_backward`."""
        steps, batch, classes = log_probs.shape
        longest = labels.shape[1]
        dx = self._empty(log_probs.shape, log_probs.dtype)
        if dx.size:
            beta = self._empty(alpha.shape, alpha.dtype)
            sizes = (np.int32(batch), np.int32(classes), np.int32(longest), np.int64(blank))
            given = self._given(log_probs, labels, input_lengths, label_lengths)
            _, ctc_beta, ctc_gradient = self._of(log_probs.dtype)
            ctc_beta((batch,), _block(longest), (*given, beta, *sizes))
            args = (self._contiguous(grad, log_probs.dtype), *given, losses, alpha, beta, dx, *sizes)
            ctc_gradient((steps * batch,), _block(max(longest, classes // 2)), (*args, np.int32(zero_infinity)))
        return dx

    def _given(self, log_probs: Array, *integers: Array) -> tuple[Array, ...]:
        return self._contiguous(log_probs), *(self._contiguous(i, INT64) for i in integers)


def _block(longest: int) -> tuple[int]:
    """Threads for the places of so many labels."""
    return (min(BLOCK, max(32, power_of_two(2 * longest + 1))),)
