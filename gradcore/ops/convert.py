"""Moving and converting: dtypes and devices."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..backends import Array, backend_for, backend_of
from ..devices import device as Device
from .core import array_op


@array_op(name="to_copy", public=False, grad_name="ToCopyBackward0", linear=["input"])
def to_copy(input: Array, dtype: dtypes.dtype | None = None, device: Device | None = None) -> Array:
    """A copy of `input` as `dtype` on `device` (None: as it is)."""
    source = backend_of(input)
    out: Any = input
    if dtype is not None and dtype.numpy != out.dtype:
        out = source.astype(out, dtype.numpy)
    if device is not None:
        target = backend_for(device)
        if target is not source:
            return target.from_host(source.to_host(out))
    return source.copy(out) if out is input else out


def _back(g: Any, input_dtype: Any, input_device: Any) -> Any:
    return to_copy(g, dtype=dtypes.from_numpy(input_dtype), device=input_device)


to_copy.batching(lambda input, attrs: to_copy(input, **attrs))
to_copy.derivative(input=_back)
