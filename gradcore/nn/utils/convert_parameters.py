"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...tensor.functions import FUNCTIONS
from ...tensor.naming import typename
from ...tensor.tensor import Tensor


def _on_one_device(parameters: Iterable[Tensor]) -> Iterator[Tensor]:
    first: Any = None
    for p in parameters:
        first = first or p.device
        if p.device != first:
            raise TypeError("Found two parameters on different devices, this is currently not supported.")
        yield p


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """The elements of all parameters, one after the other; gradients flow back to them."""
    return FUNCTIONS["cat"]([p.view(-1) for p in _on_one_device(parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make consecutive pieces of `vec` the data of the parameters, which share its memory from then on."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected gradcore.Tensor, but got: {typename(vec)}")
    listed = list(_on_one_device(parameters))
    needed = sum(p.numel() for p in listed)
    if vec.numel() < needed:
        raise RuntimeError(f"vector_to_parameters(): the parameters have {needed} elements, vec only {vec.numel()}")
    start = 0
    for p in listed:
        p.data = vec[start : start + p.numel()].view_as(p).data
        start += p.numel()
