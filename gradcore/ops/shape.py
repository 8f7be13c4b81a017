"""Shapes: views, joining and splitting. Nothing here computes; most of it shares memory with its input."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index
from typing import Any

from ..backends import Array, backend_of
from ..formats import contiguous_format, memory_format, order_of, preserve_format
from .core import array_op, one_backend
from .dims import wrap_dim
from .precision import CPU_WIDEST

Shape = Sequence[int]


def infer_shape(op: str, shape: Shape, size: int) -> tuple[int, ...]:
    """`shape` with its one -1 filled in; RuntimeError if it cannot hold `size` elements."""
    shape = tuple(index(n) for n in shape)
    text = f"shape '{list(shape)}' is invalid for input of size {size}"
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if any(n < -1 for n in shape):
        raise RuntimeError(f"invalid shape dimension {min(shape)}")
    if -1 not in shape:
        if prod(shape) != size:
            raise RuntimeError(f"{op}(): {text}")
        return shape
    known = prod(n for n in shape if n != -1)
    if known == 0 and size == 0:
        raise RuntimeError(
            f"cannot reshape tensor of {size} elements into shape {list(shape)} because the unspecified dimension "
            "size -1 can be any value and is ambiguous"
        )
    if known == 0 or size % known:
        raise RuntimeError(f"{op}(): {text}")
    return tuple(size // known if n == -1 else n for n in shape)


@array_op(view=None, varargs="shape", grad_name="ViewBackward0")
def reshape(input: Array, shape: Shape) -> Array:
    """The same elements in another shape: a view where strides allow it, else a copy. One size may be -1."""
    return input.reshape(infer_shape("reshape", shape, input.size))


reshape.batching(
    lambda input, input_shape, shape, size: reshape(
        input, shape=(size, *infer_shape("reshape", shape, prod(input_shape)))
    )
)


def with_rank(x: Any, shape: Shape, rank: int, size: int) -> Any:
    """A batch of tensors of `shape` as one of tensors of `rank`, with leading dimensions of size 1."""
    return x if len(shape) == rank else reshape(x, shape=(size, *(1,) * (rank - len(shape)), *shape))


def each_ranked(
    inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], rank: int, size: int
) -> list[Any]:
    """The inputs, those that are batches as batches of tensors of `rank`: they broadcast as their members do."""
    return [with_rank(x, s, rank, size) if b else x for x, s, b in zip(inputs, shapes, batched)]


def each_batched(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int) -> list[Any]:
    """The inputs, each with the batch in front: expanded, where one is the same for all members."""
    return [x if b else expand(x, size=(size, *s)) for x, s, b in zip(inputs, shapes, batched)]


reshape.derivative(input=lambda g, input_shape: reshape(g, shape=input_shape))


@array_op(view=True, varargs="shape")
def view(input: Array, shape: Shape) -> Array:
    """A view of the same elements in another shape; RuntimeError if that would need a copy."""
    shape = infer_shape("view", shape, input.size)
    result = input.reshape(shape)
    if input.size and not backend_of(input).xp.may_share_memory(result, input):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return result


view.batching(
    lambda input, input_shape, shape, size: view(input, shape=(size, *infer_shape("view", shape, prod(input_shape))))
)
view.derivative(input=lambda g, input_shape: reshape(g, shape=input_shape))


@array_op(view=True)
def transpose(input: Array, dim0: int, dim1: int) -> Array:
    """`input` with two dimensions swapped: a view."""
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    return input.swapaxes(a, b) if input.ndim else input[...]


@transpose.batching
def _transpose_batch(input: Any, input_shape: Shape, dim0: int, dim1: int) -> Any:
    n = len(input_shape)
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    return transpose(input, dim0=a + 1, dim1=b + 1) if n else view(input, shape=input.shape)


transpose.derivative(input=lambda g, dim0, dim1: transpose(g, dim0=dim0, dim1=dim1))


@array_op(view=True)
def t(input: Array) -> Array:
    """The transpose of a tensor of at most two dimensions: a view."""
    _check_t(input.shape)
    return input.transpose()


def _check_t(shape: Shape) -> None:
    if len(shape) > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {len(shape)}D")


@t.batching
def _t_batch(input: Any, input_shape: Shape) -> Any:
    _check_t(input_shape)
    return transpose(input, dim0=-2, dim1=-1) if len(input_shape) == 2 else view(input, shape=input.shape)


t.derivative(input=lambda g: t(g))


@array_op(view=True, varargs="dims")
def permute(input: Array, dims: Sequence[int]) -> Array:
    """`input` with its dimensions in the order `dims`: a view."""
    return input.transpose(_order(dims, input.ndim))


def _order(dims: Sequence[int], ndim: int) -> list[int]:
    if len(dims) != ndim:
        raise RuntimeError(
            "permute(): number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(dims)}"
        )
    wrapped = [wrap_dim(d, ndim) for d in dims]
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return wrapped


permute.batching(
    lambda input, input_shape, dims: permute(input, dims=(0, *(d + 1 for d in _order(dims, len(input_shape)))))
)


def _inverse(dims: Sequence[int]) -> list[int]:
    wrapped = [wrap_dim(d, len(dims)) for d in dims]
    return [wrapped.index(i) for i in range(len(dims))]


permute.derivative(input=lambda g, dims: permute(g, dims=_inverse(dims)))


@array_op(view=True, grad_name=lambda node: f"SqueezeBackward{_several(node.attrs.get('dim'))}")
def squeeze(input: Array, dim: int | Sequence[int] | None = None) -> Array:
    """`input` without its dimensions of size 1 (those among `dim`, if given): a view."""
    if dim is None:
        return input.reshape(tuple(n for n in input.shape if n != 1))
    dims = [wrap_dim(d, input.ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    return input.reshape(tuple(n for i, n in enumerate(input.shape) if i not in dims or n != 1))


def _several(dim: Any) -> int:
    return 0 if dim is None else 1 if isinstance(dim, int) else 2


@squeeze.batching
def _squeeze_batch(input: Any, input_shape: Shape, dim: int | Sequence[int] | None) -> Any:
    n = len(input_shape)
    dims = range(n) if dim is None else [wrap_dim(d, n) for d in ((dim,) if isinstance(dim, int) else dim)]
    return squeeze(input, dim=[d + 1 for d in dims if n])


squeeze.derivative(input=lambda g, input_shape: reshape(g, shape=input_shape))


@array_op(view=True)
def unsqueeze(input: Array, dim: int) -> Array:
    """`input` with a dimension of size 1 inserted at `dim`: a view."""
    position = wrap_dim(dim, input.ndim + 1)
    return input.reshape(input.shape[:position] + (1,) + input.shape[position:])


unsqueeze.batching(lambda input, input_shape, dim: unsqueeze(input, dim=wrap_dim(dim, len(input_shape) + 1) + 1))
unsqueeze.derivative(input=lambda g, input_shape: reshape(g, shape=input_shape))


@array_op(view=True, varargs="size")
def expand(input: Array, size: Shape) -> Array:
    """`input` with dimensions of size 1 repeated to `size` (-1: unchanged) without copying: a view."""
    return backend_of(input).broadcast(input, _expanded(input.shape, size))


def _expanded(shape: Shape, size: Shape) -> tuple[int, ...]:
    """The shape that `expand` to `size` gives."""
    size = tuple(map(index, size))
    extra = len(size) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"expand(): the number of sizes provided ({len(size)}) must be greater or equal to the number of "
            f"dimensions in the tensor ({len(shape)})"
        )
    target = []
    for i, n in enumerate(size):
        old = shape[i - extra] if i >= extra else None
        if n == -1:
            if old is None:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
                )
            n = old
        elif old is not None and old != n and old != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at non-singleton "
                f"dimension {i}.  Target sizes: {list(size)}.  Tensor sizes: {list(shape)}"
            )
        target.append(n)
    return tuple(target)


# (Not `size`: that is the name of an attribute here.)
@expand.batching
def _expand_batch(inputs: Sequence[Any], shapes: Sequence[Shape], attrs: dict[str, Any]) -> Any:
    batch = inputs[0].shape[0]
    target = _expanded(shapes[0], attrs["size"])
    return expand(with_rank(inputs[0], shapes[0], len(target), batch), size=(batch, *target))


# The engine sums a gradient down to the shape of what was broadcast.
expand.derivative(input=lambda g: g)


def _laid_out(op: str, input: Array, format: memory_format, copy: bool) -> Array:
    """`input` with its elements in the order that a memory format asks for; itself if they are, unless `copy`."""
    order = order_of(op, format, input.ndim)
    moved = input if order is None else input.transpose(order)
    if moved.flags.c_contiguous and not copy:
        return input
    made = backend_of(input).copy(moved)
    return made if order is None else made.transpose(_inverse(order))


@array_op
def contiguous(input: Array, memory_format: memory_format = contiguous_format) -> Array:
    """`input` itself if its elements lie in memory in the order that is asked for, else a copy where they do."""
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return _laid_out("contiguous", input, memory_format, False)


contiguous.view = None
contiguous.batching(lambda input: contiguous(input))
contiguous.derivative(input=lambda g: g)


@array_op(linear=["input"])
def clone(input: Array, *, memory_format: memory_format = preserve_format) -> Array:
    """A copy, through which gradients flow."""
    return _laid_out("clone", input, memory_format, True)


clone.batching(lambda input: clone(input))
clone.derivative(input=lambda g: g)


@array_op(method=False, linear=["tensors"], apart=True, precision=CPU_WIDEST)
def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """The tensors joined along an existing dimension; one-dimensional empty ones are skipped."""
    if not tensors:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    xp = one_backend("cat", tensors, [f"tensors[{i}]" for i in range(len(tensors))]).xp
    parts = [x for x in tensors if x.shape != (0,)] or [tensors[0]]
    first = parts[0]
    if first.ndim == 0:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    axis = wrap_dim(dim, first.ndim)
    for i, x in enumerate(parts):
        if x.ndim != first.ndim:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}")
        for d, (n, m) in enumerate(zip(first.shape, x.shape)):
            if d != axis and n != m:
                raise RuntimeError(
                    f"cat(): Sizes of tensors must match except in dimension {axis}. Expected size {n} but got size "
                    f"{m} for tensor number {i} in the list."
                )
    dtype = _common_dtype(tensors)
    return xp.concatenate([x.astype(dtype, copy=False) for x in parts], axis=axis)


def _common_dtype(arrays: Sequence[Array]) -> Any:
    from .elementwise import promoted_type

    return promoted_type([(x.dtype, True) for x in arrays]).numpy


@cat.batching
def _cat_batch(inputs: Sequence[Any], shapes: Sequence[Shape], batched: Sequence[bool], size: int, dim: int) -> Any:
    kept = [i for i, shape in enumerate(shapes) if tuple(shape) != (0,)] or [0]
    if not shapes[kept[0]]:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    parts = each_batched([inputs[i] for i in kept], [shapes[i] for i in kept], [batched[i] for i in kept], size)
    return cat(*parts, dim=wrap_dim(dim, len(shapes[kept[0]])) + 1)


@cat.joint_derivative
def _cat_rule(g: Any, tensors_shape: Any, needs: tuple[bool, ...], dim: int) -> list[Any]:
    axis = wrap_dim(dim, len(g.shape))
    grads, start = [], 0
    for shape, need in zip(tensors_shape, needs):
        if shape == (0,):
            grads.append(reshape(narrow(g, dim=axis, start=0, length=0), shape=(0,)) if need else None)
            continue
        grads.append(narrow(g, dim=axis, start=start, length=shape[axis]) if need else None)
        start += shape[axis]
    return grads


@array_op(view=True, grad_name="SliceBackward0")
def narrow(input: Array, dim: int, start: int, length: int) -> Array:
    """The elements `start` to `start + length - 1` along `dim`: a view."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis = wrap_dim(dim, input.ndim)
    size = input.shape[axis]
    if start < 0:
        start += size
    if not 0 <= start <= size or length < 0 or start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return input[(slice(None),) * axis + (slice(start, start + length),)]


