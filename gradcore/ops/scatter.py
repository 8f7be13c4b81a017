"""Scattering: elements put or added to the places that an index tensor names; and whole slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of, is_array
from ..expr import Scalar, call, trace
from .arithmetic import div, eq, mul, remainder, where
from .core import array_op, one_backend
from .dims import wrap_dim
from .elementwise import elementwise
from .gathering import (
    along_the_next,
    check_index,
    check_places,
    gather,
    lines,
    members,
    reached,
    scatter_add_zeros,
)
from .precision import CPU_WIDEST, CUDA_WIDEST
from .reductions import sum as sum_op
from .shape import Shape, expand, reshape

_SCALED = trace(lambda x, alpha: x * alpha)


@elementwise(name="nonzero_or_one", method=False)
def nonzero_or_one(input: Scalar) -> Scalar:
    """`input`, with 1 in the place of 0."""
    return call("where", call("eq", input, 0), 1, input)


@elementwise(name="is_zero", method=False)
def is_zero(input: Scalar) -> Scalar:
    """1.0 where `input` is 0, else 0.0."""
    return call("where", call("eq", input, 0), 1.0, 0.0)


@array_op(public=False, name="scatter_src", grad_name="ScatterBackward0", linear=["input src"])
def scatter_src(input: Array, index: Array, src: Array | float, dim: int) -> Array:
    """A copy of `input` with `src`, a number or of the index's shape, at the places that `index` names along `dim`."""
    backend = one_backend("scatter", (input, index, src), ("input", "index", "src"))
    axis = check_places("scatter", input, dim, index, src)
    out = backend.copy(input)
    if index.size:
        values = reached(src, index) if is_array(src) else backend.full(lines(index).shape, src, input.dtype)
        backend.scatter(reached(out, index, axis), lines(index), values, axis, "last")
    return out


scatter_src.derivative(
    input=lambda g, index, dim: scatter_src(g, index, 0, dim=dim),
    src=lambda g, index, dim: gather(g, index, dim=dim),
)


@array_op(inplace=True, linear=["input src"], precision=CUDA_WIDEST)
def scatter_add(input: Array, dim: int, index: Array, src: Array) -> Array:
    """`input` with `src` added at the places that `index` names along `dim`: `out[index[i, j], j] += src[i, j]` for 0.

    `index` and `src` have the input's number of dimensions; `index` is no larger than `src` and, but for `dim`, no
    larger than `input`. What falls on one place is added in a fixed order.

    Raises:
        RuntimeError: sizes or dtypes do not fit.
        IndexError: an index is out of range, as negative ones are; on CUDA at the next synchronisation.
    """
    backend = one_backend("scatter_add", (input, index, src), ("input", "index", "src"))
    axis = check_places("scatter_add", input, dim, index, src)
    out = backend.copy(input)
    if index.size:
        backend.scatter(reached(out, index, axis), lines(index), reached(src, index), axis, "sum")
    return out


scatter_add.derivative(input=lambda g: g, src=lambda g, index, dim: gather(g, index, dim=dim))

_COMBINE = {"sum": "sum", "prod": "prod", "mean": "sum", "amax": "max", "amin": "min"}
_NEUTRAL = {"sum": 0, "prod": 1, "mean": 0}


