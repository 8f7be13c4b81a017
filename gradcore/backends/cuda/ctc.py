"""Connectionist temporal classification: kernels/ctc_loss.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Array
from ..cpp import sources
from ..cpp.types import stored
from ..ctc import CtcInputs
from .compiler import Compiler
from .rows import BLOCK, power_of_two


class Ctc:
    """Runs the forward-backward algorithm on one device."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._xp, self._empty = xp, xp.empty
        self._compiler = compiler
        self._kernels: dict[np.dtype, tuple[Any, ...]] = {}

    def _of(self, dtype: np.dtype) -> tuple[Any, ...]:
        kernels = self._kernels.get(dtype)
        if kernels is None:
            text = f"typedef {stored(dtype)} T;\n" + sources.read("ctc_loss.cu")
            names = ("ctc_alpha", "ctc_beta", "ctc_gradient")
            kernels = self._kernels[dtype] = self._compiler.kernels(text, names, f"ctc_loss of {dtype.name}")
        return kernels

    def loss(self, inputs: CtcInputs) -> tuple[Array, Array]:
        """See `Backend.ctc_loss`."""
        batch, dtype = inputs.log_probs.shape[1], inputs.log_probs.dtype
        losses, alpha = self._empty((batch,), dtype), self._empty(inputs.alpha_shape, dtype)
        if batch:
            given = (*inputs.arrays(self._xp), losses, alpha, *_sizes(inputs))
            self._of(dtype)[0]((batch,), _block(inputs.labels.shape[1]), given)
        return losses, alpha

    def backward(self, grad: Array, inputs: CtcInputs, losses: Array, alpha: Array, zero_infinity: bool) -> Array:
        """See `Backend.ctc_loss_backward`."""
        (steps, batch, classes), dtype = inputs.log_probs.shape, inputs.log_probs.dtype
        dx = self._empty(inputs.log_probs.shape, dtype)
        if dx.size:
            beta = self._empty(alpha.shape, dtype)
            given, sizes, longest = inputs.arrays(self._xp), _sizes(inputs), inputs.labels.shape[1]
            _, ctc_beta, ctc_gradient = self._of(dtype)
            ctc_beta((batch,), _block(longest), (*given, beta, *sizes))
            args = (self._xp.ascontiguousarray(grad, dtype), *given, losses, alpha, beta, dx, *sizes)
            ctc_gradient((steps * batch,), _block(max(longest, classes // 2)), (*args, np.int32(zero_infinity)))
        return dx


def _sizes(inputs: CtcInputs) -> tuple[Any, ...]:
    _, batch, classes = inputs.log_probs.shape
    return np.int32(batch), np.int32(classes), np.int32(inputs.labels.shape[1]), np.int64(inputs.blank)


def _block(longest: int) -> tuple[int]:
    """Threads for the places of so many labels."""
    return (min(BLOCK, max(32, power_of_two(2 * longest + 1))),)
