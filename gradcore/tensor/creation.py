"""Making tensors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import mode
from ..autograd.inplace import write_out
from ..autograd.tape import tell, wrap
from ..autograd.variable import Variable
from ..backends import backend_for, backend_of, is_array
from ..devices import DeviceLike
from ..devices import device as Device

if TYPE_CHECKING:
    from .tensor import Tensor

# The functions of gradcore that are made here.
__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def finish(array: Any, requires_grad: bool) -> Tensor:
    """A tensor around a new array."""
    out: Tensor = wrap(array)
    if mode.levels:
        out = mode.levels[-1].made(out)
    if requires_grad:
        if array.dtype.kind not in "fV":
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        out._requires_grad = True
    tell(None, (), {}, (out,))
    return out


def around(array: Any) -> Tensor:
    """A tensor around an array that was made elsewhere, which may be of any dtype."""
    dtypes.from_numpy(array.dtype)
    return finish(array, False)


def _backend(device: DeviceLike | None) -> Any:
    return backend_for(Device("cpu" if device is None else device))


def _floating(op: str, dtype: dtypes.dtype | None) -> dtypes.dtype:
    d = dtypes.given(op, dtype) or dtypes.get_default_dtype()
    if not d.is_floating_point:
        raise NotImplementedError(f"{op}() expects a floating point dtype, got {d}")
    return d


def _size_of(op: str, sizes: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """The shape given as several ints, as one sequence, or by the keyword `size`."""
    given = sizes if size is None else (size,)
    if not given:
        raise TypeError(f'{op}() missing 1 required positional arguments: "size"')
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    for n in given:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
            raise TypeError(f"{op}(): argument 'size' must be tuple of ints, not {type(n).__name__}: {n!r}")
        if n < 0:
            raise RuntimeError(f"{op}(): Trying to create tensor with negative dimension {n}: {list(given)}")
    return tuple(int(n) for n in given)


def _number_type(data: Any) -> dtypes.dtype | None:
    """The promoted type of the Python numbers and tensors in nested sequences; None if there are none."""
    if isinstance(data, Variable):
        return dtypes.from_numpy(data._array.dtype)
    if isinstance(data, (np.ndarray, np.generic)):
        return dtypes.from_numpy(data.dtype)
    if isinstance(data, (bool, int, float)):
        return dtypes.of_number(data)
    if isinstance(data, _SEQUENCES):
        found: dtypes.dtype | None = None
        for item in data:
            d = _number_type(item)
            if d is not None:
                found = d if found is None else dtypes.promote_types(found, d)
        return found
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")


_SEQUENCES = (list, tuple, range)
# What `tensor` copies at once, without a look for what other libraries offer.
_PLAIN = frozenset({np.ndarray, *_SEQUENCES, bool, int, float})


def _to_host(data: Any) -> Any:
    if isinstance(data, Variable):
        return data._host("item")  # type: ignore[attr-defined]
    if isinstance(data, _SEQUENCES):
        return [_to_host(d) for d in data]
    return data


def _check_nesting(data: Any, shape: tuple[int, ...], dim: int = 0) -> None:
    """ValueError or TypeError, worded as PyTorch's, where nested sequences are not those of an array of `shape`."""
    if dim == len(shape):
        if isinstance(data, _SEQUENCES):
            raise TypeError(f"expected a number at dim {dim}, as in what came before, got {type(data).__name__}")
        return
    if not isinstance(data, _SEQUENCES):
        raise TypeError(f"not a sequence: expected one of length {shape[dim]} at dim {dim}, got {type(data).__name__}")
    if len(data) != shape[dim]:
        raise ValueError(f"expected sequence of length {shape[dim]} at dim {dim} (got {len(data)})")
    for item in data:
        _check_nesting(item, shape, dim + 1)


def _shape_of_first(data: Any) -> tuple[int, ...]:
    """The shape that the first elements of nested sequences promise."""
    shape: tuple[int, ...] = ()
    while isinstance(data, _SEQUENCES):
        shape += (len(data),)
        if not data:
            break
        data = data[0]
    return shape


def tensor(
    data: Any, *, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of `data`: a number, nested sequences, a NumPy array.

    Python floats give the default dtype (float32), ints int64, bools bool.

    >>> import gradcore as torch
    >>> torch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, Variable):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than gradcore.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        out = data.detach().to(device=device, dtype=dtype, copy=True)  # type: ignore[attr-defined]
        return out.requires_grad_(requires_grad)
    if data.__class__ not in _PLAIN and (shared := _shared(data)) is not None:
        return shared.to(device=device, dtype=dtype, copy=True).requires_grad_(requires_grad)
    d = dtypes.given("tensor", dtype) or _number_type(data) or dtypes.get_default_dtype()
    try:
        host = np.array(_to_host(data), dtype=d.numpy)
    except (OverflowError, ValueError) as error:
        if "inhomogeneous" in str(error):
            _check_nesting(data, _shape_of_first(data))
        elif dtype is None:
            raise ValueError(f"Overflow when unpacking long long: {error}; tensors hold integers of 64 bits") from None
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {error}") from None
    return finish(host if device is None else _backend(device).from_host(host), requires_grad)


