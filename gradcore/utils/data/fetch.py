"""From indices to batches, in whichever process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .collate import default_collate
from .dataset import IterableDataset, batch_indexing
from .sampler import batched

Collate = Callable[[Any], Any]


def fetcher(dataset: Any, collate: Collate, batch_size: int | None, drop_last: bool, batches: bool) -> Collate:
    """A function from an index (if `batches`, a list of them) to what the loader gives for it.

    That of an `IterableDataset` does not look at the index, and raises StopIteration at the end.
    """
    if isinstance(dataset, IterableDataset):
        samples: Iterable[Any] = dataset
        if batch_size is not None:
            samples = batched(samples, batch_size, drop_last)
        following = map(collate, samples).__next__
        return lambda index: following()
    if not batches:
        return lambda index: collate(dataset[index])
    rows = batch_indexing(dataset) if collate is default_collate else None
    if rows is not None:
        return rows
    # PyTorch's protocol for datasets that fetch several samples at once.
    several = getattr(dataset, "__getitems__", None)
    return lambda indices: collate(several(indices) if several else [dataset[i] for i in indices])
