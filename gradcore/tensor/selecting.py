"""Functions that select, sort and repeat elements: overloads and compositions of ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..autograd.inplace import apply_inplace, write_out
from ..autograd.tape import apply, wrap
from ..autograd.variable import Variable
from ..backends import backend_of
from ..ops import gathering, masking, rearrange, sorting
from ..ops import scatter as scattering
from ..ops.dims import wrap_dim
from .creation import full_like
from .functions import FUNCTIONS, METHODS, ReturnType, function

if TYPE_CHECKING:
    from .tensor import Tensor


# ---------------------------------------------------------------- scattering
_REDUCE = {"add": "sum", "multiply": "prod"}


def _scatter(run: Any, input: Any, dim: int, index: Any, src: Any, value: Any, reduce: str | None) -> Any:
    if (src is None) == (value is None):
        raise TypeError("scatter(): takes either src or value")
    src = value if src is None else src
    if reduce is None:
        return run(scattering.scatter_src, (input, index, src), {"dim": dim})
    if reduce not in _REDUCE:
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not isinstance(src, Variable):
        src = full_like(index, src, dtype=input.dtype)
    return run(scattering.scatter_reduce, (input, index, src), {"dim": dim, "reduce": _REDUCE[reduce]})


@function
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`input` with `src` at the places that `index` names along `dim`: `out[index[i, j], j] = src[i, j]` for `dim` 0.

    Args:
        index: int64 or int32, of the input's number of dimensions, no larger than `src` and, but for `dim`, than
            `input`.
        src: a tensor of the input's dtype, or a number, which may also be given as `value`. Of several elements for one
            place the last counts; their gradients are as if each did.
        reduce: "add" or "multiply" what was there, instead of writing.

    Raises:
        RuntimeError: sizes or dtypes do not fit.
        IndexError: an index is out of range, as negative ones are; on CUDA at the next synchronisation.
    """
    return _scatter(apply, input, dim, index, src, value, reduce)


def scatter_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`scatter` in place: the tensor is changed and returned."""
    return _scatter(apply_inplace, self, dim, index, src, value, reduce)


@function
def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | float) -> Tensor:
    """`input` with one number in all elements of the slices along `dim` that `index`, a vector, names."""
    return apply(scattering.index_fill_value, (input, index, value), {"dim": dim})


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Tensor | float) -> Tensor:
    """`index_fill` in place: the tensor is changed and returned."""
    return apply_inplace(scattering.index_fill_value, (self, index, value), {"dim": dim})


METHODS.update({"scatter_": scatter_, "index_fill_": index_fill_})


# ---------------------------------------------------------------- masks
@function
def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements of `input` where the bool `mask` is True, as a vector; the two are broadcast to one shape."""
    if out is not None:
        return write_out("masked_select", (input, mask), out, lambda: masked_select(input, mask), apart=True)
    masking.check_mask("masked_select", mask._array)
    shape = np.broadcast_shapes(input.shape, mask.shape)
    return input.expand(shape)[mask.expand(shape)]


@function
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """The positions of the elements that are not 0: int64 of shape (their number, input.ndim), in their order.

    With `as_tuple` a vector for each dimension, as for indexing; a tensor without dimensions counts as a vector.
    """
    if as_tuple:
        array = gathering.lines(input._array)
        return tuple([wrap(a) for a in sorting.places(array)])
    array = input._array
    found = sorting.places(gathering.lines(array))
    backend = backend_of(array)
    if array.ndim == 0:
        return wrap(backend.empty((found[0].size, 0), dtypes.int64.numpy))
    return wrap(backend.xp.stack(found, 1))


@function
def argwhere(input: Tensor) -> Tensor:
    """The positions of the elements that are not 0, as `nonzero` gives them."""
    return nonzero(input)


# ---------------------------------------------------------------- order
class sort_result(ReturnType):
    def __repr__(self) -> str:
        return f"gradcore.return_types.sort(\nvalues={self.values!r},\nindices={self.indices!r})"


class topk_result(ReturnType):
    def __repr__(self) -> str:
        return f"gradcore.return_types.topk(\nvalues={self.values!r},\nindices={self.indices!r})"


@function
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> sort_result:
    """`(values, indices)`: the elements along `dim` in order, and where (int64) each came from.

    Equal elements keep their order, whether or not `stable` asks for that; NaN counts as the largest. `indices` may be
    used with `gather`.

    >>> import gradcore
    >>> gradcore.sort(gradcore.tensor([2.0, 1.0, 3.0]), descending=True).indices
    tensor([2, 0, 1])
    """
    return sort_result(*apply(sorting.sort, (input,), {"dim": dim, "descending": descending}))


@function
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Tensor:
    """Where (int64) each element of the sorted tensor came from: the indices of `sort`."""
    return sort(input.detach(), dim, descending).indices


