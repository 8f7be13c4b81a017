"""What runs in a worker process of a `DataLoader`."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import numpy as np

from ...backends.cpu.threads import set_num_threads
from ...tensor.random import manual_seed
from . import info
from .dataset import IterableDataset
from .transfer import Packed

# Seconds between looks at whether the parent is still there; a closed connection is noticed at once.
PATIENCE = 5.0


class Failure:
    """An exception in a worker, to be raised again in the process that trains."""

    def __init__(self, where: str):
        kind = sys.exc_info()[0]
        assert kind is not None
        self.text = f"Caught {kind.__name__} {where}.\nOriginal {traceback.format_exc()}"
        self.kind: Any = kind
        try:
            pickle.dumps(kind)
        except Exception:  # a local class
            self.kind = RuntimeError

    def reraise(self) -> None:
        """Raise an exception of its class, or RuntimeError if that takes more than a message."""
        error: Any
        if self.kind is KeyError:
            error = KeyError(_Shown(self.text))
        else:
            try:
                error = self.kind(self.text)
            except Exception:
                error = RuntimeError(self.text)
        try:
            raise error
        finally:
            del error  # or it would hold on to this frame, which holds on to it


class _Shown(str):
    """A string that is its own repr: KeyError shows that."""

    def __repr__(self) -> str:
        return str(self)


class End:
    """In the place of a batch: an `IterableDataset` has no more."""


@dataclass(frozen=True)
class Order:
    """What a worker is told: to fetch batch `number` of an epoch, or to begin the epoch (`number` None)."""

    epoch: int
    number: int | None = None
    index: Any = None


def work(
    conn: Connection,
    inherited: list[Connection],
    dataset: Any,
    make_fetch: Callable[[Any], Callable[[Any], Any]],
    base_seed: int,
    id: int,
    count: int,
    init: Callable[[int], None] | None,
) -> None:
    """Serve orders from `conn` until there are no more, in a process of its own."""
    for other in inherited:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, which then closes the connection
    set_num_threads(1)
    seed = base_seed + id
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(np.random.SeedSequence([base_seed, id]).generate_state(4))
    info.this = info.WorkerInfo(id, count, seed, dataset)
    where = f"in DataLoader worker process {id}"
    failure = None
    try:
        if init is not None:
            init(id)
    except Exception:
        failure = Failure(where)
    orders = _Orders(conn)
    fetch: Any = None
    while (order := orders.next()) is not None:
        if order.number is None:
            fetch = None
            continue
        try:
            if failure is None:
                fetch = fetch or make_fetch(dataset)
                packed = Packed(fetch(order.index))
            else:
                packed, failure = Packed(failure), None
        except Exception as error:
            ended = isinstance(error, StopIteration) and isinstance(dataset, IterableDataset)
            packed = Packed(End() if ended else Failure(where))
        try:
            packed.send(conn, (order.epoch, order.number))
        except OSError:
            return  # nobody waits for it any more
        del packed


class _Orders:
    """The orders, taken from the connection as they come, so that the parent never waits for a busy worker."""

    def __init__(self, conn: Connection):
        self._conn, self._parent = conn, os.getppid()
        self._waiting: SimpleQueue[Order | None] = SimpleQueue()
        self._epoch = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                while not self._conn.poll(PATIENCE):
                    if os.getppid() != self._parent:  # another worker may hold its end of the connection
                        raise EOFError
                order = self._conn.recv()
                if order is None:
                    raise EOFError
                self._epoch = order.epoch
                self._waiting.put(order)
        except (EOFError, OSError):
            self._waiting.put(None)

    def next(self) -> Order | None:
        """The next order of the present epoch; None at the end."""
        while True:
            order = self._waiting.get()
            if order is None or order.epoch == self._epoch:
                return order
