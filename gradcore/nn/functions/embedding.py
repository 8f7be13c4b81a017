"""Functions of numbers of classes and rows; part of `gradcore.nn.functional`."""

from __future__ import annotations

from typing import Any

from ... import dtypes
from ...autograd.grad_mode import no_grad
from ...autograd.tape import apply
from ...ops import embedding as rows
from ...tensor.creation import arange
from ...tensor.selecting import unique
from ...tensor.tensor import Tensor


def _padding(padding_idx: int | None, count: int) -> int | None:
    if padding_idx is None:
        return None
    if not -count <= padding_idx < count:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % count


def _check_index(op: str, input: Any) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(f"{op}(): argument 'indices' (position 2) must be Tensor, not {type(input).__name__}")
    if input.dtype not in (dtypes.int64, dtypes.int32):
        given = dtypes.type_name(input._array.dtype)
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"gradcore.{given}Tensor instead (while checking arguments for {op})"
        )


def _renormalize(weight: Any, input: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows of `weight` that are named, and whose norm is above `max_norm`, down to it: in place."""
    with no_grad():
        named = unique(input.detach().reshape(-1))
        found = weight.detach().index_select(0, named)
        norms = found.norm(norm_type, 1, True)
        scaled = (found * (max_norm / (norms + 1e-7))).where(norms > max_norm, found)
        weight.detach().index_copy_(0, named, scaled)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` that `input` names: `weight[input]`, of shape (*input.shape, width).

    Args:
        input: int64 or int32, of any shape.
        weight: the table (rows, width).
        padding_idx: a row that gets no gradient.
        max_norm: rows that are named and have a larger norm are scaled down to this one first, in place.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of each row by how often it is named.

    The gradients of rows that are named several times are added in a fixed order.

    Raises:
        IndexError: a row is out of range; on CUDA at the next synchronisation.
        RuntimeError: `input` is not of integers, or `weight` not a matrix.
        NotImplementedError: `sparse` is True: gradients are dense.
    """
    if sparse:
        raise NotImplementedError("embedding(): gradients are dense here; leave out sparse=True")
    _check_index("embedding", input)
    if weight.ndim == 2:
        padding_idx = _padding(padding_idx, weight.shape[0])
        if max_norm is not None:
            _renormalize(weight, input, max_norm, norm_type)
    attrs = {"padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq}
    return apply(rows.embedding, (weight, input), attrs)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 of shape (*tensor.shape, num_classes): 1 at the class that each element names, 0 elsewhere.

    -1 means one class more than the largest number that occurs.

    Raises:
        RuntimeError: the tensor is not int64, or an element not in [0, num_classes).
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel():
        if int(tensor.min()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        largest = int(tensor.max())
        if num_classes == -1:
            num_classes = largest + 1
        elif largest >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    elif num_classes == -1:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    elif num_classes <= 0:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).long()
