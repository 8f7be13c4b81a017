"""Scans in place, the median, and counts of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import dtypes
from ..autograd.inplace import apply_inplace
from ..autograd.tape import apply
from ..autograd.variable import Variable
from ..ops import scans
from .functions import METHODS, function, median_result

if TYPE_CHECKING:
    from .tensor import Tensor


def cumsum_(self: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """`cumsum` in place."""
    return apply_inplace(scans.cumsum, (self,), {"dim": dim, "dtype": dtype})


METHODS["cumsum_"] = cumsum_


@function
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """`median(input)`: the median of all elements. `median(input, dim, keepdim=False)`: (values, indices) along `dim`.

    Of an even number of elements it is the lower of the two in the middle; NaN if there is one.

    >>> import gradcore
    >>> gradcore.median(gradcore.tensor([3.0, 1.0, 2.0, 5.0]))
    tensor(2.)
    """
    if dim is None:
        return apply(scans.median_all, (input.reshape(-1),), {})
    return median_result(*apply(scans.median_dim, (input,), {"dim": dim, "keepdim": keepdim}))


@function
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, ... occurs in a vector of non-negative integers; with `weights`, the sum of those.

    Returns max(input) + 1 elements, or `minlength` if that is more: int64, with float32 weights float32, with others
    float64. There is no derivative. On a GPU this waits for the largest value.

    Raises:
        RuntimeError: `input` is no such vector, or `weights` has another length.

    >>> import gradcore
    >>> gradcore.bincount(gradcore.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    weights = weights.detach() if isinstance(weights, Variable) else weights
    return apply(scans.bincount, (input, weights), {"minlength": minlength})
