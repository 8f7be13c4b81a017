"""Matrix products as cuBLAS and cuBLASLt take them: which operand is transposed, how far apart rows and batches lie.

Both libraries know matrices by columns (each column is contiguous, and the next one is a leading dimension further) and
batches at one distance. An array by rows is the transpose of a matrix by columns in the same memory, so `D = X Y` by
rows is computed as `D^T = Y^T X^T` by columns: the operands change places, one that is contiguous along its rows is
taken as it lies, and one that is contiguous along its columns, as `x.T` is, with the transposition that the libraries
do for nothing. What is copied is only what neither describes.

Nothing here touches memory: `plan` works on shapes and strides alone, so it is tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from ..cpp.strides import broadcast_strides, collapse

Shape = tuple[int, ...]

# How many calls a product is cut into, where the batches of an operand do not lie at one distance, before that operand
# is copied instead.
MOST_CALLS = 8


class Operand(NamedTuple):
    """A matrix by columns in memory, and what is done to it first; distances are in elements."""

    transposed: bool
    leading: int
    stride: int  # between one matrix of the batch and the next


class Gemm(NamedTuple):
    """`D = op(A) op(B)` for `batch` matrices by columns: op(A) is (m, k), op(B) (k, n) and D (m, n)."""

    m: int
    n: int
    k: int
    a: Operand
    b: Operand
    d: Operand
    batch: int


class Call(NamedTuple):
    """One call of the library: the offsets of its operands from the first elements of the arrays."""

    gemm: Gemm
    a: int
    b: int
    d: int


class Plan(NamedTuple):
    """How `D = X Y` is computed by rows; or else the shape in which x, or y, must be copied before it can be."""

    shape: Shape
    calls: tuple[Call, ...]
    copies: tuple[Shape | None, Shape | None] = (None, None)


def by_columns(rows: int, columns: int, strides: Sequence[int]) -> tuple[bool, int] | None:
    """Whether a matrix by rows is to be transposed when it is read by columns, and its leading dimension.

    None if neither its rows nor its columns are contiguous (or overlap), so that no library reads it as it is.
    """
    down, along = strides
    if (columns == 1 or along == 1) and (rows == 1 or down >= columns):
        return False, down if rows > 1 else columns
    if (rows == 1 or down == 1) and (columns == 1 or along >= rows):
        return True, along if columns > 1 else rows
    return None


def result_shape(x: Shape, y: Shape) -> Shape:
    """The shape of the product of (..., n, k) and (..., k, m).

    Raises:
        ValueError: if the dimensions before the last two do not broadcast.
    """
    return (*np.broadcast_shapes(x[:-2], y[:-2]), x[-2], y[-1])


def _elements(strides: Shape, itemsize: int) -> Shape | None:
    """Strides in elements, if that is what they are a whole number of."""
    return None if any(step % itemsize for step in strides) else tuple(step // itemsize for step in strides)


@lru_cache(maxsize=4096)
def plan(x: Shape, x_bytes: Shape, y: Shape, y_bytes: Shape, itemsize: int) -> Plan:
    """How the product of arrays (..., n, k) and (..., k, m), none of them empty, is computed into a contiguous one.

    `x_bytes` and `y_bytes` are their strides.

    Raises:
        ValueError: if the batch dimensions do not broadcast.
    """
    (n, k), m = x[-2:], y[-1]
    shape = result_shape(x, y)
    batch = shape[:-2]
    x_strides, y_strides = _elements(x_bytes, itemsize), _elements(y_bytes, itemsize)
    if x_strides is None or y_strides is None:
        return Plan(shape, (), (None if x_strides else x, None if y_strides else y))
    x_steps, y_steps = (broadcast_strides(s[:-2], t[:-2], 1, batch) for s, t in ((x, x_strides), (y, y_strides)))
    down, along = x_strides[-2:]
    if not any(y_steps):
        # One matrix for all batches: their rows are rows of one matrix, if x has them at one distance.
        rows, steps = collapse((*batch, n), [(*x_steps, down)])
        if len(rows) == 1:
            (n,), ((down,),) = rows, steps
            batch, x_steps, y_steps = (), (), ()
    forwards = (min(own, default=0) >= 0 for own in (x_steps, y_steps))
    matrices = ((n, k, (down, along)), (k, m, y_strides[-2:]))
    x_matrix, y_matrix = (by_columns(*matrix) if f else None for f, matrix in zip(forwards, matrices))
    if x_matrix is None or y_matrix is None:
        return Plan(shape, (), (None if x_matrix else x, None if y_matrix else y))
    sizes, steps = collapse(batch, [x_steps, y_steps, tuple(n * m * prod(batch[i + 1 :]) for i in range(len(batch)))])
    # One dimension is the library's batch, and a call is made for each place in the others.
    *around, longest = sorted(zip(sizes, *steps)) or [(1, 0, 0, 0)]
    if prod(size for size, *_ in around) > MOST_CALLS:
        apart = (len(collapse(batch, [own])[0]) > 1 for own in (x_steps, y_steps))
        x_copy, y_copy = ((*batch, *s[-2:]) if a else None for a, s in zip(apart, (x, y)))
        return Plan(shape, (), (x_copy, y_copy))
    # From here on as the library sees it: y is its first operand.
    count, x_stride, y_stride, stride = longest
    a, b, d = Operand(*y_matrix, y_stride), Operand(*x_matrix, x_stride), Operand(False, m, stride)
    gemm = Gemm(m, n, k, a, b, d, count)
    calls = []
    for index in product(*(range(size) for size, *_ in around)):
        x_at, y_at, d_at = (sum(i * steps[which] for i, (_, *steps) in zip(index, around)) for which in range(3))
        calls.append(Call(gemm, y_at, x_at, d_at))
    return Plan(shape, tuple(calls))