@narrow.batching
def _narrow_batch(input: Any, input_shape: Shape, dim: int, start: int, length: int) -> Any:
    if not input_shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    return narrow(input, dim=wrap_dim(dim, len(input_shape)) + 1, start=start, length=length)


narrow.derivative(
    input=lambda g, input_shape, dim, start, length: narrow_backward(
        g, shape=input_shape, dim=dim, start=start, length=length
    )
)


@array_op(public=False, linear=["grad"])
def narrow_backward(grad: Array, shape: Shape, dim: int, start: int, length: int) -> Array:
    """Zeros of `shape` with `grad` where `narrow` took its elements."""
    out = backend_of(grad).full(tuple(shape), 0, grad.dtype)
    axis = wrap_dim(dim, len(shape))
    start += shape[axis] if start < 0 else 0
    out[(slice(None),) * axis + (slice(start, start + length),)] = grad
    return out


narrow_backward.batching(
    lambda grad, shape, dim, start, length, size: narrow_backward(
        grad, shape=(size, *shape), dim=wrap_dim(dim, len(shape)) + 1, start=start, length=length
    )
)
narrow_backward.derivative(grad=lambda g, dim, start, length: narrow(g, dim=dim, start=start, length=length))


@array_op(method=False, linear=["tensors"], precision=CPU_WIDEST)
def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Tensors of one shape joined along a new dimension."""
    if not tensors:
        raise RuntimeError("stack(): expected a non-empty list of Tensors")
    xp = one_backend("stack", tensors, [f"tensors[{i}]" for i in range(len(tensors))]).xp
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise RuntimeError(
                f"stack(): stack expects each tensor to be equal size, but got {list(tensors[0].shape)} at entry 0 "
                f"and {list(x.shape)} at entry {i}"
            )
    axis = wrap_dim(dim, tensors[0].ndim + 1)
    dtype = _common_dtype(tensors)
    return xp.stack([x.astype(dtype, copy=False) for x in tensors], axis=axis)


stack.batching(
    lambda inputs, shapes, batched, size, dim: stack(
        *each_batched(inputs, shapes, batched, size), dim=wrap_dim(dim, len(shapes[0]) + 1) + 1
    )
)


@stack.joint_derivative
def _stack_rule(g: Any, needs: tuple[bool, ...], dim: int) -> list[Any]:
    axis = wrap_dim(dim, len(g.shape))
    return [squeeze(narrow(g, dim=axis, start=i, length=1), dim=axis) if need else None for i, need in enumerate(needs)]


@array_op(view=True, method=False, public=False, name="split_sizes", grad_name="SplitBackward0")
def split_sizes(input: Array, sizes: Sequence[int], dim: int) -> tuple[Array, ...]:
    """Consecutive pieces of the given sizes along `dim`: views."""
    axis = wrap_dim(dim, input.ndim)
    pieces, start = [], 0
    for n in sizes:
        pieces.append(input[(slice(None),) * axis + (slice(start, start + n),)])
        start += n
    return tuple(pieces)


split_sizes.batching(
    lambda input, input_shape, sizes, dim: split_sizes(input, sizes=sizes, dim=wrap_dim(dim, len(input_shape)) + 1)
)
split_sizes.derivative(input=lambda gs, dim: cat(*gs, dim=dim))


def split_shapes(size: int, split_size: int | Sequence[int], dim: int) -> list[int]:
    """The sizes of the pieces that `split` makes of a dimension of `size`."""
    if isinstance(split_size, int):
        if split_size < 0 or (split_size == 0 and size):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={split_size}")
        if size == 0:
            return [0]
        return [min(split_size, size - i) for i in range(0, size, split_size)]
    sizes = list(split_size)
    if any(n < 0 for n in sizes):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={sizes}"
        )
    if sum(sizes) != size:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {dim}), "
            f"but got split_sizes={sizes}"
        )
    return sizes
