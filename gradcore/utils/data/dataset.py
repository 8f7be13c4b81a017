"""Datasets: samples by index, or one after another."""

from __future__ import annotations

import bisect
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

    def __add__(self, other: Any) -> Any:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Samples one after another, as from a stream: subclasses define `__iter__()`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Any) -> Any:
        return ChainDataset([self, other])


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


class StackDataset(Dataset[Any]):
    """Sample `i` holds the samples `i` of several datasets: a tuple of them, or, for datasets by name, a dictionary.

    >>> StackDataset(images=range(3), labels="abc")[1]
    {'images': 1, 'labels': 'b'}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError(
                "Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like input/output, but both "
                "types are given."
            )
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets: Any = args or kwargs
        lengths = {len(dataset) for dataset in args or kwargs.values()}
        if len(lengths) > 1:
            raise ValueError("Size mismatch between datasets")
        (self._length,) = lengths

    def _each(self, take: Callable[[Any], Any]) -> Any:
        if isinstance(self.datasets, dict):
            return {name: take(dataset) for name, dataset in self.datasets.items()}
        return tuple(map(take, self.datasets))

    def __getitem__(self, index: Any) -> Any:
        return self._each(lambda dataset: dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        def several(dataset: Any) -> Any:
            found = dataset.__getitems__(indices) if hasattr(dataset, "__getitems__") else [dataset[i] for i in indices]
            if len(found) != len(indices):
                raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(found)}")
            return found

        columns = self._each(several)
        if isinstance(columns, dict):
            return [dict(zip(columns, row)) for row in zip(*columns.values())]
        return list(zip(*columns))

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one dataset after the other; `dataset + other` makes one.

    >>> list(ConcatDataset([range(2), range(5, 7)]))
    [0, 1, 5, 6]
    """

    datasets: list[Any]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(itertools.accumulate(map(len, self.datasets)))

    def __getitem__(self, index: int) -> T_co:
        if not -len(self) <= index:
            raise ValueError("absolute value of index should not exceed dataset length")
        if index >= len(self):
            raise IndexError("list index out of range")
        index += len(self) if index < 0 else 0
        which = bisect.bisect_right(self.cumulative_sizes, index)
        found: T_co = self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]
        return found

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """The samples of several iterable datasets, one stream after the other; `dataset + other` makes one."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def _checked(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self._checked())

    def __len__(self) -> int:
        return sum(map(len, self._checked()))


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