@function
def msort(input: Tensor) -> Tensor:
    """`input` sorted along its first dimension."""
    return sort(input, 0).values


@function
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> topk_result:
    """`(values, indices)`: the `k` largest (or smallest) elements along `dim` in order, and their positions (int64).

    They are in order, whether or not `sorted` asks for that; NaN counts as the largest.

    Raises:
        RuntimeError: there are fewer than `k` elements.

    >>> import gradcore
    >>> gradcore.topk(gradcore.tensor([2.0, 1.0, 3.0]), 2).values
    tensor([3., 2.])
    """
    return topk_result(*apply(sorting.topk, (input,), {"k": int(k), "dim": dim, "largest": largest}))


@function
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements of `input`, or slices along `dim`, in ascending order, also without `sorted`.

    With `return_inverse` also where each element of the input is among them, with `return_counts` also how often each
    occurs: the result is a tuple then. NaNs count as different.
    """
    array = input._array
    axis = None if dim is None else wrap_dim(dim, array.ndim)
    if axis is not None and array.size == 0 and array.shape[axis]:
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    found = sorting.unique(array, axis, return_inverse, return_counts)
    tensors = tuple([wrap(a) for a in found])
    return tensors if len(tensors) > 1 else tensors[0]


# ---------------------------------------------------------------- repetition
def repeat(self: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """The tensor laid `repeats` times behind itself along each dimension: a copy. There may be new ones in front.

    Raises:
        RuntimeError: there are fewer numbers than dimensions, or negative ones.
    """
    if not repeats:
        raise TypeError('repeat() missing 1 required positional arguments: "repeats"')
    given = repeats[0] if len(repeats) == 1 and isinstance(repeats[0], (tuple, list)) else repeats
    return apply(rearrange.repeat, (self,), {"repeats": tuple([int(n) for n in given])})  # type: ignore[arg-type]


METHODS["repeat"] = repeat


@function
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """`input` laid `dims` times behind itself along its last dimensions."""
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    return repeat(input, (1,) * (input.ndim - len(dims)) + dims)


def _repeated(repeats: Tensor) -> Any:
    """The numbers 0, 1, ... as often as `repeats` says, on its device."""
    counts = repeats._array
    if counts.dtype not in (dtypes.int64.numpy, dtypes.int32.numpy):
        name = dtypes.type_name(counts.dtype)
        raise NotImplementedError(f"\"repeat_interleave\" not implemented for '{name}': use repeats.long()")
    if counts.ndim > 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    host = backend_of(counts).to_host(gathering.lines(counts))
    if (host < 0).any():
        raise RuntimeError("repeats can not be negative")
    return host


@function
def repeat_interleave(
    input: Tensor, repeats: Tensor | int | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each slice of `input` along `dim` (None: each element, as a vector) `repeats` times, one behind the other.

    `repeats` is a number, or a vector with one for each slice. `repeat_interleave(repeats)` gives the positions: 0 as
    often as the first number says, then 1, and so on.

    Raises:
        RuntimeError: a number is negative, `repeats` has another size than `dim`, or the result than `output_size`.
    """
    if repeats is None:
        host = _repeated(input)
        return wrap(backend_of(input._array).from_host(np.repeat(np.arange(host.size), host).astype(input.dtype.numpy)))
    if dim is None:
        input, dim = input.flatten(), 0
    axis = wrap_dim(dim, input.ndim)
    lines = input.reshape(1) if input.ndim == 0 else input
    n = lines.shape[axis]
    if isinstance(repeats, Variable):
        host = _repeated(repeats)
        if host.size not in (1, n):
            raise RuntimeError(
                "repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{host.size} and input.size({axis}) = {n}"
            )
    else:
        host = np.array([repeats])
        if repeats < 0:
            raise RuntimeError(f"Repeats must be non-negative, got {repeats}")
    if host.size == 1 and n != 1:
        times = int(host[0])
        spread = lines.unsqueeze(axis + 1)
        shape = (*lines.shape[: axis + 1], times, *lines.shape[axis + 1 :])
        out = spread.expand(shape).flatten(axis, axis + 1)
    else:
        index = backend_of(lines._array).from_host(np.repeat(np.arange(n), host))
        out = FUNCTIONS["index_select"](lines, axis, wrap(index))
    if output_size is not None and out.shape[axis] != output_size:
        raise RuntimeError(f"repeat_interleave: Invalid output_size, expected {out.shape[axis]} but got {output_size}")
    return out


@function
def fliplr(input: Tensor) -> Tensor:
    """`input`, of at least two dimensions, with its columns in reverse order: a copy."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return FUNCTIONS["flip"](input, 1)


@function
def flipud(input: Tensor) -> Tensor:
    """`input` with its rows in reverse order: a copy."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return FUNCTIONS["flip"](input, 0)
