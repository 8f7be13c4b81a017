"""Means and maxima of windows in one, two and three dimensions, of given sizes or of a given number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf, prod
from typing import Any

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.tape import apply
from ...backends import Windows
from ...ops import pooling as ops
from ...ops.precision import CPU_FLOAT32
from ...tensor.tensor import Tensor
from .families import documented

_KINDS = ("avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool", "max_unpool")
__all__ = [f"{kind}{n}d" for kind in _KINDS for n in (1, 2, 3)]  # noqa: PLE0605
__all__ += [f"{kind}{n}d_with_indices" for kind in ("max_pool", "adaptive_max_pool") for n in (1, 2, 3)]

Sizes = int | Sequence[int]
_NUMBERS = ("", "one", "two", "three")


@lru_cache(maxsize=1024)
def _windows(
    size: int, kernel: int, stride: int, padding: int, dilation: int, out: int, padded: bool, divisor: int | None
) -> Windows:
    """Windows of one size; their counts include the padding if `padded`, and are `divisor` if that is given."""
    starts, stops, counts = [], [], []
    for o in range(out):
        first = o * stride - padding
        last = min(first + dilation * (kernel - 1) + 1, size + padding)
        starts.append(first if first >= 0 else first + -(first // dilation) * dilation)
        stops.append(min(last, size))
        counts.append(divisor or (last - first if padded else stops[-1] - starts[-1]))
    return Windows(size, tuple(starts), tuple(stops), tuple(counts), dilation)


@lru_cache(maxsize=1024)
def _adaptive_windows(size: int, out: int) -> Windows:
    """As many windows as wanted, which together cover everything."""
    starts = tuple(o * size // out for o in range(out))
    stops = tuple(-(-(o + 1) * size // out) for o in range(out))
    return Windows(size, starts, stops, tuple(b - a for a, b in zip(starts, stops)))


def _expanded(op: str, name: str, value: Any, ndim: int, optional: str = "") -> tuple[int, ...]:
    given = (value,) if isinstance(value, int) else tuple(value)
    if len(given) not in (1, ndim):
        if ndim == 1:
            raise RuntimeError(
                f"{op}() {name} must be an int, list of ints or tuple of ints of size 1 but got size {len(given)}"
            )
        raise RuntimeError(f"{op}: {name} must either be {optional}a single int, or a tuple of {_NUMBERS[ndim]} ints")
    return given * ndim if len(given) == 1 else given


def _strides(op: str, stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    if stride is None or (not isinstance(stride, int) and not len(stride)):
        return kernel
    return _expanded(op, "stride", stride, len(kernel), "omitted, " if len(kernel) > 1 else "")


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are; with `ceil_mode` also one that begins inside and ends outside."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


def _sizes(shape: Sequence[int]) -> str:
    return f"({'x'.join(map(str, shape))})"


def _check_dtype(op: str, input: Tensor, integers: bool) -> None:
    if not input.is_floating_point() and (input.dtype is dtypes.bool_ or not integers):
        name = dtypes.type_name(input._array.dtype)
        raise NotImplementedError(f"\"{op}\" not implemented for '{name}': convert the input first")


def _check_dims(op: str, input: Tensor, ndim: int) -> None:
    """RuntimeError unless the input is (C, ...) or (N, C, ...), where N alone may be 0."""
    shape = list(input.shape)
    if ndim == 1 and op.startswith("max"):
        fits = len(shape) in (2, 3) and all(shape[len(shape) - 2 :])
        prefix = f"{op}: "
    elif ndim == 3 or len(shape) not in (ndim + 1, ndim + 2):
        if ndim == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument #1 'self' (while "
                f"checking arguments for {op})"
            )
        if len(shape) not in (ndim + 1, ndim + 2) or not all(shape[-ndim - 1 :]):
            kinds = "3D or 4D (batch mode) tensor" if ndim == 2 else "4D or 5D (batch mode) tensor"
            raise RuntimeError(f"non-empty {kinds} expected for input")
        return
    else:
        fits, prefix = all(shape[-ndim - 1 :]), ""
    if not fits:
        raise RuntimeError(
            f"{prefix}Expected {ndim + 1}D or {ndim + 2}D (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got:{shape}"
        )


def _check_line(op: str, size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> None:
    """The checks of `max_pool1d` without indices, which has messages of its own."""
    for name, value in (("kernel_size", kernel), ("stride", stride)):
        if value <= 0:
            raise RuntimeError(f"{op}() {name} must be greater than zero, but got {value}")
    if padding < 0:
        raise RuntimeError(f"{op}() padding must be non-negative, but got {padding}")
    if padding > (dilation * (kernel - 1) + 1) // 2:
        raise RuntimeError(
            f"{op}() padding should be at most half of kernel size, but got {padding=} and kernel_size={kernel}"
        )
    if dilation <= 0:
        raise RuntimeError(f"{op}() dilation must be greater than zero, but got {dilation}")
    out = _count(size, kernel, stride, padding, dilation, ceil_mode)
    if out < 1:
        raise RuntimeError(f"{op}() Invalid computed output size: {out}")


def _pools(
    op: str,
    input: Tensor,
    ndim: int,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    padded: bool = True,
    divisor: int | None = None,
    line: bool = False,
) -> tuple[Windows, ...]:
    kernel = _expanded(op, "kernel_size", kernel_size, ndim)
    strides = _strides(op, stride, kernel)
    pads, steps = _expanded(op, "padding", padding, ndim), _expanded(op, "dilation", dilation, ndim)
    sizes = input.shape[-ndim:]
    if line:
        _check_dims(op, input, ndim)
        _check_line(op, sizes[0], kernel[0], strides[0], pads[0], steps[0], ceil_mode)
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    if 0 in strides or 0 in kernel:
        raise RuntimeError("stride should not be zero")
    for k, p, d in zip(kernel, pads, steps):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if d > 0 and p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, but got "
                f"pad={p}, kernel_size={k} and dilation={d}"
            )
    if min(steps) <= 0:
        named = " ".join(f"dilation{axis}: {d}" for axis, d in zip("THW"[-max(ndim, 2) :], (1,) * (2 - ndim) + steps))
        raise RuntimeError(f"dilation should be greater than zero, but got {named}")
    if not line:
        _check_dims(op, input, ndim)
    outs = [_count(*each, ceil_mode) for each in zip(sizes, kernel, strides, pads, steps)]
    if min(outs) < 1:
        channels = input.shape[-ndim - 1]
        shape = (channels, *sizes) if ndim > 1 else (channels, 1, *sizes)
        found = (channels, *outs) if ndim > 1 else (channels, 1, *outs)
        raise RuntimeError(
            f"Given input size: {_sizes(shape)}. Calculated output size: {_sizes(found)}. Output size is too small"
        )
    divisors = (None,) * ndim if divisor is None else (1,) * (ndim - 1) + (divisor,)
    each = zip(sizes, kernel, strides, pads, steps, outs, (padded,) * ndim, divisors)
    return tuple(_windows(*values) for values in each)


def _avg_pool(
    ndim: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    op = f"avg_pool{ndim}d"
    windows = _pools(op, input, ndim, kernel_size, stride, padding, 1, ceil_mode, count_include_pad, divisor_override)
    _check_dtype(op, input, True)
    return apply(ops.mean_pool, (input,), {"windows": windows})


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); see `avg_pool2d`."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W) or (C, H, W).

    Args:
        kernel_size, stride, padding: an int, or one for each dimension; stride is kernel_size if not given, padding
            what is added, as zeros, on both sides: half a window at most.
        ceil_mode: also windows that begin inside and end outside.
        count_include_pad: whether the padding counts in the mean.
        divisor_override: what to divide the sums by instead.

    Raises:
        RuntimeError: shapes or options do not fit.
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@with_precision(CPU_FLOAT32)
def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


_MAX_POOL = """The largest element of each window of (N, C, {space}) or (C, {space}).

