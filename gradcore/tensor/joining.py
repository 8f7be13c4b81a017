"""Functions that join and take apart, and views of a tensor that take its place: compositions of ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..autograd.inplace import apply_view_inplace
from ..autograd.tape import apply
from ..autograd.variable import Variable
from ..ops import rearrange, shape
from ..ops.dims import wrap_dim
from .functions import FUNCTIONS, METHODS, alias, function

if TYPE_CHECKING:
    from .tensor import Tensor


# ---------------------------------------------------------------- at least so many dimensions
def _each(tensors: tuple[Any, ...], change: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Variable):
        return change(tensors[0])
    return tuple([change(t) for t in (tensors[0] if len(tensors) == 1 else tensors)])


def _two(x: Any) -> Any:
    return x.reshape(1, 1) if x.ndim == 0 else x.unsqueeze(0) if x.ndim == 1 else x


def _three(x: Any) -> Any:
    return _two(x).unsqueeze(-1) if x.ndim < 3 else x


@function
def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, those without dimensions as vectors of one element; a tuple unless it is one tensor."""
    return _each(tensors, lambda x: x if x.ndim else x.reshape(1))


@function
def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, vectors as matrices of one row; a tuple unless it is one tensor."""
    return _each(tensors, _two)


@function
def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, matrices (n, m) as (n, m, 1); a tuple unless it is one tensor."""
    return _each(tensors, _three)


# ---------------------------------------------------------------- dimensions joined and taken apart
@function
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions `start_dim` to `end_dim` joined into one."""
    if input.ndim == 0:
        return input.reshape(1)
    a, b = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if a == b:
        return input
    sizes = input.shape
    joined = 1
    for n in sizes[a : b + 1]:
        joined *= n
    return input.reshape(*sizes[:a], joined, *sizes[b + 1 :])


@function
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension `dim` as several of these `sizes`, of which one may be -1.

    Raises:
        RuntimeError: the sizes do not multiply up to that of the dimension.
    """
    axis, size = wrap_dim(dim, input.ndim), tuple(sizes)
    if not size:
        raise RuntimeError("unflatten: sizes must be non-empty")
    whole = input.shape[axis]
    try:
        size = shape.infer_shape("unflatten", size, whole)
    except RuntimeError as error:
        if "invalid for input" not in str(error):
            raise
        raise RuntimeError(
            f"unflatten: Provided sizes {list(size)} don't multiply up to the size of dim {axis} ({whole}) in the "
            "input "
            "tensor"
        ) from None
    return input.reshape(*input.shape[:axis], *size, *input.shape[axis + 1 :])


# ---------------------------------------------------------------- joining
def _list(op: str, tensors: Any) -> list[Any]:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"{op}(): argument 'tensors' (position 1) must be tuple of Tensors, not {_kind(tensors)}")
    for i, t in enumerate(tensors):
        if not isinstance(t, Variable):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {_kind(t)}")
    if not tensors:
        raise RuntimeError(f"{op} expects a non-empty TensorList")
    return list(tensors)


def _kind(value: Any) -> str:
    return type(value).__name__


@function
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors as matrices of one row, joined along the first dimension."""
    return FUNCTIONS["cat"]([_two(t) for t in _list("vstack", tensors)], 0)


@function
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors joined along the second dimension; vectors along their only one."""
    parts = [atleast_1d(t) for t in _list("hstack", tensors)]
    return FUNCTIONS["cat"](parts, 0 if parts[0].ndim == 1 else 1)


@function
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors (n) as (1, n, 1) and matrices (n, m) as (n, m, 1), joined along the third dimension."""
    return FUNCTIONS["cat"]([_three(t) for t in _list("dstack", tensors)], 2)


@function
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors as columns, joined along the second dimension."""
    return hstack([t.reshape(t.numel(), 1) if t.ndim < 2 else t for t in _list("column_stack", tensors)])


for _name in ("vstack", "hstack", "dstack", "column_stack"):
    METHODS.pop(_name)
for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    METHODS.pop(_name)
alias("row_stack", "vstack")