def _shared(data: Any) -> Any:
    """A tensor in the memory of `data`, a tensor or an array of any library; None if it is neither."""
    if isinstance(data, Variable):
        return data
    if isinstance(data, np.ndarray):
        return from_numpy(data)
    if is_array(data):
        return around(data)
    if hasattr(data, "__dlpack__"):
        from .exchange import from_dlpack

        return from_dlpack(data)
    if hasattr(data, "__cuda_array_interface__"):
        return around(_backend("cuda").xp.asarray(data))
    return None


def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can: tensors and arrays of the right dtype and device.

    Arrays are NumPy's, CuPy's, and what has `__dlpack__` or `__cuda_array_interface__`.
    """
    shared = _shared(data)
    return tensor(data, dtype=dtype, device=device) if shared is None else shared.to(device=device, dtype=dtype)


def asarray(
    obj: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """`obj` as a tensor: `as_tensor` with a say in copying.

    Args:
        obj: a tensor, an array of any library (see `as_tensor`), a number, nested sequences.
        dtype: of the result; by default that of `obj`.
        device: of the result; by default that of `obj`.
        copy: True for a copy, False for an error where memory cannot be shared, None to copy where it must be.
        requires_grad: whether the result does; by default as `obj`.

    Raises:
        ValueError: `copy` is False, and `obj` is no array, or has another dtype or device.
    """
    shared = _shared(obj)
    if shared is None and copy is False:
        raise ValueError("can't alias arbitrary sequence into a tensor.")
    found = tensor(obj) if shared is None else shared
    out = found.to(device=device, dtype=dtype, copy=bool(copy))
    if copy is False and out is not found:
        changed = "dtype" if out.dtype is not found.dtype else "device"
        raise ValueError(
            f"can't alias tensor with {changed} {getattr(found, changed)} into {changed} {getattr(out, changed)}."
        )
    return out if requires_grad is None else out.requires_grad_(requires_grad)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A CPU tensor that shares memory with a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtypes.from_numpy(array.dtype)
    if not array.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order.")
    return finish(array.view(np.ndarray), False)


def _filled(shape: tuple[int, ...], value: float, dtype: dtypes.dtype, backend: Any, requires_grad: bool) -> Tensor:
    dtypes.check_fits(value, dtype)
    return finish(backend.full(shape, value, dtype.numpy), requires_grad)


def full(
    size: int | Sequence[int],
    fill_value: Tensor | float,
    *,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor filled with one value; its dtype is that of the value unless given."""
    value = fill_value.item() if isinstance(fill_value, Variable) else fill_value
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"full(): argument 'fill_value' (position 2) must be Number, not {type(value).__name__}")
    d = dtypes.given("full", dtype) or dtypes.of_number(value)
    return _filled(_size_of("full", (size,)), value, d, _backend(device), requires_grad)