@array_op(inplace=True)
def scatter_reduce(
    input: Array, dim: int, index: Array, src: Array, reduce: str, *, include_self: bool = True
) -> Array:
    """`input` with what `src` puts on each place that `index` names along `dim` reduced: sum, prod, mean, amax or amin.

    Shapes and errors are those of `scatter_add`. Without `include_self` the input's own elements count only where
    nothing was put.
    """
    backend = one_backend("scatter_reduce", (input, index, src), ("input", "index", "src"))
    if reduce not in _COMBINE:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    axis = check_places("scatter_reduce", input, dim, index, src)
    out = backend.copy(input)
    if not index.size:
        return out
    xp, target, at, values = backend.xp, reached(out, index, axis), lines(index), reached(src, index)
    if not include_self:
        first = values if reduce in ("amax", "amin") else backend.full(at.shape, _NEUTRAL[reduce], out.dtype)
        backend.scatter(target, at, first, axis, "last")
    backend.scatter(target, at, values, axis, _COMBINE[reduce])
    if reduce == "mean":
        counts = backend.full(lines(out).shape, int(include_self), dtypes.int64.numpy)
        backend.scatter(reached(counts, at, axis), at, backend.full(at.shape, 1, counts.dtype), axis, "sum")
        counts = xp.maximum(counts, 1).reshape(out.shape)
        out = xp.floor_divide(out, counts) if out.dtype.kind in "iu" else (out / counts).astype(out.dtype)
    return out


@scatter_reduce.joint_derivative
def _scatter_reduce_rule(
    g: Any,
    input: Any,
    index: Any,
    src: Any,
    result: Any,
    needs: tuple[bool, ...],
    input_shape: Any,
    src_shape: Any,
    dim: int,
    reduce: str,
    include_self: bool,
) -> Any:
    if reduce in ("sum", "mean"):
        own = g
        if reduce == "mean":
            ones = where(eq(g, g), 1.0, 1.0)
            counts = mul(ones, int(include_self))
            counts = scatter_add(counts, index, gather(ones, index, dim=dim), dim=dim)
            own = div(g, where(eq(counts, 0), 1.0, counts))
        to_src = gather(own, index, dim=dim)
    elif reduce == "prod":
        own, to_src = _product_rule(g, input, index, src, dim, include_self)
    else:
        mine = where(eq(input, result), 1.0, 0.0)
        if not include_self:
            mine = scatter_src(mine, index, 0, dim=dim)
        theirs = where(eq(src, gather(result, index, dim=dim)), 1.0, 0.0)
        share = div(g, scatter_add(mine, index, theirs, dim=dim))
        own, to_src = mul(mine, share), mul(theirs, gather(share, index, dim=dim))
    if not include_self:
        own = scatter_src(own, index, 0, dim=dim)
    return own, None, to_src


def _product_rule(g: Any, input: Any, index: Any, src: Any, dim: int, include_self: bool) -> tuple[Any, Any]:
    """The gradients of products, in which each zero counts once: its own gradient is the product of the others."""
    base = input if include_self else scatter_src(input, index, 1, dim=dim)
    others = scatter_reduce(nonzero_or_one(base), index, nonzero_or_one(src), dim=dim, reduce="prod")
    zeros = scatter_add(is_zero(base), index, is_zero(src), dim=dim)

    def part(x: Any, g: Any, others: Any, zeros: Any) -> Any:
        at_zero = where(eq(mul(zeros, is_zero(x)), 1), others, 0.0)
        return mul(g, where(eq(zeros, 0), div(others, nonzero_or_one(x)), at_zero))

    there = [gather(t, index, dim=dim) for t in (g, others, zeros)]
    return part(base, g, others, zeros), part(src, *there)


# ---------------------------------------------------------------- whole slices
def _check_slices(op: str, input: Array, dim: int, index: Array) -> int:
    axis = wrap_dim(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"{op}(): Index is supposed to be a vector, but got dim: {index.ndim}")
    check_index(op, index)
    return axis


@array_op(apart=True, linear=["input"])
def index_select(input: Array, dim: int, index: Array) -> Array:
    """The slices of `input` along `dim` that `index`, a vector of int64 or int32, names: a copy.

    Raises:
        IndexError, RuntimeError: the index is no vector, of another dtype, or out of range, as negative ones are; on
            CUDA at the next synchronisation.
    """
    backend = one_backend("index_select", (input, index), ("input", "index"))
    axis = _check_slices("index_select", input, dim, index)
    x = lines(input)
    backend.check_index("index_select", index, x.shape[axis], axis, negative=False)
    out = backend.take(x, lines(index), axis)
    return out if input.ndim else out.reshape(())