Args:
    kernel_size, stride, padding, dilation: an int, or one for each dimension; stride is kernel_size if not given,
        padding what is added, as minus infinity, on both sides: half a window at most.
    ceil_mode: also windows that begin inside and end outside.
    return_indices: also return, as int64, each one's place among the {space} of its channel. Of equal elements the
        first is taken, and gets the gradient; NaN counts as the largest.

Raises:
    RuntimeError: shapes or options do not fit.
"""

_ADAPTIVE = """The {what} of as many windows as wanted, which cover the input evenly: (N, C, {space}) or (C, {space}).

`output_size` is an int, or one for each dimension, of which None keeps the input's size.{more}

Raises:
    RuntimeError: shapes do not fit.
"""
_INDICES = " With `return_indices` also each one's place, as `max_pool{ndim}d` gives it."


def _max_pool(
    ndim: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    op = f"max_pool{ndim}d"
    line = ndim == 1 and not return_indices
    windows = _pools(op, input, ndim, kernel_size, stride, padding, dilation, ceil_mode, line=line)
    _check_dtype("max_pool1d_impl" if ndim == 1 else op, input, ndim > 1)
    values, indices = apply(ops.max_pool, (input,), {"windows": windows})
    return (values, indices) if return_indices else values


@documented(_MAX_POOL, 1)
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` with its indices."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@documented(_MAX_POOL, 2)
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` with its indices."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@documented(_MAX_POOL, 3)
@with_precision(CPU_FLOAT32)
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@with_precision(CPU_FLOAT32)
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool3d` with its indices."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def _adaptive(op: str, input: Tensor, output_size: Any, ndim: int) -> tuple[Windows, ...]:
    shape = list(input.shape)
    if not isinstance(output_size, int) and output_size is not None and len(shape) <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    if len(shape) not in (ndim + 1, ndim + 2):
        if ndim == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument #1 'self' (while "
                f"checking arguments for {op})"
            )
        raise RuntimeError(f"{op}(): Expected {ndim + 1}D or {ndim + 2}D tensor, but got {shape}")
    given = (output_size,) * ndim if isinstance(output_size, int) or output_size is None else tuple(output_size)
    if len(given) != ndim:
        raise RuntimeError(f"{op}: output_size must be {ndim}")
    outs = tuple(n if out is None else out for n, out in zip(shape[-ndim:], given))
    if min(outs) < 0:
        raise RuntimeError(
            f"{op}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, outs))}}}"
        )
    for dim in range(1, ndim + 1):
        if shape[-dim] == 0:
            raise RuntimeError(
                f"{op}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {shape} "
                f"with dimension {len(shape) - dim} being empty"
            )
    return tuple(_adaptive_windows(n, out) for n, out in zip(shape[-ndim:], outs))


def _adaptive_avg_pool(ndim: int, input: Tensor, output_size: Any) -> Tensor:
    op = f"adaptive_avg_pool{ndim}d"
    windows = _adaptive(op, input, output_size, ndim)
    _check_dtype(op, input, False)
    return apply(ops.mean_pool, (input,), {"windows": windows})


def _adaptive_max_pool(ndim: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    op = f"adaptive_max_pool{ndim}d"
    windows = _adaptive(op, input, output_size, ndim)
    _check_dtype(op, input, False)
    values, indices = apply(ops.max_pool, (input,), {"windows": windows})
    return (values, indices) if return_indices else values


@documented(_ADAPTIVE, 1, what="mean", more="")
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    return _adaptive_avg_pool(1, input, output_size)


@documented(_ADAPTIVE, 1, what="largest element", more=_INDICES)
def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` with its indices."""
    return _adaptive_max_pool(1, input, output_size, True)


