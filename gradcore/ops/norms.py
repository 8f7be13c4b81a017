"""Layer norm and RMS norm: a kernel over rows, its one-pass backward, and their definition in plain ops."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import add, mul, sub
from .convert import to_copy
from .core import array_of, array_op, one_backend
from .functions import rsqrt
from .precision import CUDA_FLOAT32
from .reductions import mean

Shape = tuple[int, ...]


def _check(shape: Shape, parameters: tuple[tuple[str, Array | None], ...]) -> None:
    """RuntimeError unless the parameters have the `shape` that is normalized over."""
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for name, parameter in parameters:
        if parameter is not None and parameter.shape != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(parameter.shape)} and normalized_shape = {list(shape)}"
            )


def _check_dtype(kernel: str, x: Array) -> None:
    if not dtypes.from_numpy(x.dtype).is_floating_point:
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{dtypes.type_name(x.dtype)}': convert the input first, as in "
            "input.float()"
        )


def check_mixed(x: Array, parameters: tuple[Array | None, ...]) -> None:
    """RuntimeError unless the parameters have the input's dtype or, for a half-precision input, are all float32."""
    given = [p.dtype for p in parameters if p is not None]
    if all(d == x.dtype for d in given):
        return
    place = backend_of(x).device.type.upper()
    if any(d != dtypes.float32.numpy for d in given):
        raise RuntimeError(
            f"mixed dtype ({place}): expect parameter to have scalar type of Float; the input is "
            f"{dtypes.type_name(x.dtype)}, so give weight and bias its dtype"
        )
    if x.dtype.itemsize != 2:
        raise RuntimeError(
            f"mixed dtype ({place}): all inputs must share same datatype. The input is {dtypes.type_name(x.dtype)}, "
            "weight and bias are Float: convert one of them"
        )


def _rows(x: Array, columns: int) -> Array:
    """`x` as a C-contiguous matrix with rows of `columns`."""
    if not x.flags.c_contiguous:
        x = backend_of(x).copy(x)
    return x if x.ndim == 2 and x.shape[1] == columns else x.reshape(x.size // columns if columns else 0, columns)


def _flat(parameter: Array | None) -> Array | None:
    if parameter is None:
        return None
    if not parameter.flags.c_contiguous:
        parameter = backend_of(parameter).copy(parameter)
    return parameter if parameter.ndim == 1 else parameter.reshape(-1)


def _shaped(array: Array | None, shape: Shape) -> Array | None:
    return array if array is None or array.shape == shape else array.reshape(shape)


def _normalize(
    backend: Any, x: Array, shape: Shape, weight: Array | None, bias: Array | None, eps: float, centered: bool
) -> tuple[Array, Array | None, Array]:
    rows = _rows(x, prod(shape))
    out, mu, rstd = backend.layer_norm(rows, _flat(weight), _flat(bias), eps, x.dtype, centered)
    return _shaped(out, x.shape), mu, rstd


def _gradients(
    g: Array, x: Array, weight: Array | None, shape: Shape, mu: Array | None, rstd: Array, needs: tuple[bool, ...]
) -> tuple[Array | None, ...]:
    columns = prod(shape)
    found = backend_of(x).layer_norm_backward(_rows(g, columns), _rows(x, columns), mu, rstd, _flat(weight), needs)
    return _shaped(found[0], x.shape), _shaped(found[1], shape), _shaped(found[2], shape)


@array_op(name="native_layer_norm", public=False, grad_name="NativeLayerNormBackward0", precision=CUDA_FLOAT32)
def layer_norm(
    input: Array, weight: Array | None, bias: Array | None, normalized_shape: Shape, eps: float
) -> tuple[Array, Array, Array]:
    """`(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimensions, which are `normalized_shape`.

    Returns the result, and each row's mean and `1 / sqrt(variance + eps)` in the dtype computed in.
    """
    backend = one_backend("layer_norm", (input, weight, bias), ("input", "weight", "bias"))
    _check_layer_norm(input, weight, bias, normalized_shape)
    check_mixed(input, (weight, bias))
    out, mu, rstd = _normalize(backend, input, normalized_shape, weight, bias, eps, True)
    return out, mu, rstd


def _check_layer_norm(input: Array, weight: Array | None, bias: Array | None, normalized_shape: Shape) -> None:
    _check(normalized_shape, (("weight", weight), ("bias", bias)))
    if input.shape[-len(normalized_shape) :] != normalized_shape:
        sizes = ", ".join(map(str, normalized_shape))
        raise RuntimeError(
            f"Given normalized_shape=[{sizes}], expected input with shape [*, {sizes}], but got input of "
            f"size{list(input.shape)}"
        )
    _check_dtype("LayerNormKernelImpl", input)


@layer_norm.batching
def _layer_norm_batch(
    inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], attrs: dict[str, Any]
) -> Any:
    # The members' rows are rows of one matrix, if they share the parameters.
    shape = attrs["normalized_shape"]
    own = not any(batched[1:]) and shape and shapes[0][-len(shape) :] == shape
    return layer_norm(*inputs, **attrs) if own else NotImplemented


