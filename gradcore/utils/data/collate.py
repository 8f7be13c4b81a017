"""Batches from samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...tensor import FUNCTIONS, Tensor
from ...tensor.creation import as_tensor, tensor

_stack = FUNCTIONS["stack"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack samples into a batch, with a new first dimension.

    Tensors and NumPy arrays are stacked; numbers become a tensor (Python floats a float64 one); strings and bytes stay
    a list; mappings, sequences and named tuples are batched item by item (tuples become lists, as in PyTorch).

    Raises:
        TypeError: a sample holds something else.
        RuntimeError: sequences of unequal lengths.

    >>> import gradcore
    >>> default_collate([(gradcore.ones(2), 3), (gradcore.zeros(2), 4)])
    [tensor([[1., 1.],
            [0., 0.]]), tensor([3, 4])]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack(list(batch))
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(_refusal(first.dtype))
        return _stack([as_tensor(array) for array in batch])
    if isinstance(first, (np.bool_, np.number)):
        return as_tensor(np.array(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype=dtypes.float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return _like_sequence(first, [default_collate(items) for items in zip(*batch, strict=True)])
    raise TypeError(_refusal(type(first)))


def default_convert(data: Any) -> Any:
    """Replace the NumPy arrays and numbers in a sample by tensors: what a `DataLoader` without batches does."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.number, np.bool_)):
        return data if data.dtype.kind in "SUO" else as_tensor(np.asarray(data))
    return converted(data, default_convert)


def converted(data: Any, convert: Callable[[Any], Any]) -> Any:
    """A mapping or a sequence (but for strings) with its items converted; anything else as it is."""
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: convert(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [convert(item) for item in data])
    return data


def _refusal(found: object) -> str:
    return f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}"


def _like_mapping(original: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping of the original's type with other values; a dict if that type cannot be made from one."""
    try:
        if isinstance(original, MutableMapping):
            # Such as a defaultdict: the type may have more state than its items.
            clone = copy.copy(original)
            clone.update(items)
            return clone
        return type(original)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _like_sequence(original: Sequence[Any], items: list[Any]) -> Any:
    """A sequence of the original's type with other items; a list for tuples and where that type cannot be made."""
    if isinstance(original, tuple):
        return type(original)(*items) if hasattr(original, "_fields") else items
    try:
        if isinstance(original, MutableSequence):
            clone = copy.copy(original)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        return type(original)(items)  # type: ignore[call-arg]
    except TypeError:
        return items
