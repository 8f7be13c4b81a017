"""Indexing: `x[key]`, `x[key] = value` and `index_put`, with PyTorch's rules for keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..autograd.autocast import with_precision
from ..autograd.grad_mode import mode
from ..autograd.inplace import apply_inplace, copy_values
from ..autograd.tape import apply, wants_grad
from ..autograd.tracer import Tracer
from ..autograd.variable import Variable
from ..backends import backend_of, is_array
from ..ops import indexing
from ..ops.broadcast import broadcastable
from ..ops.convert import to_copy
from ..ops.precision import CUDA_WIDEST
from ..ops.shape import clone
from . import creation
from .functions import METHODS, function

if TYPE_CHECKING:
    from .tensor import Tensor


def _key(tensor: Any, key: Any) -> tuple[Any, ...]:
    """The key as a tuple of ints, slices, None, Ellipsis and index or bool arrays of the tensor's device."""
    if not isinstance(key, tuple):
        # A list that holds more than numbers is a key of several entries, as it was in NumPy once.
        several = isinstance(key, list) and any(isinstance(k, _NOT_NUMBERS) or k in (None, Ellipsis) for k in key)
        key = tuple(key) if several else (key,)
    return tuple([k if k.__class__ in (int, slice, type(None), type(Ellipsis)) else _entry(tensor, k) for k in key])


_NOT_NUMBERS = (slice, list, tuple, range, np.ndarray, Variable)


def _entry(tensor: Any, k: Any) -> Any:
    backend = backend_of(tensor._array)
    if isinstance(k, slice):
        return k
    if isinstance(k, (bool, np.bool_)):
        return backend.from_host(np.array(bool(k)))
    if isinstance(k, (int, np.integer)):
        return int(k)
    if k is None or k is Ellipsis:
        return k
    if isinstance(k, (list, range, tuple)):
        k = creation.tensor(list(k))
        if k.numel() == 0:
            k = k.long()
    if isinstance(k, Variable):
        array = k._array
        if array.dtype.kind not in "biu":
            raise IndexError(
                f"tensors used as indices must be long, int, byte or bool tensors, got {k.dtype}"  # type: ignore[attr-defined]
            )
        if array.dtype == np.uint8:
            array = to_copy(array, dtype=dtypes.bool_)
    elif is_array(k):
        array = k
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(k).__name__})"
        )
    if array.ndim == 0 and array.dtype.kind in "iu" and not isinstance(array, Tracer):
        return int(array)
    if backend_of(array) is not backend:
        host = backend_of(array).to_host(array)
        if backend_of(array).device.type != "cpu":
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({backend.device}), got "
                f"{backend_of(array).device}"
            )
        array = backend.from_host(host)
    return array


def getitem(self: Tensor, key: Any) -> Tensor:
    full = _key(self, key)
    if indexing.is_basic(full):
        return apply(indexing.select_view, (self,), {"key": full})
    self, full = _as_numpy(self, full)
    return apply(indexing.index, (self,), {"key": _lasting(full, self)})


