"""Inverses and factorizations of matrices, in batches, with derivatives of any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import add, div, mul, sub
from .core import array_op, one_backend
from .linalg import matmul, transposed
from .masking import tril
from .precision import CPU_FLOAT32
from .rearrange import diagonal, diagonal_backward
from .shape import each_ranked, narrow, unsqueeze


class LinAlgError(RuntimeError):
    """A matrix has no inverse, or no such factorization."""


def _check(op: str, x: Array, square: bool = True) -> None:
    if x.ndim < 2:
        raise RuntimeError(f"{op}: The input tensor A must have at least 2 dimensions.")
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{op}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )
    name = dtypes.type_name(x.dtype)
    if not dtypes.from_numpy(x.dtype).is_floating_point:
        raise RuntimeError(f"{op}: Expected a floating point or complex tensor as input. Got {name}")
    if x.dtype.itemsize == 2:
        raise RuntimeError(f"{op}: Low precision dtypes not supported. Got {name}")


def _attempt(x: Array, compute: Callable[[], Any], failed: Callable[[np.ndarray], str | None], op: str) -> Any:
    """What `compute` returns; LinAlgError for the first matrix of which `failed` tells what is wrong."""
    try:
        with backend_of(x).raising_linalg():
            return compute()
    except np.linalg.LinAlgError as error:
        matrices = backend_of(x).to_host(x)
        for i, matrix in enumerate(matrices.reshape(-1, *matrices.shape[-2:])):
            reason = failed(matrix)
            if reason is not None:
                place = f"(Batch element {i}): " if x.ndim > 2 else ""
                raise LinAlgError(f"{op}: {place}{reason}") from None
        raise LinAlgError(f"{op}: {error}") from None


def _singular(matrix: np.ndarray) -> str | None:
    """Which pivot of the elimination is 0."""
    u = matrix.copy()
    for i in range(len(u)):
        pivot = i + int(np.argmax(np.abs(u[i:, i])))
        if u[pivot, i] == 0:
            return (
                f"The diagonal element {i + 1} is zero, the inversion could not be completed because the input matrix "
                "is singular."
            )
        u[[i, pivot]] = u[[pivot, i]]
        u[i + 1 :] -= np.outer(u[i + 1 :, i] / u[i, i], u[i])
    return None


def _unsolvable(matrix: np.ndarray) -> str | None:
    return _singular(matrix) and "The solver failed because the input matrix is singular."


def _indefinite(matrix: np.ndarray) -> str | None:
    """Which leading minor is not positive."""
    for i in range(1, len(matrix) + 1):
        try:
            np.linalg.cholesky(matrix[:i, :i])
        except np.linalg.LinAlgError:
            return (
                "The factorization could not be completed because the input is not positive-definite (the leading "
                f"minor of order {i} is not positive-definite)."
            )
    return None


@array_op(name="linalg_inv", public=False, grad_name="LinalgInvExBackward0", precision=CPU_FLOAT32)
def inv(input: Array) -> Array:
    """The inverses of square matrices (..., n, n).

    Raises:
        RuntimeError: they are not square, or not float32 or float64; LinAlgError: one is singular.
    """
    _check("linalg.inv", input)
    xp = backend_of(input).xp
    return _attempt(input, lambda: xp.linalg.inv(input), _singular, "linalg.inv")


def _check_batch(op: str, shape: Any) -> None:
    if len(shape) < 2:
        raise RuntimeError(f"{op}: The input tensor A must have at least 2 dimensions.")


@inv.batching
def _inv_batch(input: Any, input_shape: Any) -> Any:
    _check_batch("linalg.inv", input_shape)
    return inv(input)


def _inv_rule(g: Any, result: Any) -> Any:
    adjoint = transposed(result)
    return mul(matmul(adjoint, matmul(g, adjoint)), -1)


inv.derivative(input=_inv_rule)


@array_op(name="linalg_solve", public=False, grad_name="LinalgSolveExBackward0", precision=CPU_FLOAT32)
def solve(input: Array, other: Array) -> Array:
    """`inv(input) @ other` for matrices (..., n, n) and (..., n, k), without the inverse."""
    backend = one_backend("linalg.solve", (input, other), ("A", "B"))
    _check("linalg.solve", input)
    if input.dtype != other.dtype:
        raise RuntimeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type "
            f"{dtypes.type_name(input.dtype)} and B of type {dtypes.type_name(other.dtype)} instead"
        )
    if other.ndim < 2 or other.shape[-2] != input.shape[-1]:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation AX = B ({list(input.shape)} and "
            f"{list(other.shape)})"
        )
    xp = backend.xp
    batch = np.broadcast_shapes(input.shape[:-2], other.shape[:-2])
    a, b = (xp.broadcast_to(x, batch + x.shape[-2:]) for x in (input, other))
    return _attempt(input, lambda: xp.linalg.solve(a, b), _unsolvable, "linalg.solve")


@solve.batching
def _solve_batch(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int) -> Any:
    for shape in shapes:
        _check_batch("linalg.solve", shape)
    rank = max(map(len, shapes))
    return solve(*each_ranked(inputs, shapes, batched, rank, size))


@solve.joint_derivative
def _solve_rule(g: Any, input: Any, result: Any, needs: tuple[bool, ...]) -> Any:
    other = solve(transposed(input), g)
    return mul(matmul(other, transposed(result)), -1) if needs[0] else None, other


@array_op(name="linalg_cholesky", public=False, grad_name="LinalgCholeskyExBackward0", precision=CPU_FLOAT32)
def cholesky(input: Array) -> Array:
    """The lower triangular L (..., n, n) with `L @ L.mT == input`, of which the lower triangle is read.

    Raises:
        RuntimeError: the matrices are not square, or not float32 or float64; LinAlgError: one is not positive-definite.
    """
    _check("linalg.cholesky", input)
    xp = backend_of(input).xp
    return _attempt(input, lambda: xp.linalg.cholesky(input), _indefinite, "linalg.cholesky")


@cholesky.batching
def _cholesky_batch(input: Any, input_shape: Any) -> Any:
    _check_batch("linalg.cholesky", input_shape)
    return cholesky(input)


def _cholesky_rule(g: Any, result: Any) -> Any:
    # I. Murray, "Differentiation of the Cholesky decomposition", arXiv 1602.07527, equation 10, made symmetric.
    inner = tril(matmul(transposed(result), g))
    half = mul(diagonal(inner, offset=0, dim1=-2, dim2=-1), 0.5)
    inner = sub(inner, _on_diagonal(half, inner))
    symmetric = mul(add(inner, transposed(inner)), 0.5)
    left = solve(transposed(result), symmetric)  # L^-T S
    return transposed(solve(transposed(result), transposed(left)))  # L^-T S L^-1


def _on_diagonal(values: Any, like: Any) -> Any:
    return diagonal_backward(values, shape=tuple(like.shape), offset=0, dim1=-2, dim2=-1)


cholesky.derivative(input=_cholesky_rule)


@array_op(name="linalg_svd", public=False, grad_name="LinalgSvdBackward0", precision=CPU_FLOAT32)
def svd(input: Array, full_matrices: bool) -> tuple[Array, Array, Array]:
    """U, S and Vh with `input == U @ diag(S) @ Vh`: matrices (..., m, n) to (..., m, k), (..., k) and (..., k, n).

    k is the smaller of m and n; with `full_matrices` U is (..., m, m) and Vh is (..., n, n).

    Raises:
        RuntimeError: the matrices are not float32 or float64; LinAlgError: one holds NaN or infinity.
    """
    _check("linalg.svd", input, square=False)
    backend = backend_of(input)
    m, n = input.shape[-2:]
    if min(m, n) == 0:  # CuPy refuses these
        batch = input.shape[:-2]
        sizes = (m, n) if full_matrices else (0, 0)
        u, vh = (backend.full((*batch, *s), 0, input.dtype) for s in ((m, sizes[0]), (sizes[1], n)))
        for square in (u, vh) if full_matrices else ():
            diagonal.function(square, 0, -2, -1)[...] = 1
        return u, backend.full((*batch, 0), 0, input.dtype), vh
    found = _attempt(
        input,
        lambda: backend.xp.linalg.svd(input, full_matrices=full_matrices),
        lambda matrix: None if np.isfinite(matrix).all() else _NOT_FINITE,
        "linalg.svd",
    )
    return tuple(found)


_NOT_FINITE = "The algorithm failed to converge because the input matrix contained non-finite values."
svd.fill_grads = False


@svd.batching
def _svd_batch(input: Any, input_shape: Any, full_matrices: bool) -> Any:
    _check_batch("linalg.svd", input_shape)
    return svd(input, full_matrices=full_matrices)


@svd.joint_derivative
def _svd_rule(gs: Any, result: Any, result1: Any, result2: Any) -> Any:
    # M. Giles, "An extended collection of matrix derivative results for forward and reverse mode AD", 2008, 3.2.
    # What columns of U and rows of Vh the full matrices add does not depend on the input's factors alone: no gradient.
    s, k = result1, result1.shape[-1]
    u, vh = narrow(result, dim=-1, start=0, length=k), narrow(result2, dim=-2, start=0, length=k)
    gu = None if gs[0] is None else narrow(gs[0], dim=-1, start=0, length=k)
    gvh = None if gs[2] is None else narrow(gs[2], dim=-2, start=0, length=k)
    rows, columns = unsqueeze(s, dim=-1), unsqueeze(s, dim=-2)
    m, n = u.shape[-2], vh.shape[-1]
    core = None
    if gu is not None or gvh is not None:
        # 1 / (s_j^2 - s_i^2) beside the diagonal
        gaps = mul(sub(columns, rows), add(columns, rows))
        gaps = add(gaps, _on_diagonal(add(mul(s, 0), 1), gaps))
    if gu is not None:
        core = mul(div(_skew(matmul(transposed(u), gu)), gaps), columns)
    if gvh is not None:
        part = mul(rows, div(_skew(matmul(vh, transposed(gvh))), gaps))
        core = part if core is None else add(core, part)
    if gs[1] is not None:
        like = core if core is not None else matmul(rows, columns)
        part = _on_diagonal(gs[1], like)
        core = part if core is None else add(core, part)
    out = matmul(matmul(u, core), vh)
    if gu is not None and m > k:  # what U gains outside of its own columns
        scaled = div(gu, columns)
        out = add(out, matmul(sub(scaled, matmul(u, matmul(transposed(u), scaled))), vh))
    if gvh is not None and n > k:
        scaled = div(gvh, rows)
        out = add(out, matmul(u, sub(scaled, matmul(matmul(scaled, transposed(vh)), vh))))
    return (out,)


def _skew(x: Any) -> Any:
    return sub(x, transposed(x))
