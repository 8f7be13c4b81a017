"""Batches of a dataset, in order or shuffled, fetched here or by worker processes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ... import cuda
from ...tensor import Generator
from ...tensor.random import randint
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .fetch import fetcher
from .pin import pin_memory as pinned
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from .workers import Batches, Workers

T_co = TypeVar("T_co", covariant=True)

# What an iteration relies on.
_FIXED = frozenset(("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"))


class DataLoader(Generic[T_co]):
    """Iterates over a dataset in batches.

    With `num_workers` the samples are fetched, and made into batches, by as many processes, which come with the
    iteration and go with it. Their random numbers (`random`, NumPy's and gradcore's) follow from the generator's; an
    exception in one of them is raised here with its traceback. `get_worker_info()` tells a dataset where it runs. Large
    arrays come back through shared memory, without a copy.

    Args:
        dataset: anything with `__getitem__` and `__len__`, or an `IterableDataset`.
        batch_size: samples a batch; None to get samples one by one, without a batch dimension.
        shuffle: a new random order each time the iteration starts.
        sampler: the order of the samples instead.
        batch_sampler: the lists of indices that make the batches instead.
        num_workers: how many processes fetch; 0: this one.
        collate_fn: makes a batch from a list of samples (default: `default_collate`).
        pin_memory: put batches into page-locked memory, from where they get to a GPU faster.
        drop_last: leave out a last batch that is shorter than the others.
        timeout: seconds to wait for a batch of the workers; 0: as long as it takes.
        worker_init_fn: called in each worker with its number, first of all.
        multiprocessing_context: how workers are started: "fork", "spawn", "forkserver", a context of `multiprocessing`,
            or None for the platform's usual way. With "spawn" the arguments and samples have to be picklable.
        generator: of the shuffling, and the workers' seeds; the default one if None.
        prefetch_factor: how many batches each worker fetches ahead (default: 2).
        persistent_workers: keep the workers for the next iteration.
        pin_memory_device: has no effect; for compatibility.
        in_order: whether batches come in the order of the indices, or as they are ready.

    Raises:
        ValueError, TypeError: options that exclude each other, or out of range.

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
        _check_worker_options(num_workers, timeout, prefetch_factor, persistent_workers)
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
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = _context(multiprocessing_context, num_workers)
        self.generator = generator
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.collate_fn: Callable[[Any], Any] = collate_fn or (
            default_convert if batch_sampler is None else default_collate
        )

        # The workers that wait for the next iteration, and the length of a stream, once somebody has asked for it.
        self._workers: Workers | None = None
        self._told: int | None = None
        _check_number_of_workers(num_workers)
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and "_initialized" in vars(self):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Any]:
        pin = pinned if self.pin_memory and _can_pin() else None
        # Drawn in any case: what random numbers come next does not depend on the number of workers.
        base_seed = int(randint(0, 2**63 - 1, (), generator=self.generator))
        stream = isinstance(self.dataset, IterableDataset)
        source: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        indices = repeat(None) if stream else iter(source)
        make_fetch = partial(
            fetcher,
            collate=self.collate_fn,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
            batches=self.batch_sampler is not None,
        )
        batches: Iterator[Any]
        if self.num_workers:
            batches = self._from_workers(indices, make_fetch, base_seed, pin)
        else:
            batches = map(make_fetch(self.dataset), indices)
            batches = batches if pin is None else map(pin, batches)
        return self._counted(batches) if stream and self._told is not None else batches

    def _from_workers(self, indices: Iterator[Any], make_fetch: Any, base_seed: int, pin: Any) -> Batches:
        from .workers import Batches, Workers  # (multiprocessing is much to import)

        workers = self._workers
        if workers is None or not workers.close.alive:
            workers = Workers(
                self.num_workers,
                self.dataset,
                make_fetch,
                base_seed,
                self.worker_init_fn,
                self.multiprocessing_context,
            )
            if self.persistent_workers:
                self._workers = workers
        return Batches(
            workers,
            indices,
            ahead=self.prefetch_factor or 0,
            timeout=self.timeout,
            in_order=self.in_order,
            pin=pin,
            persistent=self.persistent_workers,
        )

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches of a stream, with a warning if there are more than it said."""
        for count, batch in enumerate(batches, 1):
            if self._told is not None and count > self._told:
                text = (
                    f"Length of IterableDataset {self.dataset} was reported to be {self._told} (when accessing "
                    f"len(dataloader)), but {count} samples have been fetched. "
                )
                if self.num_workers:
                    text += (
                        "For multiprocessing data-loading, this could be caused by not properly configuring the "
                        "IterableDataset replica at each worker. Please see "
                        "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
                    )
                warnings.warn(text, stacklevel=2)
            yield batch

    def __len__(self) -> int:
        """The number of batches (of samples, if `batch_size` is None)."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
        n = self._told = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        self._told = n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return self._told


def _check_worker_options(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _context(given: Any, num_workers: int) -> BaseContext | None:
    if given is None:
        return None
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
            f"but got num_workers={num_workers}"
        )
    import multiprocessing
    from multiprocessing.context import BaseContext

    if isinstance(given, str):
        methods = multiprocessing.get_all_start_methods()
        if given not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {methods!r}, but got "
                f"multiprocessing_context={given!r}"
            )
        return multiprocessing.get_context(given)
    if not isinstance(given, BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method, "
            f"but got multiprocessing_context={given}"
        )
    return given


def _check_number_of_workers(count: int) -> None:
    """A warning if there will be more workers than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count > cores:
        warnings.warn(
            f"This DataLoader will create {count} worker processes in total. Our suggested max number of worker in "
            f"current system is {cores}, which is smaller than what this DataLoader is going to create. Please be "
            "aware that excessive worker creation might get DataLoader running slow or even freeze, lower the worker "
            "number to avoid potential slowness/freeze if necessary.",
            stacklevel=3,
        )


def _can_pin() -> bool:
    if cuda.is_available():
        return True
    warnings.warn(
        "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
        stacklevel=4,
    )
    return False
