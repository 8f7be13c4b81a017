"""Indexing: NumPy's keys (ints, slices, None, Ellipsis, index and bool arrays) on tensors."""

from __future__ import annotations

from typing import Any

from ..backends import Array, backend_of, is_array
from .core import array_op

Key = tuple[Any, ...]


def is_basic(key: Key) -> bool:
    """Whether `key` only selects a view: no index or bool arrays."""
    return not any(is_array(k) for k in key)


def check_key(op: str, x: Array, key: Key) -> None:
    """Raise IndexError, worded as PyTorch's, for a key that does not fit `x`."""
    consumed = 0
    for k in key:
        if k is None or k is Ellipsis:
            continue
        consumed += k.ndim if is_array(k) and k.dtype.kind == "b" else 1
    if consumed > x.ndim:
        if x.ndim == 0:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a 0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    dim = 0
    for i, k in enumerate(key):
        if k is None:
            continue
        if k is Ellipsis:
            rest = sum((r.ndim if is_array(r) and r.dtype.kind == "b" else 1) for r in key[i + 1 :] if r is not None)
            dim = x.ndim - rest
            continue
        if isinstance(k, slice):
            if k.step is not None and k.step <= 0:
                raise ValueError("step must be greater than zero")
        elif is_array(k):
            if k.dtype.kind == "b":
                for j, n in enumerate(k.shape):
                    if x.shape[dim + j] != n:
                        raise IndexError(
                            f"The shape of the mask {list(k.shape)} at index {j} does not match the shape of the "
                            f"indexed tensor {list(x.shape)} at index {dim + j}"
                        )
                dim += k.ndim - 1
            else:
                backend_of(x).check_index(op, k, x.shape[dim], dim)
        elif not -x.shape[dim] <= k < x.shape[dim]:
            raise IndexError(f"index {k} is out of bounds for dimension {dim} with size {x.shape[dim]}")
        dim += 1


def _view_name(node: Any) -> str:
    """PyTorch applies the entries of a key one by one: the last that does something is what is seen."""
    key = node.attrs["key"]
    for k in reversed(key):
        if k is None:
            return "UnsqueezeBackward0"
        if k is not Ellipsis and k != slice(None):
            return "SliceBackward0" if isinstance(k, slice) else "SelectBackward0"
    return "SliceBackward0" if slice(None) in key else "AliasBackward0"


@array_op(name="select_view", view=True, public=False, grad_name=_view_name)
def select_view(input: Array, key: Key) -> Array:
    """`input[key]` for a key of ints, slices, None and Ellipsis: a view."""
    check_key("index", input, key)
    result = input[key]
    # A NumPy scalar, where every dimension was indexed by an int, would not share memory.
    return result if is_array(result) else input[(*key, Ellipsis)]


@array_op(name="index", public=False)
def index(input: Array, key: Key) -> Array:
    """`input[key]` where the key holds index or bool arrays: a copy."""
    check_key("index", input, key)
    return input[key]


@array_op(name="index_backward", public=False)
def index_backward(grad: Array, shape: tuple[int, ...], key: Key) -> Array:
    """Zeros of `shape` with `grad` added at `key`."""
    backend = backend_of(grad)
    out = backend.full(shape, 0, grad.dtype)
    if is_basic(key):
        out[key] = grad
    else:
        backend.index_add(out, key, grad)
    return out


def _rule(g: Any, input_shape: Any, key: Key) -> Any:
    return index_backward(g, shape=input_shape, key=key)


def _pick(g: Any, key: Key) -> Any:
    return select_view(g, key=key) if is_basic(key) else index(g, key=key)


select_view.derivative(input=_rule)
index.derivative(input=_rule)
index_backward.derivative(grad=_pick)


@array_op(name="index_put", public=False, grad_name="IndexPutBackward0")
def index_put(input: Array, value: Array, key: Key) -> Array:
    """A copy of `input` with `value` written at `key`."""
    check_key("index_put", input, key)
    out = backend_of(input).copy(input)
    write(out, value, key)
    return out


def write(target: Array, value: Any, key: Key) -> None:
    """`target[key] = value`; RuntimeError, before anything is written, if the shapes do not fit."""
    if is_array(value):
        # NumPy drops leading dimensions of size 1 of the value, as PyTorch does.
        expected = target[key].shape
        try:
            fits = backend_of(value).xp.broadcast_shapes(value.shape, expected) == tuple(expected)
        except ValueError:
            fits = False
        if not fits and tuple(n for n in value.shape if n != 1) != tuple(n for n in expected if n != 1):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of "
                f"shape {list(expected)}"
            )
    target[key] = value


@array_op(name="index_fill_zero", public=False)
def index_fill(input: Array, key: Key) -> Array:
    """A copy of `input` with zeros at `key`."""
    out = backend_of(input).copy(input)
    out[key] = 0
    return out


index_fill.derivative(input=lambda g, key: index_fill(g, key=key))


def _put_input(g: Any, key: Key) -> Any:
    return index_fill(g, key=key)


index_put.derivative(input=_put_input, value=_pick)
