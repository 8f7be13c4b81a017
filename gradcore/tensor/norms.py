"""Norms of vectors and matrices: `gradcore.norm` and those of `gradcore.linalg`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import dtypes
from ..autograd.inplace import write_out
from ..autograd.tape import apply
from ..ops import REGISTRY
from ..ops import reductions as R
from ..ops.dims import Dims, wrap_dim
from .functions import FUNCTIONS, function

if TYPE_CHECKING:
    from .tensor import Tensor


def _converted(op: str, input: Tensor, dtype: dtypes.dtype | None) -> Tensor:
    """The input in the dtype of the result; RuntimeError for what no norm is taken of."""
    for d, what in ((input.dtype, "input"), (dtype, "dtype")):
        if d is not None and not d.is_floating_point:
            kind = "a floating point or complex tensor as input" if what == "input" else "a floating point dtype"
            raise RuntimeError(f"{op}: Expected {kind}. Got {dtypes.type_name(d.numpy)}")
    if dtype is None or dtype is input.dtype:
        return input
    if dtypes.promote_types(dtype, input.dtype) is not dtype:
        given, wanted = (dtypes.type_name(d.numpy) for d in (input.dtype, dtype))
        raise RuntimeError(
            f"{op}: the dtype of the input ({given}) should be convertible without narrowing to the specified dtype "
            f"({wanted})"
        )
    return input.to(dtype)


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`sum(abs(x)**ord)**(1/ord)` over `dim` (None: all elements).

    `inf` and `-inf` give the largest and the smallest magnitude, 0 the number of elements that are not 0. At 0 the
    derivative is 0.

    Raises:
        RuntimeError: `x` is not of a floating point dtype, or nothing is reduced by a norm without a neutral element.

    >>> import gradcore
    >>> gradcore.linalg.vector_norm(gradcore.tensor([3.0, -4.0]))
    tensor(5.)
    """
    if out is not None:
        return write_out("linalg.vector_norm", (x,), out, lambda: vector_norm(x, ord, dim, keepdim, dtype=dtype))
    x = _converted("linalg.vector_norm", x, dtype)
    return apply(R.norm_dim, (x,), {"p": float(ord), "dim": dim, "keepdim": keepdim})


_BY_ROWS, _BY_VALUES = (1, -1, math.inf, -math.inf), (2, -2, "nuc")


def matrix_norm(
    A: Tensor,  # noqa: N803
    ord: float | str = "fro",
    dim: int | Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The norm of the matrices in the dimensions `dim` (rows, columns).

    Args:
        A: (..., rows, columns), floating point.
        ord: "fro" (the vector norm of the elements), "nuc" (the sum of the singular values), 2 and -2 (the largest and
            the smallest of them), 1 and -1 (the largest and the smallest absolute column sum), inf and -inf (those of
            rows).

    Raises:
        RuntimeError: `ord` is none of these, or `dim` is no pair of different dimensions.
    """
    if out is not None:
        return write_out("linalg.matrix_norm", (A,), out, lambda: matrix_norm(A, ord, dim, keepdim, dtype=dtype))
    A = _converted("linalg.matrix_norm", A, dtype)
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    if A.ndim < 2:
        raise RuntimeError(f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions. Got {A.ndim}-D")
    row, column = (wrap_dim(d, A.ndim) for d in dims)
    if row == column:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dims[0]}, {dims[1]})")
    if ord == "fro":
        return vector_norm(A, 2, (row, column), keepdim)
    if ord in _BY_ROWS:
        if abs(float(ord)) != 1:
            row, column = column, row
        sums = vector_norm(A, 1, row, True)
        result = _extreme(sums, column, float(ord) > 0)
    elif ord in _BY_VALUES:
        others = [d for d in range(A.ndim) if d not in (row, column)]
        values = apply(REGISTRY["linalg_svd"], (A.permute(*others, row, column),), {"full_matrices": False})[1]
        result = values.sum(-1) if ord == "nuc" else _extreme(values, -1, ord == 2).squeeze(-1)
        result = result.unsqueeze(min(row, column)).unsqueeze(max(row, column))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    return result if keepdim else result.squeeze((row, column))


def _extreme(x: Tensor, dim: int, largest: bool) -> Tensor:
    """The largest or smallest elements along `dim`, which stays; 0 where there is none: a norm is never less."""
    if not x.shape[dim]:
        shape = list(x.shape)
        shape[dim] = 1
        return x.sum(dim, keepdim=True).reshape(shape)
    return FUNCTIONS["amax" if largest else "amin"](x, dim, keepdim=True)


def linalg_norm(
    A: Tensor,  # noqa: N803
    ord: float | str | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """A vector norm (`vector_norm`) or, of two dimensions and with an `ord`, a matrix norm (`matrix_norm`).

    Without `ord` it is the 2-norm of all elements, or of those in the dimensions `dim`.

    Raises:
        RuntimeError: `ord` fits neither the dimensions nor `dim`.
    """
    if out is not None:
        return write_out("linalg.norm", (A,), out, lambda: linalg_norm(A, ord, dim, keepdim, dtype=dtype))
    dims = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if dims is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
        )
    if not isinstance(ord, str) and (A.ndim if dims is None else len(dims)) == 1:
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)


linalg_norm.__name__ = linalg_norm.__qualname__ = "norm"


@function
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The p-norm over `dim` (None: all elements); `p` is a number, `inf`, "fro" (2), or "nuc" for matrices."""
    if out is not None:
        return write_out("norm", (input,), out, lambda: norm(input, p, dim, keepdim, dtype))
    if p == "nuc":
        return matrix_norm(input, p, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
    return vector_norm(input, 2 if p is None or isinstance(p, str) else p, dim, keepdim, dtype=dtype)
