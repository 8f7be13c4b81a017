"""Order: sorting and the largest elements."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .core import array_op
from .dims import wrap_dim
from .gathering import scatter_add_zeros
from .shape import reshape


@array_op(public=False, name="sort_dim", grad_name="SortBackward0")
def sort(input: Array, dim: int, descending: bool) -> tuple[Array, Array]:
    """The elements along `dim` in order, equal ones as they were and NaN as the largest; and where each came from."""
    axis = wrap_dim(dim, input.ndim)
    backend = backend_of(input)
    if input.ndim == 0:
        return backend.copy(input), backend.full((), 0, dtypes.int64.numpy)
    return backend.sort(input, axis, descending)


def _back(gs: Any, result1: Any, input_shape: Any, dim: int) -> Any:
    return scatter_add_zeros(gs[0], result1, shape=input_shape, dim=dim, unique=True)


def _along_the_next(op: Any) -> None:
    """Give an op its batch rule: the same, along the dimension after."""

    @op.batching
    def rule(input: Any, input_shape: Any, dim: int, attrs: dict[str, Any], size: int) -> Any:
        given = {**attrs, "dim": wrap_dim(dim, len(input_shape)) + 1}
        if input_shape:
            return op(input, **given)
        results = op(reshape(input, shape=(size, 1)), **{**given, "k": 1} if "k" in given else given)
        return tuple([reshape(r, shape=(size,)) for r in results])


_along_the_next(sort)
sort.derivative(input=_back)


@array_op(public=False, name="topk_dim", grad_name="TopkBackward0")
def topk(input: Array, k: int, dim: int, largest: bool) -> tuple[Array, Array]:
    """The `k` largest (or smallest) elements along `dim` in order, NaN counting as the largest; and their positions."""
    axis = wrap_dim(dim, input.ndim)
    if input.dtype == dtypes.bool_.numpy:
        raise RuntimeError("topk does not support bool dtypes")
    if not 0 <= k <= (input.shape[axis] if input.ndim else 1):
        raise RuntimeError("selected index k out of range")
    backend = backend_of(input)
    if input.ndim == 0:
        return backend.copy(input), backend.full((), 0, dtypes.int64.numpy)
    return backend.topk(input, k, axis, largest)


_along_the_next(topk)
topk.derivative(input=_back)


def places(x: Array) -> tuple[Array, ...]:
    """For each dimension the int64 positions of the elements of `x` that are not 0."""
    return tuple([a.astype(dtypes.int64.numpy, copy=False) for a in backend_of(x).xp.nonzero(x)])


def unique(x: Array, axis: int | None, inverse: bool, counts: bool) -> tuple[Array, ...]:
    """The different elements of `x`, or its slices along `axis`, in order; where each is among them; how often."""
    xp = backend_of(x).xp
    found = xp.unique(x, return_inverse=inverse, return_counts=counts, axis=axis, equal_nan=False)
    out = found if isinstance(found, tuple) else (found,)
    shape = x.shape if axis is None else x.shape[axis : axis + 1]
    return tuple([a.reshape(shape) if inverse and i == 1 else a for i, a in enumerate(out)])
