"""Padding and interpolation: dimension by dimension, weighted sums of a few elements each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends import Array, backend_of
from ..expr import trace
from .core import array_op

Pads = Sequence[tuple[int, int]]


@array_op(public=False, grad_name="ConstantPadNdBackward0", linear=["input value"])
def constant_pad(input: Array, value: Array | float, pads: Pads) -> Array:
    """`input` with `pads[d]` = (before, after) elements of `value` around dimension d; negative numbers take away."""
    shape = tuple([n + a + b for n, (a, b) in zip(input.shape, pads)])
    for d, (n, m) in enumerate(zip(input.shape, shape)):
        if m < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {pads[d][0]} and {pads[d][1]} resulted in a negative "
                f"output size, which is invalid. Check dimension {d} of your input."
            )
    out = backend_of(input).full(shape, value, input.dtype)
    inside = [slice(max(a, 0), m - max(b, 0)) for (a, b), m in zip(pads, shape)]
    kept = [slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pads, input.shape)]
    out[(*inside, Ellipsis)] = input[(*kept, Ellipsis)]
    return out


constant_pad.batching(lambda inputs, pads: constant_pad(*inputs, pads=[(0, 0), *pads]))
constant_pad.derivative(input=lambda g, pads: constant_pad(g, 0, pads=[(-a, -b) for a, b in pads]))


@array_op(public=False, grad_name="UpsampleBackward0", linear=["input"])
def resample(input: Array, places: Array, weights: Array | None, dim: int) -> Array:
    """Along `dim` the sum over t of `weights[t] * input[places[t]]`, for arrays (terms, size of the result).

    Without weights there is one term, which is copied as it is.
    """
    backend = backend_of(input)
    if weights is None:
        return backend.take(input, places[0], dim)
    shape = (*input.shape[:dim], places.shape[1], *input.shape[dim + 1 :])
    parts = [backend.take(input, row, dim) for row in places]
    factors = [w.reshape((-1,) + (1,) * (input.ndim - dim - 1)) for w in weights]
    return backend.elementwise(_sum_of(len(parts)), (*parts, *factors), input.dtype, (input.dtype,), shape)[0]


_programs: dict[int, Any] = {}


def _sum_of(terms: int) -> Any:
    """The program for the sum of products of `terms` pairs: x0 * w0 + x1 * w1 + ..."""
    if terms not in _programs:

        def products(*values: Any) -> Any:
            total = values[0] * values[terms]
            for t in range(1, terms):
                total = total + values[t] * values[terms + t]
            return total

        _programs[terms] = trace(products, [f"x{t}" for t in range(terms)] + [f"w{t}" for t in range(terms)])
    return _programs[terms]


@array_op(public=False, linear=["grad"])
def resample_backward(grad: Array, places: Array, weights: Array | None, dim: int, size: int) -> Array:
    """Along `dim`, of `size` in the result, `weights[t] * grad` added at `places[t]`, for all terms t."""
    backend = backend_of(grad)
    shape = (*grad.shape[:dim], size, *grad.shape[dim + 1 :])
    out = backend.full(shape, 0, grad.dtype)
    if weights is None:
        parts = grad
    else:
        factors = weights.reshape((*weights.shape, *(1,) * (grad.ndim - dim - 1)))
        spread = (*grad.shape[:dim], weights.shape[0], *grad.shape[dim:])
        lines = grad.reshape((*grad.shape[:dim], 1, *grad.shape[dim:]))
        (parts,) = backend.elementwise(_sum_of(1), (lines, factors), grad.dtype, (grad.dtype,), spread)
        parts = parts.reshape((*grad.shape[:dim], -1, *grad.shape[dim + 1 :]))
    backend.index_add(out, (slice(None),) * dim + (places.reshape(-1),), parts)
    return out


resample.derivative(
    input=lambda g, places, weights, input_shape, dim: resample_backward(
        g, places, weights, dim=dim, size=input_shape[dim]
    )
)
for _op in (resample, resample_backward):
    _op.batching(
        lambda inputs, attrs, op: op(*inputs, **{**attrs, "dim": attrs["dim"] + 1})  # the terms are one for all
    )
resample_backward.derivative(grad=lambda g, places, weights, dim: resample(g, places, weights, dim=dim))
