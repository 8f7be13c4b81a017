"""Gathering: elements taken from the places that an index tensor names, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of, is_array
from .core import array_op, one_backend
from .dims import wrap_dim
from .shape import Shape, each_batched, reshape


def check_index(op: str, index: Array) -> None:
    """RuntimeError unless an index has one of the dtypes of indices."""
    if index.dtype not in (dtypes.int64.numpy, dtypes.int32.numpy):
        given = dtypes.from_numpy(index.dtype).name
        raise RuntimeError(f"{op}(): Expected dtype int64 or int32 for index, but got {given}: use index.long()")


def lines(x: Array) -> Array:
    """`x` with at least one dimension."""
    return x if x.ndim else x.reshape(1)


def check_places(op: str, input: Array, dim: int, index: Array, src: Any = None) -> int:
    """`dim` in [0, ndim); RuntimeError or IndexError if the index, or `src`, does not fit."""
    axis = wrap_dim(dim, input.ndim)
    if index.size:
        check_index(op, index)
    if is_array(src) and src.dtype != input.dtype:
        a, b = (dtypes.from_numpy(x.dtype).name for x in (input, src))
        raise RuntimeError(
            f"{op}(): Expected self.dtype to be equal to src.dtype, but got {a} and {b}: use src.to(self.dtype)"
        )
    if index.size == 0:
        return axis
    arrays = [("input" if op == "gather" else "self", input), *([("src", src)] if is_array(src) else [])]
    for name, x in arrays:
        if lines(x).ndim != lines(index).ndim:
            raise RuntimeError(
                f"{op}(): Index tensor must have the same number of dimensions as {name} tensor, but they have "
                f"{index.ndim} and {x.ndim}"
            )
    for d, n in enumerate(index.shape):
        inside = d == axis or n <= lines(input).shape[d]
        if op == "gather" and not inside:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no larger than self "
                f"{list(input.shape)} apart from dimension {axis}"
            )
        if not inside or (is_array(src) and n > lines(src).shape[d]):
            than = f" and to be no larger than src {list(src.shape)}" if is_array(src) else ""
            raise RuntimeError(
                f"{op}(): Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from "
                f"dimension {axis}{than}"
            )
    backend_of(input).check_index(op, index, lines(input).shape[axis], axis, negative=False)
    return axis


def reached(x: Array, index: Array, every: int | None = None) -> Array:
    """The part of `x` that an index reaches: as much as it has of all dimensions but `every`."""
    return lines(x)[tuple([slice(None) if d == every else slice(n) for d, n in enumerate(lines(index).shape)])]


@array_op(apart=True, linear=["input"])
def gather(input: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    """The elements of `input` that `index` names along `dim`: `out[i, j] = input[index[i, j], j]` for `dim` 0.

    `index` (int64 or int32) has the input's number of dimensions and, but for `dim`, no larger sizes; the result has
    its shape. The gradients of what was taken several times are added in a fixed order.

    Raises:
        RuntimeError: sizes or dtypes do not fit.
        IndexError: an index is out of range, as negative ones are; on CUDA at the next synchronisation.
    """
    backend = one_backend("gather", (input, index), ("input", "index"))
    if sparse_grad:
        raise NotImplementedError("gather(): gradients are dense here; leave out sparse_grad=True")
    axis = check_places("gather", input, dim, index)
    if index.size == 0:
        return backend.empty(index.shape, input.dtype)
    return backend.gather(reached(input, index, axis), lines(index), axis).reshape(index.shape)


@array_op(public=False, linear=["src"])
def scatter_add_zeros(src: Array, index: Array, shape: Shape, dim: int, unique: bool = False) -> Array:
    """Zeros of `shape` with `src`, which has the index's shape, added at the places that `index` names along `dim`.

    `unique` says that no place is named twice: then there is nothing to add up.
    """
    backend = backend_of(src)
    out = backend.full(tuple(shape), 0, src.dtype)
    if index.size:
        axis = wrap_dim(dim, len(shape))
        backend.scatter(reached(out, index, axis), lines(index), lines(src), axis, "unique" if unique else "sum")
    return out


gather.derivative(input=lambda g, index, input_shape, dim: scatter_add_zeros(g, index, shape=input_shape, dim=dim))
scatter_add_zeros.derivative(src=lambda g, index, dim: gather(g, index, dim=dim))


def members(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int) -> list[Any]:
    """The inputs with the batch in front and at least one more dimension; numbers and what is None as they are."""
    out = []
    for x, shape, b in zip(inputs, shapes, batched):
        if shape is not None:
            (x,) = each_batched((x,), (shape,), (b,), size)
            x = x if shape else reshape(x, shape=(size, 1))
        out.append(x)
    return out


def along_the_next(op: Any) -> None:
    """Give an op of tensors of one rank its batch rule: the same, along the dimension after."""

    @op.batching
    def rule(
        inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, attrs: dict[str, Any]
    ) -> Any:
        target = attrs.get("shape", shapes[0])
        given = {**attrs, "dim": wrap_dim(attrs["dim"], len(target)) + 1}
        if "shape" in attrs:
            given["shape"] = (size, *(target or (1,)))
        out = op(*members(inputs, shapes, batched, size), **given)
        return out if (shapes[1] if op is gather else target) else reshape(out, shape=(size,))


along_the_next(gather)
along_the_next(scatter_add_zeros)
