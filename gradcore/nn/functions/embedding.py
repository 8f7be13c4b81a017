"""Functions of numbers of classes and rows; part of `gradcore.nn.functional`."""

from __future__ import annotations

from typing import Any

from ... import dtypes
from ...autograd.grad_mode import no_grad
from ...autograd.tape import apply
from ...ops import embedding as rows
from ...tensor.creation import arange
from ...tensor.creation import tensor as tensor_of
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


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """For each bag of indices the sum, mean or maximum of the rows of `weight` that they name: (bags, width).

    Args:
        input: int64 or int32: (bags, indices of each), or those of all bags one after the other.
        weight: the table (rows, width).
        offsets: where each bag begins, for an input of one dimension.
        max_norm, norm_type, scale_grad_by_freq: see `embedding`.
        mode: `"sum"`, `"mean"` or `"max"`; empty bags give 0.
        per_sample_weights: a factor for each index, of the input's shape, in mode `"sum"`.
        include_last_offset: the last offset is where the last bag ends.
        padding_idx: an index that does not count.

    Raises:
        IndexError: a row is out of range; on CUDA at the next synchronisation.
        ValueError, RuntimeError, NotImplementedError: shapes, dtypes or options do not fit.
    """
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the "
            "same "
            f"shape as the input ({input.shape})"
        )
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    _check_index("embedding_bag", input)
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}')."
        )
    bag, bags = _bags(input, offsets, include_last_offset)
    index = input.reshape(-1)
    if padding_idx is not None:
        counts = index != _padding(padding_idx, weight.shape[0])
        index, bag = index[counts], bag[counts]
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)[counts]
    found: Any = embedding(index, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        found = found * per_sample_weights.reshape(-1, 1)
    none = found.detach().new_zeros((bags, weight.shape[1]))
    if mode == "max":
        places = bag.unsqueeze(1).expand(-1, weight.shape[1])
        return none.scatter_reduce(0, places, found, "amax", include_self=False)
    total = none.index_add(0, bag, found)
    if mode == "sum":
        return total
    sizes = found.detach().new_zeros(bags).index_add(0, bag, found.detach().new_ones(index.shape[0]))
    return total / sizes.clamp_min(1).unsqueeze(1)


def _bags(input: Any, offsets: Any, include_last_offset: bool) -> tuple[Any, int]:
    """The bag that each index is in, and how many bags there are."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        bags = input.shape[0]
        return arange(bags, device=input.device).repeat_interleave(input.shape[1]), bags
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    starts = offsets.tolist()
    count = input.shape[0]
    if starts and starts[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
            "However, "
            f"got {starts[0]}"
        )
    if starts and starts[-1] > count:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({count}) but got offsets[-1] of {starts[-1]}"
        )
    ends = starts[1:] if include_last_offset else [*starts[1:], count]
    numbers = [k for k, (start, end) in enumerate(zip(starts, ends)) for _ in range(end - start)]
    return tensor_of(numbers, dtype=dtypes.int64, device=input.device), len(ends)


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