@layer_norm.joint_derivative
def _layer_norm_rule(
    g: Array,
    input: Array,
    weight: Array | None,
    result1: Array,
    result2: Array,
    needs: tuple[bool, ...],
    normalized_shape: Shape,
) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    return _gradients(g, input, weight, normalized_shape, result1, result2, needs)


@layer_norm.composite_of
def _layer_norm_composite(input: Any, weight: Any, normalized_shape: Shape, eps: float, bias: Any = None) -> Any:
    # (No derivative depends on the bias: one that wants no gradient was not kept.)
    _check_layer_norm(array_of(input), array_of(weight), array_of(bias), normalized_shape)
    x = widened(input)
    return _scaled(sub(x, _mean(x, normalized_shape)), weight, bias, normalized_shape, eps, input)


@array_op(name="native_rms_norm", public=False, grad_name="FusedRmsNormBackward0", precision=CUDA_FLOAT32)
def rms_norm(input: Array, weight: Array | None, normalized_shape: Shape, eps: float) -> tuple[Array, Array]:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimensions, which are `normalized_shape`.

    Returns the result, and each row's `1 / sqrt(mean(x^2) + eps)` in the dtype computed in.
    """
    backend = one_backend("rms_norm", (input, weight), ("input", "weight"))
    _check_rms_norm(input, weight, normalized_shape)
    out, _, rstd = _normalize(backend, input, normalized_shape, weight, None, eps, False)
    return out, rstd


def _check_rms_norm(input: Array, weight: Array | None, normalized_shape: Shape) -> None:
    _check(normalized_shape, (("weight", weight),))
    ndim = len(normalized_shape)
    if input.ndim < ndim:
        raise ValueError(f"Input tensor must have at least {ndim} dimensions, but got {input.ndim}")
    if input.shape[-ndim:] != normalized_shape:
        sizes = ", ".join(map(str, normalized_shape))
        raise RuntimeError(
            f"Given normalized_shape=[{sizes}], expected input with shape [*{sizes}], but got input of "
            f"size{list(input.shape)}"
        )
    _check_dtype("rms_norm", input)


@rms_norm.batching
def _rms_norm_batch(
    inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], attrs: dict[str, Any]
) -> Any:
    shape = attrs["normalized_shape"]
    own = not batched[1] and shape and shapes[0][-len(shape) :] == shape
    return rms_norm(*inputs, **attrs) if own else NotImplemented


@rms_norm.joint_derivative
def _rms_norm_rule(
    g: Array, input: Array, weight: Array | None, result1: Array, needs: tuple[bool, ...], normalized_shape: Shape
) -> Any:
    return _gradients(g, input, weight, normalized_shape, None, result1, (*needs, False))[:2]


@rms_norm.composite_of
def _rms_norm_composite(input: Any, weight: Any, normalized_shape: Shape, eps: float) -> Any:
    _check_rms_norm(array_of(input), array_of(weight), normalized_shape)
    return _scaled(widened(input), weight, None, normalized_shape, eps, input)


def widened(input: Any) -> Any:
    """Half precision as float32: the statistics are not rounded to it."""
    return to_copy(input, dtype=dtypes.float32) if array_of(input).dtype.itemsize == 2 else input


def _mean(x: Any, shape: Shape) -> Any:
    return mean(x, dim=tuple(range(-len(shape), 0)), keepdim=True)


def _scaled(x: Any, weight: Any, bias: Any, shape: Shape, eps: float, like: Any) -> Any:
    """`x / sqrt(mean(x^2) + eps) * weight + bias`, in the dtype of `like`."""
    out = mul(x, rsqrt(add(_mean(mul(x, x), shape), eps)))
    out = out if weight is None else mul(out, weight)
    out = out if bias is None else add(out, bias)
    dtype = array_of(like).dtype
    return out if array_of(out).dtype == dtype else to_copy(out, dtype=dtypes.from_numpy(dtype))
