"""Batches of a dataset, in order or shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ...tensor import Generator
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset, batch_indexing
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, batched

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Iterates over a dataset in batches, in this process.

    Args:
        dataset: anything with `__getitem__` and `__len__`, or an `IterableDataset`.
        batch_size: samples a batch; None to get samples one by one, without a batch dimension.
        shuffle: a new random order each time the iteration starts.
        sampler: the order of the samples instead.
        batch_sampler: the lists of indices that make the batches instead.
        num_workers: only 0: the samples are fetched in this process.
        collate_fn: makes a batch from a list of samples (default: `default_collate`).
        pin_memory: has no effect yet, and says so.
        drop_last: leave out a last batch that is shorter than the others.
        generator: of the shuffling; the default one if None.

    `timeout`, `worker_init_fn`, `multiprocessing_context`, `prefetch_factor`, `persistent_workers` and `in_order` are
    about worker processes: they have no meaning here and are accepted only where PyTorch accepts them without workers.

    Raises:
        NotImplementedError: `num_workers` above 0.
        ValueError: options that exclude each other, or out of range.

    >>> import gradcore
    >>> from gradcore.utils.data import TensorDataset
    >>> loader = DataLoader(TensorDataset(gradcore.arange(5), gradcore.arange(5) ** 2), batch_size=3)
    >>> for x, y in loader:
    ...     print(x, y)
    tensor([0, 1, 2]) tensor([0, 1, 4])
    tensor([3, 4]) tensor([ 9, 16])
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_worker_options(num_workers, timeout, multiprocessing_context, prefetch_factor, persistent_workers)
        if pin_memory:
            warnings.warn("DataLoader: pin_memory=True has no effect yet: batches are in pageable memory", stacklevel=2)
        if isinstance(dataset, IterableDataset):
            for name, option in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if option is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={option}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None and not isinstance(dataset, IterableDataset):
            sized: Any = dataset
            sampler = RandomSampler(sized, generator=generator) if shuffle else SequentialSampler(sized)
        if batch_size is not None:
            # For an iterable dataset this is only the check of the two options: its samples have no indices.
            batch_sampler = BatchSampler(sampler if sampler is not None else (), batch_size, drop_last)

        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.generator = generator
        self.collate_fn: Callable[[Any], Any] = collate_fn or (
            default_convert if batch_sampler is None else default_collate
        )

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            samples: Iterable[Any] = self.dataset
            if self.batch_size is not None:
                samples = batched(samples, self.batch_size, self.drop_last)
            return map(self.collate_fn, samples)
        if self.batch_sampler is None:
            assert self.sampler is not None
            return (self.collate_fn(self.dataset[index]) for index in self.sampler)
        rows = batch_indexing(self.dataset) if self.collate_fn is default_collate else None
        if rows is not None:
            return map(rows, self.batch_sampler)
        return (self.collate_fn(self._samples(indices)) for indices in self.batch_sampler)

    def _samples(self, indices: Iterable[Any]) -> Any:
        # PyTorch's protocol for datasets that fetch several samples at once.
        getitems = getattr(self.dataset, "__getitems__", None)
        return getitems(indices) if getitems else [self.dataset[index] for index in indices]

    def __len__(self) -> int:
        """The number of batches (of samples, if `batch_size` is None)."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
        n = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _check_worker_options(
    num_workers: int,
    timeout: float,
    multiprocessing_context: Any,
    prefetch_factor: int | None,
    persistent_workers: bool,
) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if num_workers > 0:
        raise NotImplementedError(
            f"DataLoader: num_workers={num_workers}, but worker processes are not supported yet: use num_workers=0, "
            "which fetches samples in this process (whole batches at once from a TensorDataset)"
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if multiprocessing_context is not None:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
            f"but got num_workers={num_workers}"
        )
    if prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if persistent_workers:
        raise ValueError("persistent_workers option needs num_workers > 0")