@array_op(public=False, linear=["source"])
def index_add_zeros(source: Array, index: Array, shape: Shape, dim: int) -> Array:
    """Zeros of `shape` with the slices of `source` along `dim` added at the places `index`."""
    backend = backend_of(source)
    out = backend.full(tuple(shape), 0, source.dtype)
    axis = wrap_dim(dim, len(shape))
    backend.index_add(lines(out), (slice(None),) * axis + (lines(index),), lines(source))
    return out


index_select.derivative(input=lambda g, index, input_shape, dim: index_add_zeros(g, index, shape=input_shape, dim=dim))
index_add_zeros.derivative(source=lambda g, index, dim: index_select(g, index, dim=dim))


def _check_source(op: str, input: Array, axis: int, index: Array, source: Array) -> None:
    if source.dtype != input.dtype:
        raise RuntimeError(
            f"{op}(): self ({dtypes.type_name(input.dtype)}) and source ({dtypes.type_name(source.dtype)}) must have "
            "the same scalar type; use source.to(self.dtype)"
        )
    a, b = lines(input).shape, lines(source).shape
    if source.ndim and (len(a) != len(b) or a[:axis] + a[axis + 1 :] != b[:axis] + b[axis + 1 :]):
        raise RuntimeError(
            f"{op}(): source tensor shape must match self tensor shape, excluding the specified dimension. Got "
            f"self.shape = {list(a)} source.shape = {list(b)}"
        )
    if index.size != (b[axis] if source.ndim else 1):
        raise RuntimeError(
            f"{op}(): Number of indices ({index.size}) should be equal to source.size(dim): ({b[axis]}), for dim: "
            f"{axis}"
        )
    backend_of(input).check_index(op, index, a[axis], axis, negative=False)


@array_op(inplace=True, linear=["input source"])
def index_add(input: Array, dim: int, index: Array, source: Array, *, alpha: float = 1) -> Array:
    """`input` with `alpha` times the slices of `source` along `dim` added at the places `index`, in a fixed order.

    `index` is a vector with an entry for each slice; the other sizes of `source` are the input's.

    Raises:
        RuntimeError: sizes or dtypes do not fit.
        IndexError: an index is out of range, as negative ones are; on CUDA at the next synchronisation.
    """
    backend = one_backend("index_add", (input, index, source), ("input", "index", "source"))
    axis = _check_slices("index_add", input, dim, index)
    _check_source("index_add", input, axis, index, source)
    if not dtypes.from_numpy(input.dtype).is_floating_point:
        alpha = input.dtype.type(alpha).item()
    if alpha != 1:
        (source,) = backend.elementwise(_SCALED, (source, alpha), input.dtype, (input.dtype,), source.shape)
    out = backend.copy(input)
    backend.index_add(lines(out), (slice(None),) * axis + (lines(index),), source)
    return out


index_add.derivative(
    input=lambda g: g,
    source=lambda g, index, source_shape, dim, alpha: reshape(
        _times(index_select(g, index, dim=dim), alpha), shape=source_shape
    ),
)


def _times(g: Any, alpha: float) -> Any:
    return g if alpha == 1 else mul(g, alpha)


@array_op(inplace=True, linear=["input source"], precision=CPU_WIDEST)
def index_copy(input: Array, dim: int, index: Array, source: Array) -> Array:
    """`input` with the slices of `source` along `dim` at the places `index`. Shapes and errors are `index_add`'s."""
    backend = one_backend("index_copy", (input, index, source), ("input", "index", "source"))
    axis = _check_slices("index_copy", input, dim, index)
    _check_source("index_copy", input, axis, index, source)
    out = backend.copy(input)
    lines(out)[(slice(None),) * axis + (lines(index),)] = source
    return out


index_copy.derivative(
    input=lambda g, index, dim: index_fill_value(g, index, 0, dim=dim),
    source=lambda g, index, source_shape, dim: reshape(index_select(g, index, dim=dim), shape=source_shape),
)


