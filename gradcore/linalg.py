"""Linear algebra, as `torch.linalg`: of matrices (..., n, m) in batches, with derivatives of any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .autograd.inplace import write_out
from .autograd.tape import apply
from .ops import decompositions
from .ops.decompositions import LinAlgError
from .tensor.functions import FUNCTIONS
from .tensor.norms import linalg_norm as norm
from .tensor.norms import matrix_norm, vector_norm

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "LinAlgError",
    "cholesky",
    "diagonal",
    "inv",
    "matmul",
    "matrix_norm",
    "norm",
    "solve",
    "svd",
    "svdvals",
    "vector_norm",
]

matmul = FUNCTIONS["matmul"]


def _one(name: str, op: Any, inputs: tuple[Any, ...], out: Any) -> Any:
    if out is not None:
        return write_out(name, inputs, out, lambda: apply(op, inputs, {}))
    return apply(op, inputs, {})


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:  # noqa: N803  PyTorch's names
    """The inverses of square matrices (..., n, n), float32 or float64.

    Raises:
        RuntimeError: the matrices are not square or of another dtype.
        LinAlgError: one of them is singular.

    >>> import gradcore
    >>> gradcore.linalg.inv(gradcore.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return _one("linalg.inv", decompositions.inv, (A,), out)


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:  # noqa: N803
    """The X with `A @ X == B`, or with `left=False` `X @ A == B`, for square matrices A (..., n, n).

    B holds matrices (..., n, k), or vectors (..., n) if it has A's batch dimensions and one more. The batch dimensions
    of matrices broadcast.

    Raises:
        RuntimeError: shapes or dtypes do not fit.
        LinAlgError: a matrix is singular.
    """
    if out is not None:
        return write_out("linalg.solve", (A, B), out, lambda: solve(A, B, left=left))
    vectors = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    if vectors:
        if not left:
            raise RuntimeError(
                "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False."
            )
        return apply(decompositions.solve, (A, B.unsqueeze(-1)), {}).squeeze(-1)
    if left:
        return apply(decompositions.solve, (A, B), {})
    return apply(decompositions.solve, (A.mT, B.mT), {}).mT


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:  # noqa: N803
    """The lower triangular L with `L @ L.mT == A` of symmetric positive-definite matrices (..., n, n).

    Only the lower triangle of A is read; with `upper` its upper triangle, and the result is upper triangular.

    Raises:
        RuntimeError: the matrices are not square, or not float32 or float64.
        LinAlgError: one of them is not positive-definite.
    """
    if out is not None:
        return write_out("linalg.cholesky", (A,), out, lambda: cholesky(A, upper=upper))
    factor = apply(decompositions.cholesky, (A.mT if upper and A.ndim > 1 else A,), {})
    return factor.mT if upper else factor


class linalg_svd(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor

    def __repr__(self) -> str:
        return f"gradcore.return_types.linalg_svd(\nU={self.U!r},\nS={self.S!r},\nVh={self.Vh!r})"


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> linalg_svd:  # noqa: N803
    """The singular value decomposition `A == U @ diag(S) @ Vh` of matrices (..., m, n).

    S (..., k) is in descending order, k the smaller of m and n. U is (..., m, m) and Vh (..., n, n), or without
    `full_matrices` (..., m, k) and (..., k, n). The gradients of U and Vh exist where the singular values are distinct
    and none is 0; those of their columns and rows beyond the first k count as 0. `driver` is for PyTorch's sake: the
    library chooses.

    Raises:
        RuntimeError: the matrices are not float32 or float64.
        LinAlgError: one of them holds NaN or infinity.
    """
    return linalg_svd(*apply(decompositions.svd, (A,), {"full_matrices": full_matrices}))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:  # noqa: N803
    """The singular values (..., k) of matrices (..., m, n), in descending order; see `svd`."""
    return svd(A, full_matrices=False).S


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:  # noqa: N803
    """The diagonals of matrices: a view."""
    return FUNCTIONS["diagonal"](A, offset, dim1, dim2)
