"""Dimension arguments: wrapping negative ones, refusing bad ones with PyTorch's words."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

Dims = int | Sequence[int] | None


def wrap_dim(dim: int, ndim: int) -> int:
    """`dim` in [0, ndim); a zero-dimensional tensor accepts -1 and 0."""
    dim = index(dim)
    limit = ndim or 1
    if not -limit <= dim < limit:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})")
    return dim % limit


def wrap_dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """The sorted dimensions to reduce; None and () mean all of them."""
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, int):
        axis = wrap_dim(dim, ndim)
        return (axis,) if ndim else ()
    if not dim:
        return tuple(range(ndim))
    wrapped = sorted(wrap_dim(d, ndim) for d in dim)
    for a, b in zip(wrapped, wrapped[1:]):
        if a == b:
            raise RuntimeError(f"dim {a} appears multiple times in the list of dims")
    return tuple(wrapped) if ndim else ()


def kept_shape(shape: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """`shape` with the reduced dimensions of size 1."""
    return tuple(1 if i in dims else n for i, n in enumerate(shape))
