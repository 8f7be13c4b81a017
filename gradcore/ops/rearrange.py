"""Elements in another order, or several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends import Array, backend_of
from .core import array_op
from .dims import wrap_dim
from .reductions import sum as sum_op
from .shape import Shape, reshape, stack, with_rank


@array_op(public=False, grad_name="RepeatBackward0", linear=["input"])
def repeat(input: Array, repeats: Sequence[int]) -> Array:
    """`input` laid `repeats` times behind itself along each dimension; there may be new ones in front."""
    if len(repeats) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    spread, pairs = _pairs(input.shape, repeats)
    size = tuple(a * b for a, b in zip(pairs[::2], pairs[1::2]))
    if min(size, default=0) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(size)}: {list(size)}")
    backend = backend_of(input)
    return backend.copy(backend.broadcast(input.reshape(spread), pairs)).reshape(size)


def _pairs(shape: Shape, repeats: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For each dimension of the result (1, size) and (repeats, size)."""
    sizes = (1,) * (len(repeats) - len(shape)) + tuple(shape)
    return tuple(n for size in sizes for n in (1, size)), tuple(n for pair in zip(repeats, sizes) for n in pair)


def _repeat_rule(g: Any, input_shape: Any, repeats: Sequence[int]) -> Any:
    if not repeats:
        return g
    pairs = _pairs(input_shape, repeats)[1]
    return reshape(sum_op(reshape(g, shape=pairs), dim=tuple(range(0, len(pairs), 2))), shape=input_shape)


repeat.batching(
    lambda input, input_shape, repeats, size: repeat(
        with_rank(input, input_shape, max(len(repeats), len(input_shape)), size), repeats=(1, *repeats)
    )
)
repeat.derivative(input=_repeat_rule)


@array_op(varargs="dims", linear=["input"])
def flip(input: Array, dims: Sequence[int]) -> Array:
    """`input` with the order of its elements along the dimensions `dims` reversed: a copy."""
    dims = (dims,) if isinstance(dims, int) else dims
    axes = [wrap_dim(d, input.ndim) for d in dims]
    for d in axes:
        if axes.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return backend_of(input).copy(input[tuple([slice(None, None, -1 if d in axes else 1) for d in range(input.ndim)])])


flip.batching(
    lambda input, input_shape, dims: flip(
        input, dims=[wrap_dim(d, len(input_shape)) + 1 for d in ((dims,) if isinstance(dims, int) else dims)]
    )
)
flip.derivative(input=lambda g, dims: flip(g, dims=dims))

Ints = int | Sequence[int]


@array_op(linear=["input"])
def roll(input: Array, shifts: Ints, dims: Ints | None = None) -> Array:
    """`input` with its elements moved by `shifts` along `dims`, what is moved beyond the end coming in at the start.

    Without `dims` the tensor is rolled as if it were flat.
    """
    moves, axes = _moves(shifts, dims)
    xp = backend_of(input).xp
    if not axes:
        return xp.roll(input, moves[0])
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return xp.roll(input, moves, tuple([wrap_dim(d, input.ndim) for d in axes]))


def _moves(shifts: Ints, dims: Ints | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if not moves:
        raise RuntimeError("`shifts` required")
    if len(moves) != len(axes) and (axes or len(moves) > 1):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(axes)}")
    return moves, axes


@roll.batching
def _roll_batch(input: Any, input_shape: Any, shifts: Ints, dims: Ints | None, size: int) -> Any:
    moves, axes = _moves(shifts, dims)
    if not axes:
        return reshape(roll(reshape(input, shape=(size, -1)), shifts=moves, dims=(1,)), shape=input.shape)
    if not input_shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return roll(input, shifts=moves, dims=tuple([wrap_dim(d, len(input_shape)) + 1 for d in axes]))


roll.derivative(input=lambda g, shifts, dims: roll(g, shifts=tuple([-n for n in _moves(shifts, dims)[0]]), dims=dims))


@array_op(view=True, name="unbind_views", public=False, grad_name="UnbindBackward0")
def unbind(input: Array, dim: int) -> tuple[Array, ...]:
    """The slices of `input` along `dim`, without that dimension: views."""
    axis = wrap_dim(dim, input.ndim)
    return tuple([input[(slice(None),) * axis + (i, Ellipsis)] for i in range(input.shape[axis])])


unbind.batching(lambda input, input_shape, dim: unbind(input, dim=wrap_dim(dim, len(input_shape)) + 1))
unbind.derivative(input=lambda gs, dim: stack(*gs, dim=dim))


@array_op(view=True)
def diagonal(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonal of the matrices in dimensions `dim1` and `dim2`, as the last dimension: a view.

    `offset` counts from the main diagonal to the right.
    """
    a, b = wrap_dim(dim1, input.ndim), wrap_dim(dim2, input.ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    result = input.diagonal(offset, a, b)
    if isinstance(result.flags.writeable, bool) and input.flags.writeable and not result.flags.writeable:
        result.flags.writeable = True  # NumPy protects it, though it is as good a view as any
    return result


@diagonal.batching
def _diagonal_batch(input: Any, input_shape: Any, offset: int, dim1: int, dim2: int) -> Any:
    a, b = (wrap_dim(d, len(input_shape)) + 1 for d in (dim1, dim2))
    return diagonal(input, offset=offset, dim1=a, dim2=b)


diagonal.derivative(
    input=lambda g, input_shape, offset, dim1, dim2: diagonal_backward(
        g, shape=input_shape, offset=offset, dim1=dim1, dim2=dim2
    )
)


@array_op(public=False, linear=["grad"])
def diagonal_backward(grad: Array, shape: Shape, offset: int, dim1: int, dim2: int) -> Array:
    """Zeros of `shape` with `grad` on a diagonal."""
    out = backend_of(grad).full(tuple(shape), 0, grad.dtype)
    diagonal.function(out, offset, dim1, dim2)[...] = grad
    return out


@diagonal_backward.batching
def _diagonal_backward_batch(grad: Any, shape: Shape, offset: int, dim1: int, dim2: int, size: int) -> Any:
    a, b = (wrap_dim(d, len(shape)) + 1 for d in (dim1, dim2))
    return diagonal_backward(grad, shape=(size, *shape), offset=offset, dim1=a, dim2=b)


diagonal_backward.derivative(grad=lambda g, offset, dim1, dim2: diagonal(g, offset=offset, dim1=dim1, dim2=dim2))