@function
def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: of vectors of sizes n, m, ... one (n, m, ...) view for each of them.

    With `indexing="xy"` the first two dimensions change places: (m, n, ...).

    Raises:
        RuntimeError: a tensor has more than one dimension, dtypes differ, or `indexing` is neither of the two.
    """
    given: Any = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Variable) else tensors
    if not given:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in given:
        if t.ndim > 1:
            raise RuntimeError(f"gradcore.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t}")
        if t.dtype is not given[0].dtype:
            raise RuntimeError("gradcore.meshgrid expects all tensors to have the same dtype")
        if t.device != given[0].device:
            raise RuntimeError("gradcore.meshgrid expects all tensors to have the same device")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'gradcore.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    order = list(given)
    swapped = indexing == "xy" and len(order) > 1
    if swapped:
        order[:2] = order[1::-1]
    sizes = [t.numel() for t in order]
    grids = [t.reshape((-1, *(1,) * (len(order) - i - 1))).expand(sizes) for i, t in enumerate(order)]
    if swapped:
        grids[:2] = grids[1::-1]
    return tuple(grids)


METHODS.pop("meshgrid")


# ---------------------------------------------------------------- taking apart
@function
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of `input` along `dim`, without that dimension: views."""
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if input.shape[wrap_dim(dim, input.ndim)] == 0:
        return ()
    return apply(rearrange.unbind, (input,), {"dim": dim})


@function
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Of a vector the matrix with it on a diagonal, of a matrix its diagonal: a copy.

    `diagonal` counts from the main diagonal to the right.
    """
    if input.ndim == 1:
        n = input.shape[0] + abs(diagonal)
        return apply(rearrange.diagonal_backward, (input,), {"shape": (n, n), "offset": diagonal, "dim1": 0, "dim2": 1})
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return FUNCTIONS["diagonal"](input, diagonal).clone()


# ---------------------------------------------------------------- pixels
def _pixels(op: str, factor_name: str, input: Tensor, factor: int) -> tuple[int, int, int]:
    if input.ndim < 3:
        raise RuntimeError(
            f"{op} expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{op} expects a positive {factor_name}, but got {factor}")
    c, h, w = input.shape[-3:]
    return c, h, w


@function
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., c * r * r, h, w) to (..., c, h * r, w * r), r being `upscale_factor` (Shi et al., CVPR 2016).

    Raises:
        RuntimeError: the channels are not a multiple of r * r.
    """
    r = upscale_factor
    c, h, w = _pixels("pixel_shuffle", "upscale_factor", input, r)
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={c} is not divisible by {r * r}"
        )
    batch = tuple(input.shape[:-3])
    n = len(batch)
    parts = input.reshape(*batch, c // (r * r), r, r, h, w)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return parts.permute(order).reshape(*batch, c // (r * r), h * r, w * r)


@function
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., c, h * r, w * r) to (..., c * r * r, h, w), r being `downscale_factor`: what undoes `pixel_shuffle`.

    Raises:
        RuntimeError: height or width is not a multiple of r.
    """
    r = downscale_factor
    c, h, w = _pixels("pixel_unshuffle", "downscale_factor", input, r)
    for name, size, dim in (("height", h, -2), ("width", w, -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({dim})={size} is "
                f"not divisible by {r}"
            )
    batch = tuple(input.shape[:-3])
    n = len(batch)
    parts = input.reshape(*batch, c, h // r, r, w // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return parts.permute(order).reshape(*batch, c * r * r, h // r, w // r)


METHODS.pop("pixel_shuffle")
METHODS.pop("pixel_unshuffle")


# ---------------------------------------------------------------- views that take the tensor's place
def _in_place(op: Any, inverse: Any) -> Any:
    """The method that puts the view that `op` makes in the tensor's place; `inverse(self, attrs)` leads back."""

    def change(self: Any, attrs: dict[str, Any]) -> Any:
        return apply_view_inplace(op, self, attrs, inverse(self, attrs))

    return change


def _same(op: Any) -> Any:
    return lambda self, attrs: (op, attrs)


def _view_back(self: Any, attrs: dict[str, Any]) -> Any:
    return shape.reshape, {"shape": tuple(self.shape)}


_transpose, _t = _in_place(shape.transpose, _same(shape.transpose)), _in_place(shape.t, _same(shape.t))
_squeeze, _unsqueeze = _in_place(shape.squeeze, _view_back), _in_place(shape.unsqueeze, _view_back)


def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions of the tensor itself."""
    return _transpose(self, {"dim0": dim0, "dim1": dim1})


def t_(self: Tensor) -> Tensor:
    """Transpose the tensor itself, of at most two dimensions."""
    return _t(self, {})


def squeeze_(self: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Drop dimensions of size 1 (those among `dim`, if given) of the tensor itself."""
    return _squeeze(self, {"dim": dim})


def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """Insert a dimension of size 1 into the tensor itself."""
    return _unsqueeze(self, {"dim": dim})


METHODS.update({f.__name__: f for f in (transpose_, t_, squeeze_, unsqueeze_)})
METHODS["swapaxes_"] = METHODS["swapdims_"] = transpose_