@array_op(public=False, name="index_fill_value", grad_name="IndexFillBackward0", linear=["input value"])
def index_fill_value(input: Array, index: Array, value: Array | float, dim: int) -> Array:
    """`input` with one number in all elements of the slices along `dim` that `index` names."""
    backend = one_backend("index_fill", (input, index, value), ("input", "index", "value"))
    axis = _check_slices("index_fill", input, dim, index)
    if is_array(value) and value.ndim:
        raise RuntimeError(
            f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    backend.check_index("index_fill", index, lines(input).shape[axis], axis)
    out = backend.copy(input)
    lines(out)[(slice(None),) * axis + (lines(index),)] = value
    return out


index_fill_value.derivative(
    input=lambda g, index, dim: index_fill_value(g, index, 0, dim=dim),
    value=lambda g, index, dim: sum_op(index_select(g, index, dim=dim)),
)


# ---------------------------------------------------------------- batches
for _op in (scatter_src, scatter_add, scatter_reduce):
    along_the_next(_op)


def _slices_along_the_next(op: Any, each: Callable[..., Any]) -> None:
    """Give an op of slices its batch rule: the same along the dimension after, if all members share the index.

    Else `each(inputs, index, dim, attrs)` does it, with an index for each element.
    """

    @op.batching
    def rule(
        inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, attrs: dict[str, Any]
    ) -> Any:
        target = tuple(attrs.get("shape", shapes[0]))
        axis = wrap_dim(attrs["dim"], len(target))
        parts = members(inputs, shapes, batched, size)
        given = {**attrs, "dim": axis + 1}
        if "shape" in attrs:
            given["shape"] = (size, *(target or (1,)))
        if not batched[1]:
            parts[1] = inputs[1]
            out = op(*parts, **given)
        else:
            sizes = target or (1,)
            named = (*sizes[:axis], prod(shapes[1]), *sizes[axis + 1 :])
            row = (size, *(1,) * axis, prod(shapes[1]), *(1,) * (len(sizes) - axis - 1))
            out = each(parts, expand(reshape(inputs[1], shape=row), size=(size, *named)), given)
        return out if target else reshape(out, shape=(size,))


def _copied(parts: Any, index: Any, given: Any) -> Any:
    return scatter_src(parts[0], index, reshape(parts[2], shape=index.shape), dim=given["dim"])


_slices_along_the_next(index_select, lambda parts, index, given: gather(parts[0], index, dim=given["dim"]))
_slices_along_the_next(
    index_add_zeros,
    lambda parts, index, given: scatter_add_zeros(
        reshape(parts[0], shape=index.shape), index, shape=given["shape"], dim=given["dim"]
    ),
)
_slices_along_the_next(
    index_add,
    lambda parts, index, given: scatter_add(
        parts[0], index, _times(reshape(parts[2], shape=index.shape), given["alpha"]), dim=given["dim"]
    ),
)
_slices_along_the_next(index_copy, _copied)


@index_fill_value.batching
def _index_fill_batch(
    inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int, dim: int
) -> Any:
    axis = wrap_dim(dim, len(shapes[0]))
    (input,) = members(inputs[:1], shapes[:1], batched[:1], size)
    index, value = inputs[1:]
    if not batched[1] and not batched[2]:
        out = index_fill_value(input, index, value, dim=axis + 1)
    else:
        sizes = tuple(input.shape)
        row = (size if batched[1] else 1, *(1,) * axis, -1, *(1,) * (len(sizes) - axis - 2))
        index = reshape(remainder(index, sizes[axis + 1]), shape=row)
        named = (*sizes[: axis + 1], index.shape[axis + 1], *sizes[axis + 2 :])
        index = expand(index, size=named)
        if shapes[2] is not None:
            value = expand(reshape(value, shape=(-1, *(1,) * (len(named) - 1))), size=named)
        out = scatter_src(input, index, value, dim=axis + 1)
    return out if shapes[0] else reshape(out, shape=(size,))
