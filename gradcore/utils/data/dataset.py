"""Datasets: samples by index, or one after another."""

from __future__ import annotations

import itertools
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ...tensor import Generator, Tensor
from ...tensor.creation import from_numpy
from ...tensor.random import randperm

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Samples by index: subclasses define `__getitem__(index)` and, for most samplers, `__len__()`."""

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")


class IterableDataset(Dataset[T_co]):
    """Samples one after another, as from a stream: subclasses define `__iter__()`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample `i` is `(t[i] for t in tensors)`: tensors of the same first dimension.

    >>> import gradcore
    >>> dataset = TensorDataset(gradcore.arange(3), gradcore.arange(3) * 10)
    >>> len(dataset), dataset[2]
    (3, (tensor(2), tensor(20)))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        sizes = [tensor.size(0) for tensor in tensors]
        if len(set(sizes)) > 1:
            raise AssertionError(f"Size mismatch between tensors: their first dimensions are {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`."""

    dataset: Dataset[T_co]
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T_co]]:
    """Split a dataset at random into subsets that do not overlap.

    Args:
        dataset: one with a length.
        lengths: of the subsets, adding up to the dataset's; or fractions adding up to 1, whose remainder goes to the
            first subsets, one sample each.
        generator: of the permutation; the default one if None.

    Raises:
        ValueError: the lengths do not add up to the dataset's, or a fraction is not between 0 and 1.

    >>> [len(part) for part in random_split(range(10), [0.7, 0.3])]
    [7, 3]
    """
    total = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
        sizes = [math.floor(total * fraction) for fraction in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
        for i, size in enumerate(sizes):
            if size == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=2
                )
    elif sum(lengths) != total:
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset! "
            f"The lengths {list(lengths)} add up to {sum(lengths)}, the dataset has {total} samples."
        )
    else:
        sizes = [int(length) for length in lengths]
    indices = randperm(total, generator=generator).tolist()
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, indices[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def batch_indexing(dataset: Dataset[Any]) -> Callable[[Iterable[int]], list[Tensor]] | None:
    """A function from indices to what the default collation makes of these samples, by one indexing a tensor.

    None if the samples of `dataset` have to be fetched one by one: a subclass may do anything in `__getitem__`.
    """
    getitem = getattr(type(dataset), "__getitem__", None)
    if getitem is TensorDataset.__getitem__:
        tensors = dataset.tensors  # type: ignore[attr-defined]

        def rows(indices: Iterable[int]) -> list[Tensor]:
            index = from_numpy(np.array([operator.index(i) for i in indices], np.int64))
            return [tensor[index] for tensor in tensors]

        return rows
    if getitem is Subset.__getitem__:
        inner = batch_indexing(dataset.dataset)  # type: ignore[attr-defined]
        positions = dataset.indices  # type: ignore[attr-defined]
        return inner and (lambda indices: inner([positions[i] for i in indices]))
    return None
