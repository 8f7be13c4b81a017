"""Padding, interpolation and pixel shuffling; part of `gradcore.nn.functional`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.tape import apply, wrap
from ...backends import backend_of
from ...ops import resampling
from ...ops.precision import CPU_FLOAT32, CUDA_FLOAT32
from ...tensor.tensor import Tensor

_SUPPORTED = """Supported combinations for non-constant padding:
  - 2D or 3D input: padding size = 2 (pads last dimension)
  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)
  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"""


# ---------------------------------------------------------------- padding
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`input` with more elements around it.

    Args:
        pad: (before, after) for the last dimension, then for the one before it, and so on. Negative numbers take away.
        mode: "constant" surrounds any number of dimensions with `value` (0). For the last one, two or three dimensions
            after the one or two of channels and batch, "reflect" goes on with the inner elements in reverse order,
            "replicate" with the outermost one, "circular" with those from the other end.

    Raises:
        RuntimeError: the padding does not fit the input; NotImplementedError: no such mode, or not for so many
            dimensions.

    >>> import gradcore
    >>> gradcore.nn.functional.pad(gradcore.tensor([[1, 2, 3]]), (1, 2), mode="reflect")
    tensor([[2, 1, 2, 3, 2, 1]])
    """
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    ndim, count = input.ndim, len(pad) // 2
    if count > ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {ndim}"
        )
    sides = [(int(pad[2 * i]), int(pad[2 * i + 1])) for i in range(count)]
    if mode == "constant":
        pads = [(0, 0)] * (ndim - count) + sides[::-1]
        number = input.dtype.numpy.type(0 if value is None else value).item()
        return apply(resampling.constant_pad, (input, number), {"pads": pads})
    if value:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _SOURCES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if not 1 <= count <= 3 or ndim not in (count + 1, count + 2):
        raise NotImplementedError(f"Padding size {len(pad)} is not supported for {ndim}D input tensor.\n{_SUPPORTED}")
    return (_padded if mode == "circular" else _mirrored)(input, sides, mode)


def _padded(input: Tensor, sides: Sequence[tuple[int, int]], mode: str) -> Tensor:
    out: Any = input
    ndim, count, backend = input.ndim, len(sides), backend_of(input._array)
    for i, (before, after) in enumerate(sides):
        axis = ndim - 1 - i
        n = input.shape[axis]
        if n == 0 or n + before + after < 0:
            raise RuntimeError(
                f"Expected {count + 1}D or {count + 2}D (batch mode) tensor with possibly 0 batch size and other "
                f"non-zero dimensions for input, but got: {list(input.shape)}"
            )
        if before or after:
            places = _SOURCES[mode](np.arange(-before, n + after), n, (before, after), axis, input.shape)
            rows = wrap(backend.from_host(places[None]))
            out = apply(resampling.resample, (out, rows, None), {"dim": axis})
    return out


_mirrored = with_precision(CPU_FLOAT32)(_padded)


def _reflected(i: Any, n: int, sides: tuple[int, int], axis: int, shape: Any) -> Any:
    if max(sides) >= n:
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({sides[0]}, {sides[1]}) at dimension {axis} of input {list(shape)}"
        )
    return n - 1 - np.abs(n - 1 - np.abs(i))


def _wrapped(i: Any, n: int, sides: tuple[int, int], axis: int, shape: Any) -> Any:
    if max(sides) > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    return i % n


_SOURCES: dict[str, Any] = {
    "reflect": _reflected,
    "replicate": lambda i, n, sides, axis, shape: np.clip(i, 0, n - 1),
    "circular": _wrapped,
}


