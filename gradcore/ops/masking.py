"""Elements chosen by a mask, or by their place beside the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of, is_array
from ..expr import call, trace
from .arithmetic import where
from .convert import to_copy
from .core import array_of, array_op, one_backend
from .elementwise import broadcast_shape
from .shape import each_ranked, reshape

_WHERE = trace(lambda condition, a, b: call("where", condition, a, b))
_LOWER = trace(lambda row, column, diagonal: call("le", column - row, diagonal))
_UPPER = trace(lambda row, column, diagonal: call("ge", column - row, diagonal))


def check_mask(op: str, mask: Array) -> None:
    """RuntimeError unless a mask is one."""
    if mask.dtype != dtypes.bool_.numpy:
        given = dtypes.type_name(mask.dtype)
        raise RuntimeError(f"{op} only supports boolean masks, but got mask with dtype {given}: use mask.bool()")


@array_op(inplace=True, linear=["input value"])
def masked_fill(input: Array, mask: Array, value: Array | float) -> Array:
    """`input` with `value`, a number or a tensor without dimensions, where `mask`, bool and broadcast, is True."""
    backend = one_backend("masked_fill", (input, mask), ("input", "mask"))
    check_mask("masked_fill", mask)
    if is_array(value):
        if value.ndim:
            raise RuntimeError(
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        if backend_of(value) is not backend:
            value = backend.from_host(backend_of(value).to_host(value))
        value = value.astype(input.dtype, copy=False)
    else:
        kind = dtypes.from_numpy(input.dtype)
        dtypes.check_fits(value, kind)
        value = kind.numpy.type(value).item() if kind.category < 2 else value
    shape = broadcast_shape("masked_fill", (input, mask))
    return backend.elementwise(_WHERE, (mask, value, input), input.dtype, (input.dtype,), shape)[0]


@masked_fill.batching
def _masked_fill_batch(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int) -> Any:
    check_mask("masked_fill", array_of(inputs[1]))
    rank = max(len(shapes[0]), len(shapes[1]))
    input, mask = each_ranked(inputs[:2], shapes, batched, rank, size)
    if not batched[2]:
        return masked_fill(input, mask, inputs[2])
    value = inputs[2] if inputs[2].dtype == input.dtype else to_copy(inputs[2], dtype=dtypes.from_numpy(input.dtype))
    return where(mask, reshape(value, shape=(size, *(1,) * rank)), input)


masked_fill.derivative(input=lambda g, mask: masked_fill(g, mask, 0), value=lambda g, mask: where(mask, g, 0))


def _triangle(name: str, program: Any, kept: str) -> Any:
    def triangle(input: Array, diagonal: int = 0) -> Array:
        if input.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        backend = backend_of(input)
        rows, columns = (backend.xp.arange(n, dtype=dtypes.int64.numpy) for n in input.shape[-2:])
        places = (rows.reshape(-1, 1), columns, int(diagonal))
        (mask,) = backend.elementwise(program, places, dtypes.int64.numpy, (dtypes.bool_.numpy,), input.shape[-2:])
        return backend.elementwise(_WHERE, (mask, input, 0), input.dtype, (input.dtype,), input.shape)[0]

    triangle.__doc__ = (
        f"The elements of the matrices in the last two dimensions on and {kept} a diagonal, 0 elsewhere; `diagonal` "
        "counts from the main one to the right."
    )
    op = array_op(triangle, name=name, inplace=True, linear=["input"])

    @op.batching
    def batch(input: Any, input_shape: Any, diagonal: int) -> Any:
        if len(input_shape) < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return op(input, diagonal=diagonal)

    op.derivative(input=lambda g, diagonal: op(g, diagonal=diagonal))
    return op


tril = _triangle("tril", _LOWER, "below")
triu = _triangle("triu", _UPPER, "above")
