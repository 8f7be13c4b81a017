"""Making tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.tape import wrap
from ..autograd.variable import Variable
from ..backends import backend_for, backend_of, is_array
from ..devices import device as Device


def finish(array: Any, requires_grad: bool) -> Any:
    """A tensor around a new array."""
    out = wrap(array)
    if requires_grad:
        if array.dtype.kind not in "fV":
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        out._requires_grad = True
    return out


def _backend(device: Any) -> Any:
    return backend_for(Device("cpu" if device is None else device))


def _floating(op: str, dtype: dtypes.dtype | None) -> dtypes.dtype:
    d = dtype or dtypes.get_default_dtype()
    if not d.is_floating_point:
        raise RuntimeError(f"{op}() expects a floating point dtype, got {d}")
    return d


def _size_of(op: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = tuple(size[0])
    for n in size:
        if not isinstance(n, (int, np.integer)):
            raise TypeError(f"{op}(): argument 'size' must be tuple of ints, but found element of type {type(n).__name__}")
        if n < 0:
            raise RuntimeError(f"{op}(): Trying to create tensor with negative dimension {n}: {list(size)}")
    return tuple(int(n) for n in size)


def _number_type(data: Any) -> dtypes.dtype | None:
    """The promoted type of the Python numbers and tensors in nested sequences; None if there are none."""
    if isinstance(data, Variable):
        return dtypes.from_numpy(data._array.dtype)
    if isinstance(data, (np.ndarray, np.generic)):
        return dtypes.from_numpy(data.dtype)
    if isinstance(data, (bool, int, float)):
        return dtypes.of_number(data)
    if isinstance(data, (list, tuple)):
        found: dtypes.dtype | None = None
        for item in data:
            d = _number_type(item)
            if d is not None:
                found = d if found is None else dtypes.promote_types(found, d)
        return found
    raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")


def _to_host(data: Any) -> Any:
    if isinstance(data, Variable):
        return backend_of(data._array).to_host(data._array)
    if isinstance(data, (list, tuple)):
        return [_to_host(d) for d in data]
    return data


def _shape_error(data: Sequence[Any]) -> str:
    lengths = [len(d) if isinstance(d, (list, tuple)) else None for d in data]
    for i, n in enumerate(lengths):
        if n != lengths[0]:
            expected = f"sequence of length {lengths[0]}" if lengths[0] is not None else "a number"
            return f"expected {expected} at dim 1 (got {n if n is not None else 'a number'} at position {i})"
    return "nested sequences differ in length"


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor with a copy of `data`: a number, nested sequences, a NumPy array.

    Python floats give the default dtype (float32), ints int64, bools bool.

    >>> import gradcore as torch
    >>> torch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, Variable):
        out = data.detach().to(device=device, dtype=dtype, copy=True)  # type: ignore[attr-defined]
        return out.requires_grad_(requires_grad)
    if is_array(data) and not isinstance(data, np.ndarray):
        return finish(backend_of(data).copy(data), False).to(device=device, dtype=dtype).requires_grad_(requires_grad)
    d = dtype or _number_type(data) or dtypes.get_default_dtype()
    if not isinstance(d, dtypes.dtype):
        raise TypeError(f"tensor(): argument 'dtype' must be gradcore.dtype, not {type(d).__name__}")
    try:
        host = np.array(_to_host(data), dtype=d.numpy)
    except ValueError as error:
        if isinstance(data, (list, tuple)) and "inhomogeneous" in str(error):
            raise ValueError(_shape_error(data)) from None
        raise
    except OverflowError as error:
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {error}") from None
    return finish(host if device is None else _backend(device).from_host(host), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """`data` as a tensor, sharing memory where it can: tensors and arrays of the right dtype and device."""
    if isinstance(data, Variable):
        return data.to(device=device, dtype=dtype)  # type: ignore[attr-defined]
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Any:
    """A CPU tensor that shares memory with a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtypes.from_numpy(array.dtype)
    if not array.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order.")
    return wrap(array.view(np.ndarray))


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor filled with one value; its dtype is that of the value unless given."""
    value = fill_value.item() if isinstance(fill_value, Variable) else fill_value  # type: ignore[attr-defined]
    d = dtype or dtypes.of_number(value)
    shape = _size_of("full", (size,) if not isinstance(size, int) else (size,))
    return finish(_backend(device).full(shape, value, d.numpy), requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor filled with 0."""
    d = dtype or dtypes.get_default_dtype()
    return finish(_backend(device).full(_size_of("zeros", size), 0, d.numpy), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor filled with 1."""
    d = dtype or dtypes.get_default_dtype()
    return finish(_backend(device).full(_size_of("ones", size), 1, d.numpy), requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor whose values are not set."""
    d = dtype or dtypes.get_default_dtype()
    return finish(_backend(device).empty(_size_of("empty", size), d.numpy), requires_grad)


def _like(input: Variable, dtype: Any, device: Any) -> tuple[Any, Any]:
    own = backend_of(input._array)
    return (dtype or dtypes.from_numpy(input._array.dtype)).numpy, own if device is None else _backend(device)


def full_like(input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor like `input` in shape, dtype and place, filled with one value."""
    d, backend = _like(input, dtype, device)
    return finish(backend.full(input._array.shape, fill_value, d), requires_grad)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor like `input` in shape, dtype and place, filled with 0."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor like `input` in shape, dtype and place, filled with 1."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor like `input` in shape, dtype and place, whose values are not set."""
    d, backend = _like(input, dtype, device)
    return finish(backend.empty(input._array.shape, d), requires_grad)


def _from_host(array: np.ndarray, dtype: dtypes.dtype, device: Any, requires_grad: bool) -> Any:
    host = np.asarray(array, dtype.numpy)
    return finish(host if device is None else _backend(device).from_host(host), requires_grad)


def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """`start`, `start + step`, ... below `end`; `arange(end)` starts at 0."""
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, Variable) else v for v in (start, end, step))  # type: ignore[attr-defined]
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) / step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(isinstance(v, int) for v in (start, end, step))
    d = dtype or (dtypes.int64 if whole else dtypes.get_default_dtype())
    count = math.ceil((end - start) / step) if not whole else max(0, -((start - end) // step))
    positions = np.arange(count, dtype=np.int64 if whole else np.float64)
    return _from_host(start + positions * step, d, device, requires_grad)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """`steps` numbers from `start` to `end`, both included, evenly spaced."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    return _from_host(np.linspace(start, end, steps), dtype or dtypes.get_default_dtype(), device, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A matrix with ones on its diagonal."""
    return _from_host(np.eye(n, m), dtype or dtypes.get_default_dtype(), device, requires_grad)