# ---------------------------------------------------------------- interpolation
_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4}
_MODES = ("nearest", "nearest-exact", "area", *_LINEAR)


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """`input` (N, C, d1, ...), of one to three further dimensions, resized.

    Args:
        size: the new sizes of these dimensions, or one for all of them.
        scale_factor: instead, what to multiply the sizes by; they are rounded down.
        mode: "nearest", "nearest-exact" (which is NumPy's and Pillow's idea of it), "area" (the mean of what falls on
            an element), "linear" for one dimension, "bilinear" and "bicubic" (Keys, 1981, with a = -0.75) for two,
            "trilinear" for three.
        align_corners: of the latter, whether the centres of the corner elements, rather than their corners, stay where
            they are.
        recompute_scale_factor: whether the positions follow from the rounded sizes, and not from `scale_factor`.

    Raises:
        ValueError, RuntimeError: sizes and options do not fit; NotImplementedError: no such mode for such an input.
    """
    spatial = input.ndim - 2
    shown = list(input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if mode not in _LINEAR and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if input.ndim not in (3, 4, 5) or mode not in _MODES:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if antialias:
        raise NotImplementedError("interpolate(): antialias=True is not covered: smooth the input beforehand")
    scales: list[float | None] = [None] * spatial
    if size is not None:
        if isinstance(size, (tuple, list)) and len(size) != spatial:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {shown} and output size of {size}. Please provide input tensor in (N, C, d1, d2, "
                "...,dK) format and output size in (o1, o2, ...,oK) format."
            )
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        given: Any = size if isinstance(size, (tuple, list)) else [size] * spatial
        sizes = [int(n) for n in given]
    else:
        factors: Any = scale_factor if isinstance(scale_factor, (tuple, list)) else [scale_factor] * spatial
        if len(factors) != spatial:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {shown} and scale_factor of shape {scale_factor}. Please provide input tensor in "
                "(N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
            )
        sizes = [math.floor(float(n) * float(f)) for n, f in zip(shown, factors)]
        if not recompute_scale_factor and mode != "area":
            scales = [float(f) for f in factors]
    if mode in _LINEAR and input.ndim != _LINEAR[mode]:
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {_LINEAR[mode]}D input")
    if min(*sizes, *shown) <= 0:
        names = "DHW"[3 - spatial :]
        texts = [", ".join(f"{a}: {n}" for a, n in zip(names, part)) for part in (shown, sizes)]
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({texts[0]}) output ({texts[1]})"
        )
    if not input.is_floating_point() and not (input.dtype is dtypes.uint8 and mode.startswith("nearest")):
        name = mode.replace("-", "_")
        raise NotImplementedError(
            f"\"upsample_{name}{spatial}d\" not implemented for '{dtypes.type_name(input._array.dtype)}'"
        )
    return (_resized if mode == "area" else _interpolated)(input, sizes, scales, mode, align_corners)


def _resized(
    input: Tensor, sizes: Sequence[int], scales: Sequence[float | None], mode: str, align_corners: bool | None
) -> Tensor:
    out: Any = input
    kind = np.float64 if input.dtype is dtypes.float64 else np.float32
    for i, (n, m, scale) in enumerate(zip(input.shape[2:], sizes, scales)):
        if n == m and (scale is None or scale == 1):  # each element is its own place in all modes
            continue
        places, weights = _TERMS.get(mode, _linear)(n, m, scale, bool(align_corners), kind)
        backend = backend_of(out._array)
        rows = wrap(backend.from_host(places.astype(np.int64)))
        terms = None if weights is None else wrap(backend.from_host(weights.astype(kind)))
        out = apply(resampling.resample, (out, rows, terms), {"dim": i + 2})
    return out.clone() if out is input else out


_interpolated = with_precision(CUDA_FLOAT32)(_resized)


def _step(n: int, m: int, scale: float | None, kind: Any) -> Any:
    """How many elements of the input one of the result stands for."""
    return kind(1 / scale) if scale else kind(n) / kind(m)


def _nearest(n: int, m: int, scale: float | None, corners: bool, kind: Any) -> tuple[Any, None]:
    step = _step(n, m, scale, np.float32)
    return np.minimum(np.floor(np.arange(m, dtype=np.float32) * step), n - 1)[None], None


def _nearest_exact(n: int, m: int, scale: float | None, corners: bool, kind: Any) -> tuple[Any, None]:
    step = _step(n, m, scale, np.float32)
    return np.minimum(np.floor((np.arange(m, dtype=np.float32) + np.float32(0.5)) * step), n - 1)[None], None


def _positions(n: int, m: int, scale: float | None, corners: bool, kind: Any) -> Any:
    """Where in the input the centres of the result's elements lie."""
    i = np.arange(m, dtype=kind)
    if corners:
        return i * (kind(n - 1) / kind(m - 1) if m > 1 else kind(0))
    return _step(n, m, scale, kind) * (i + kind(0.5)) - kind(0.5)


def _linear(n: int, m: int, scale: float | None, corners: bool, kind: Any) -> tuple[Any, Any]:
    x = np.maximum(_positions(n, m, scale, corners, kind), 0)
    first = np.minimum(np.floor(x), n - 1)
    part = np.clip(x - first, 0, 1)
    return np.stack([first, np.minimum(first + 1, n - 1)]), np.stack([1 - part, part])


def _cubic(n: int, m: int, scale: float | None, corners: bool, kind: Any) -> tuple[Any, Any]:
    x = _positions(n, m, scale, corners, kind)
    first = np.floor(x)
    part, a = x - first, kind(-0.75)

    def near(t: Any) -> Any:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Any) -> Any:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    places = np.clip(np.stack([first + k for k in (-1, 0, 1, 2)]), 0, n - 1)
    return places, np.stack([far(part + 1), near(part), near(1 - part), far(2 - part)])


def _area(n: int, m: int, scale: float | None, corners: bool, kind: Any) -> tuple[Any, Any]:
    i = np.arange(m)
    start, end = i * n // m, -(-(i + 1) * n // m)
    most = int((end - start).max())
    places = start + np.arange(most)[:, None]
    inside = places < end
    return np.minimum(places, n - 1), inside / (end - start)


_TERMS: dict[str, Any] = {"nearest": _nearest, "nearest-exact": _nearest_exact, "area": _area, "bicubic": _cubic}


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The old name of `interpolate`."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)
