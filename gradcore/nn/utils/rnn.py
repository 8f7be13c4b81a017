"""Sequences of different lengths: padded to one tensor, or packed step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ... import dtypes
from ...tensor.creation import as_tensor, full, tensor
from ...tensor.functions import FUNCTIONS
from ...tensor.tensor import Tensor


class _Fields(NamedTuple):
    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


class PackedSequence(_Fields):
    """Sequences without padding: what all have at the first step, then at the second, and so on.

    Made by `pack_padded_sequence` and `pack_sequence`; recurrent modules take it and return it.

    Attributes:
        data: (elements of all sequences, *).
        batch_sizes: how many sequences there are at each step, int64 on the CPU.
        sorted_indices: which of the given sequences each is, the longest being first; None if they were in order.
        unsorted_indices: where each of the given sequences is.
    """

    def __new__(
        cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> PackedSequence:
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in nn.utils.rnn."
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data converted or moved as by `Tensor.to`, and the indices moved with it; itself if nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        moved = (None if i is None else i.to(data.device) for i in self[2:])
        return type(self)(data, self.batch_sizes, *moved)

    def cpu(self) -> PackedSequence:
        """`to("cpu")`."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> PackedSequence:
        """`to("cuda")`."""
        return self.to(device)

    def double(self) -> PackedSequence:
        """With float64 data."""
        return self.to(dtypes.float64)

    def float(self) -> PackedSequence:
        """With float32 data."""
        return self.to(dtypes.float32)

    def half(self) -> PackedSequence:
        """With float16 data."""
        return self.to(dtypes.float16)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return self.data.is_cuda


def invert_permutation(permutation: Any) -> Any:
    """The indices that undo a permutation; None for None.

    >>> import gradcore
    >>> gradcore.nn.utils.rnn.invert_permutation(gradcore.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    return None if permutation is None else FUNCTIONS["argsort"](permutation)


def _places(batch_sizes: Sequence[int], rows: int, device: Any) -> Any:
    """For each packed element its place in the padded (steps * rows)."""
    found = [t * rows + k for t, size in enumerate(batch_sizes) for k in range(size)]
    return tensor(found, dtype=dtypes.int64, device=device)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack the sequences of a padded batch (steps, batch, *), or (batch, steps, *) with `batch_first`.

    Args:
        lengths: of each sequence: a list, or a tensor on the CPU.
        enforce_sorted: the sequences are given by decreasing length; else they are sorted, and the result says how.

    Raises:
        RuntimeError: lengths do not fit the batch, are not positive, or not in order.
    """
    x: Any = input.transpose(0, 1) if batch_first else input
    order = None
    lengths = as_tensor(lengths, dtype=dtypes.int64).cpu()
    if not enforce_sorted:
        lengths, order = FUNCTIONS["sort"](lengths, descending=True)
        order = order.to(x.device)
        x = x.index_select(1, order)
    steps, rows = x.shape[:2]
    sizes = lengths.tolist()
    if not x.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if len(sizes) != rows:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={rows})"
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(a < b for a, b in zip(sizes, sizes[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[0] > steps:
        raise RuntimeError(f"pack_padded_sequence(): a length is {sizes[0]}, but input has only {steps} steps")
    batch_sizes = [sum(n > t for n in sizes) for t in range(sizes[0])]
    data = x.reshape(steps * rows, *x.shape[2:]).index_select(0, _places(batch_sizes, rows, x.device))
    return PackedSequence(data, tensor(batch_sizes), order, None)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Any, Any]:
    """The padded batch (steps, batch, *) of packed sequences, in the order that they were given in, and their lengths.

    Args:
        batch_first: return (batch, steps, *).
        padding_value: what follows after the end of a sequence.
        total_length: the number of steps, instead of the longest sequence's.

    Raises:
        ValueError: total_length is less than the longest sequence.
    """
    sizes = sequence.batch_sizes.tolist()
    steps, rows = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = sequence.data
    padded: Any = full((steps * rows, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    padded = padded.index_copy(0, _places(sizes, rows, data.device), data)
    padded = padded.reshape(steps, rows, *data.shape[1:])
    lengths = tensor([sum(size > k for size in sizes) for k in range(rows)])
    order = sequence.unsorted_indices
    if order is not None:
        padded, lengths = padded.index_select(1, order), lengths[order.cpu()]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    """Tensors (length, *) as one padded batch (steps, batch, *), or (batch, steps, *) with `batch_first`.

    >>> import gradcore
    >>> gradcore.nn.utils.rnn.pad_sequence([gradcore.tensor([1, 2]), gradcore.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    given: list[Any] = list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    steps = max(s.shape[0] for s in given)
    padded = []
    for s in given:
        missing = full((steps - s.shape[0], *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
        padded.append(FUNCTIONS["cat"]((missing, s) if padding_side == "left" else (s, missing)))
    return FUNCTIONS["stack"](padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The tensors (length, *) that a padded batch was made of."""
    x: Any = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    found = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if len(found) != x.shape[0]:
        raise ValueError(f"unpad_sequence(): there are {x.shape[0]} sequences, but {len(found)} lengths")
    return [s[:n] for s, n in zip(x, found)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack tensors (length, *): see `pack_padded_sequence`."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The tensors (length, *) that were packed."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)


__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]