def zeros(
    *sizes: int | Sequence[int],
    size: Sequence[int] | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor filled with 0."""
    d = dtypes.given("zeros", dtype) or dtypes.get_default_dtype()
    return finish(_backend(device).full(_size_of("zeros", sizes, size), 0, d.numpy), requires_grad)


def ones(
    *sizes: int | Sequence[int],
    size: Sequence[int] | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor filled with 1."""
    d = dtypes.given("ones", dtype) or dtypes.get_default_dtype()
    return finish(_backend(device).full(_size_of("ones", sizes, size), 1, d.numpy), requires_grad)


def empty(
    *sizes: int | Sequence[int],
    size: Sequence[int] | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor whose values are not set."""
    d = dtypes.given("empty", dtype) or dtypes.get_default_dtype()
    return finish(_backend(device).empty(_size_of("empty", sizes, size), d.numpy), requires_grad)


def like(op: str, input: Variable, dtype: dtypes.dtype | None, device: DeviceLike | None) -> tuple[dtypes.dtype, Any]:
    """The dtype and backend of a tensor made like `input`."""
    if not isinstance(input, Variable):
        raise TypeError(f"{op}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    own = backend_of(input._array)
    return dtypes.given(op, dtype) or dtypes.from_numpy(input._array.dtype), own if device is None else _backend(device)


def full_like(
    input: Tensor,
    fill_value: float,
    *,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, filled with one value."""
    d, backend = like("full_like", input, dtype, device)
    value = fill_value.item() if isinstance(fill_value, Variable) else fill_value  # type: ignore[attr-defined]
    return _filled(input._array.shape, value, d, backend, requires_grad)


def zeros_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, filled with 0."""
    d, backend = like("zeros_like", input, dtype, device)
    return finish(backend.full(input._array.shape, 0, d.numpy), requires_grad)


def ones_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, filled with 1."""
    d, backend = like("ones_like", input, dtype, device)
    return finish(backend.full(input._array.shape, 1, d.numpy), requires_grad)


def empty_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, whose values are not set."""
    d, backend = like("empty_like", input, dtype, device)
    return finish(backend.empty(input._array.shape, d.numpy), requires_grad)


def _from_host(
    array: np.ndarray[Any, Any], dtype: dtypes.dtype, device: DeviceLike | None, requires_grad: bool
) -> Tensor:
    host = np.asarray(array, dtype.numpy)
    return finish(host if device is None else _backend(device).from_host(host), requires_grad)


def arange(
    start: float | None = None,
    end: float | None = None,
    step: float = 1,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`start`, `start + step`, ... below `end`; `arange(end)` starts at 0."""
    if out is not None:
        wanted = dtype or out.dtype
        return write_out("arange", (), out, lambda: arange(start, end, step, dtype=wanted, device=out.device))
    if end is None:
        start, end = None, start
    if end is None:
        raise TypeError('arange() missing 1 required positional arguments: "end"')
    given: tuple[Any, ...] = (0 if start is None else start, end, step)
    first, last, by = (v.item() if isinstance(v, Variable) else v for v in given)  # type: ignore[attr-defined]
    whole = all(isinstance(v, int) for v in (first, last, by))
    d = dtypes.given("arange", dtype) or (dtypes.int64 if whole else dtypes.get_default_dtype())
    if not all(map(math.isfinite, (first, last, by))):
        raise RuntimeError(f"unsupported range: {first} -> {last}")
    if by == 0:
        raise RuntimeError("step must be nonzero")
    if d is dtypes.int64:
        first, last, by = int(first), int(last), int(by)
        if by == 0:
            raise ValueError(f"step must be nonzero, also as an integer: {step}")
    if (last - first) / by < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    exact = isinstance(first, int) and isinstance(last, int) and isinstance(by, int)
    count = -((first - last) // by) if exact else math.ceil((last - first) / by)
    if d.category == 1:
        first, by = int(first), int(by)
    positions = np.arange(count, dtype=np.float64 if d.is_floating_point and not exact else np.int64)
    return _from_host(first + positions * by, d, device, requires_grad)


def _end(op: str, value: Tensor | float) -> float:
    """A bound as a number."""
    if not isinstance(value, Variable):
        return value
    if value._array.ndim:
        raise RuntimeError(
            f"{op} only supports 0-dimensional start and end tensors, but got one with {value._array.ndim} dimensions."
        )
    return value.item()


def linspace(
    start: Tensor | float,
    end: Tensor | float,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers from `start` to `end`, both included, evenly spaced; of an integer dtype, rounded towards 0.

    Raises:
        TypeError: `steps` is no integer.
        RuntimeError: `steps` is negative, or a bound has dimensions.
    """
    if not isinstance(steps, (int, np.integer)) or isinstance(steps, bool):
        kinds = ", ".join(type(v).__name__ for v in (start, end, steps))
        raise TypeError(
            f"linspace() received an invalid combination of arguments - got ({kinds}), but expected (Number start, "
            "Number end, int steps)"
        )
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if out is not None:
        dtype = dtype or out.dtype
        return write_out("linspace", (), out, lambda: linspace(start, end, steps, dtype=dtype, device=out.device))
    d = dtypes.given("linspace", dtype) or dtypes.get_default_dtype()
    first, last = _end("linspace", start), _end("linspace", end)
    if d.category < 2:
        first, last = int(first), int(last)
    step = (last - first) / (steps - 1) if steps > 1 else 0.0
    position = np.arange(steps)
    # From the nearer end, so that both are exact.
    values = np.where(position < steps / 2, first + position * step, last - (steps - 1 - position) * step)
    return _from_host(np.trunc(values) if d.category < 2 else values, d, device, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A matrix with ones on its diagonal."""
    for name, size in (("n", n), ("m", n if m is None else m)):
        if not isinstance(size, (int, np.integer)):
            raise TypeError(f"eye(): argument '{name}' must be int, not {type(size).__name__}")
        if size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    return _from_host(np.eye(n, m), dtypes.given("eye", dtype) or dtypes.get_default_dtype(), device, requires_grad)