def _as_numpy(tensor: Any, key: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """A tensor and a key with index or bool arrays for which NumPy's rules give what PyTorch's give for these.

    They differ in where the new dimensions go. For PyTorch an int beside the arrays selects first and is no index array
    itself, and an Ellipsis that stands for no dimension does not come between two arrays.
    """
    indexing.check_key("index", tensor._array, key)
    everything = slice(None)
    spans = {id(k): k.ndim if k.dtype.kind == "b" else 1 for k in key if is_array(k)}
    consumed = sum(spans.get(id(k), 1) for k in key if k is not None and k is not Ellipsis)
    full: list[Any] = []
    for k in key:
        full += [everything] * (tensor._array.ndim - consumed) if k is Ellipsis else [k]
    if not any(isinstance(k, int) for k in full):
        return tensor, tuple(full)
    first: list[Any] = []
    for k in full:
        first += [everything] * spans[id(k)] if is_array(k) else [k]
    rest = [k if is_array(k) else everything for k in full if not isinstance(k, int)]
    return apply(indexing.select_view, (tensor,), {"key": tuple(first)}), tuple(rest)


def _lasting(key: tuple[Any, ...], *operands: Any) -> tuple[Any, ...]:
    """The key for the tape, which needs its arrays as they are now: copied, for they may be changed."""
    if not (mode.enabled and any(isinstance(t, Variable) and wants_grad(t) for t in operands)):
        return key
    return tuple([clone(k) if is_array(k) else k for k in key])


def setitem(self: Tensor, key: Any, value: Any) -> None:
    full = _key(self, key)
    if not indexing.is_basic(full):
        self, full = _as_numpy(self, full)
    if isinstance(value, np.generic):
        value = value.item()
    elif not isinstance(value, (Variable, bool, int, float)):
        value = creation.as_tensor(value)
    backend = backend_of(self._array)
    if isinstance(value, Variable) and backend_of(value._array) is not backend:
        if value._array.ndim:
            raise RuntimeError(
                f"__setitem__(): the tensor is on {backend.device}, the value on {backend_of(value._array).device}; "
                "move one with .to()"
            )
        value = value.item()  # type: ignore[attr-defined]
    indexing.check_key("__setitem__", self._array, full)
    if not isinstance(value, Variable):
        dtypes.check_fits(value, self.dtype)
    if isinstance(value, Variable):
        value = _squeezed(value, self._array[full].shape)
    if indexing.is_basic(full):
        view = apply(indexing.select_view, (self,), {"key": full})
        apply_inplace(copy_values, (view, value), {})
        return
    backend.synchronize()  # nothing is written if an index is out of range
    apply_inplace(
        indexing.index_put,
        (self, value),
        {"key": _lasting(full, self, value)},
        write=lambda target, given: indexing.write(target, given, full),
    )


def _squeezed(value: Any, expected: tuple[int, ...]) -> Any:
    """`value` without leading dimensions of size 1 beyond those expected; RuntimeError if it does not broadcast."""
    given = tuple(value._array.shape)
    while len(value._array.shape) > len(expected) and value._array.shape[0] == 1:
        value = value.squeeze(0)
    if not broadcastable(value._array.shape, tuple(expected)):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing result of shape "
            f"{list(expected)}"
        )
    return value


# ---------------------------------------------------------------- index_put
def _put(run: Any, input: Any, indices: Any, values: Any, accumulate: bool) -> Any:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(
            f"index_put(): argument 'indices' (position 1) must be tuple of Tensors, not {type(indices).__name__}"
        )
    for i, k in enumerate(indices):
        if k is not None and not isinstance(k, Variable):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(k).__name__}")
    if not isinstance(values, Variable):
        raise TypeError(f"index_put(): argument 'values' (position 2) must be Tensor, not {type(values).__name__}")
    a, b = input._array, values._array
    if a.dtype != b.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{dtypes.type_name(a.dtype)} for the destination and {dtypes.type_name(b.dtype)} for the source."
        )
    backend = backend_of(a)
    # Here numbers are index tensors like others, and None stands for a whole dimension.
    key = tuple([slice(None) if k is None else _array_entry(input, k) for k in indices])
    indexing.check_key("index_put", a, key)
    backend.synchronize()  # nothing is written if an index is out of range
    op = indexing.index_put_add if accumulate else indexing.index_put
    return run(op, (input, _squeezed(values, a[key].shape)), {"key": _lasting(key, input, values)})


def _array_entry(tensor: Any, k: Any) -> Any:
    entry = _entry(tensor, k)
    return backend_of(tensor._array).from_host(np.array(entry)) if isinstance(entry, int) else entry


@function
@with_precision(CUDA_WIDEST)
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with `values`, which broadcast, written (or, with `accumulate`, added) to `input[indices]`.

    Args:
        indices: integer or bool tensors for the first dimensions, as in `input[indices]`.
        values: of the input's dtype. What is added to one place several times is added in a fixed order.

    Raises:
        RuntimeError: dtypes or shapes do not fit.
        IndexError: an index is out of range.
    """
    return _put(apply, input, indices, values, accumulate)


def index_put_(self: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """`index_put` in place: the tensor is changed and returned."""
    return _put(apply_inplace, self, indices, values, accumulate)


METHODS["index_put_"] = index_put_
