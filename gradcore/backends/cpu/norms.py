"""Layer norm and RMS norm of rows, in NumPy, a few rows at a time; the sums along them are BLAS's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...expr import trace
from ..base import Array, Backend
from ..cpp.types import wide
from .rows import in_blocks


def _squares(x: Array) -> Array:
    """The sums of the squares of each row, as a column."""
    total: Array = np.matmul(x[:, None, :], x[:, :, None])[:, 0]
    return total


_CENTRED_SUMS = trace(lambda g, x, mean: (g, g * (x - mean)))


class Norms(Backend):
    """The kernels that normalize rows, and sums over channels."""

    def channel_sums(self, grad: Array, x: Array, mean: Array, rstd: Array) -> Sequence[Array]:
        # The same for a whole sum, `rstd` is a factor of it here: one pass less.
        operands = (grad, x, mean.reshape(-1, 1, 1))
        first, second = self.sums(_CENTRED_SUMS, operands, mean.dtype, mean.dtype, grad.shape, (0, 3))
        second *= rstd[:, None]
        return first, second

    def layer_norm(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        out_dtype: np.dtype,
        centered: bool = True,
    ) -> tuple[Array, Array | None, Array]:
        rows, columns = x.shape
        work = wide(x.dtype)
        out = np.empty(x.shape, out_dtype)
        mean, rstd = (np.zeros(rows, work) if centered else None), np.zeros(rows, work)
        w = None if weight is None else weight.astype(work, copy=False)
        b = None if bias is None else bias.astype(work, copy=False)
        ones = np.ones(columns, work)

        def block(at: slice, scratch: Array) -> None:
            values = x[at].astype(work, copy=False)
            result = out[at] if out_dtype == work else scratch
            if mean is not None:
                mean[at] = values @ ones / columns
                values = np.subtract(values, mean[at, None], out=result)
            scale = 1 / np.sqrt(_squares(values) / columns + eps)
            rstd[at, None] = scale
            np.multiply(values, scale, out=result)
            if w is not None:
                result *= w
            if b is not None:
                result += b
            if result is scratch:
                out[at] = result

        if x.size:
            in_blocks(block, rows, columns, work)
        return out, mean, rstd

    def layer_norm_backward(
        self,
        grad: Array,
        x: Array,
        mean: Array | None,
        rstd: Array,
        weight: Array | None,
        needs: tuple[bool, ...],
    ) -> tuple[Array | None, Array | None, Array | None]:
        # With c = x - mean, g = grad * weight and m(), the mean over a row:
        #   dx = rstd * (g - m(g) - c * rstd^2 * m(g * c))    without m(g) if the mean was taken to be 0
        #   dweight = sum over rows of rstd * grad * c        dbias = sum over rows of grad
        rows, columns = x.shape
        work = wide(x.dtype)
        w = None if weight is None else weight.astype(work, copy=False)
        # The product with it is the mean of the weighted row.
        average = (np.ones(columns, work) if w is None else w) / max(columns, 1)
        dx = np.empty(x.shape, x.dtype) if needs[0] else None
        # The sums over a block's rows by where it begins: whichever thread makes them, they are added in that order.
        by_weight: dict[int, Array] = {}
        by_bias: dict[int, Array] = {}

        def block(at: slice, c: Array) -> None:
            g, r = grad[at].astype(work, copy=False), rstd[at]
            np.subtract(x[at], 0 if mean is None else mean[at, None], out=c, dtype=work)
            result = dx[at] if dx is not None and dx.dtype == work else np.empty_like(c)
            product = np.multiply(g, c, out=result)
            if needs[1]:
                by_weight[at.start] = r @ product
            if needs[2]:
                by_bias[at.start] = np.ones(len(g), work) @ g
            if dx is None:
                return
            c *= (product @ average * r * r)[:, None]
            if mean is not None:
                c += (g @ average)[:, None]
            np.subtract(g if w is None else np.multiply(g, w, out=result), c, out=result)
            result *= r[:, None]
            if dx.dtype != work:
                dx[at] = result

        if x.size:
            in_blocks(block, rows, columns, work)
        kept = x.dtype if weight is None else weight.dtype

        def total(parts: dict[int, Array]) -> Array:
            return sum((parts[start] for start in sorted(parts)), np.zeros(columns, work)).astype(kept, copy=False)

        return dx, total(by_weight) if needs[1] else None, total(by_bias) if needs[2] else None
