"""What a worker process of a `DataLoader` knows of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker is: its number `id` of `num_workers`, the `seed` of its random numbers, and its `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


# What this process is.
this: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process of a `DataLoader` what it is; None elsewhere.

    An `IterableDataset` asks it, to give each worker another part of the stream.
    """
    return this