@documented(_ADAPTIVE, 2, what="mean", more="")
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    return _adaptive_avg_pool(2, input, output_size)


@documented(_ADAPTIVE, 2, what="largest element", more=_INDICES)
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` with its indices."""
    return _adaptive_max_pool(2, input, output_size, True)


@documented(_ADAPTIVE, 3, what="mean", more="")
@with_precision(CPU_FLOAT32)
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    return _adaptive_avg_pool(3, input, output_size)


@documented(_ADAPTIVE, 3, what="largest element", more=_INDICES)
@with_precision(CPU_FLOAT32)
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    return _adaptive_max_pool(3, input, output_size, return_indices)


@with_precision(CPU_FLOAT32)
def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool3d` with its indices."""
    return _adaptive_max_pool(3, input, output_size, True)


# ---------------------------------------------------------------- power means
_LP = """The sum of the powers `norm_type` of each window, to the power `1 / norm_type`; for infinity the largest.

    See `avg_pool{ndim}d` for the sizes; windows over the edge count with all that they would hold.
    """


def _lp_pool(ndim: int, input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None, ceil_mode: bool) -> Any:
    mean_of, largest_of = _BY_DIMENSIONS[ndim]
    if abs(norm_type) == inf:
        found = largest_of(input.abs() if norm_type > 0 else -input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        return found if norm_type > 0 else -found
    mean = mean_of(input**norm_type, kernel_size, stride, 0, ceil_mode)
    count = prod(_expanded("lp_pool", "kernel_size", kernel_size, ndim))
    # (Times 1 or -1 and then the magnitude: the gradient is 0, not NaN, where the mean is 0.)
    return ((mean.sign() * mean.abs().relu()) * count) ** (1 / norm_type)


@documented(_LP, 1)
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@documented(_LP, 2)
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@documented(_LP, 3)
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


_BY_DIMENSIONS: dict[int, tuple[Any, Any]] = {
    1: (avg_pool1d, max_pool1d),
    2: (avg_pool2d, max_pool2d),
    3: (avg_pool3d, max_pool3d),
}


# ---------------------------------------------------------------- the way back
_UNPOOL = """What `max_pool{ndim}d` took the largest elements of, with 0 for all that it left out.

    Args:
        input: (N, C, {space}) or (C, {space}), and indices, of the same shape, as `max_pool{ndim}d` gave them.
        kernel_size, stride, padding: those of `max_pool{ndim}d`.
        output_size: the spatial sizes of the result, where several fit.

    Raises:
        ValueError, RuntimeError: shapes, sizes or indices do not fit.
    """


def _max_unpool(
    ndim: int, input: Any, indices: Any, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, output_size: Any
) -> Any:
    op = f"max_unpooling{ndim}d"
    if input.ndim not in (ndim + 1, ndim + 2):
        raise RuntimeError(
            f"Input to {op} should be a {ndim + 1}d or {ndim + 2}d Tensor, but got a tensor with {input.ndim} "
            "dimensions."
        )
    if indices.dtype is not dtypes.int64:
        given = dtypes.type_name(indices._array.dtype)
        raise RuntimeError(f"elements in indices should be type int64 but got: {given}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    kernel = _expanded(op, "kernel_size", kernel_size, ndim)
    steps = kernel if stride is None else _expanded(op, "stride", stride, ndim)
    sides = _expanded(op, "padding", padding, ndim)
    lead, spatial = input.shape[:-ndim], input.shape[-ndim:]
    size = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(spatial, steps, sides, kernel)]
    if output_size is not None:
        wanted = tuple(output_size)
        if len(wanted) == ndim + 2:
            wanted = wanted[2:]
        if len(wanted) != ndim:
            raise ValueError(
                f"output_size should be a sequence containing {ndim} or {ndim + 2} elements, but it has a length of "
                f"'{len(wanted)}'"
            )
        for d, (n, usual, s) in enumerate(zip(wanted, size, steps)):
            if not usual - s < n < usual + s:
                raise ValueError(
                    f'invalid output_size "{wanted}" (dim {d} must be between {usual - s} and {usual + s})'
                )
        size = list(wanted)
    places, values = (t.reshape(*lead, prod(spatial)) for t in (indices, input))
    return values.new_zeros((*lead, prod(size))).scatter(-1, places, values).reshape(*lead, *size)


@documented(_UNPOOL, 1)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@documented(_UNPOOL, 2)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@documented(_UNPOOL, 3)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
