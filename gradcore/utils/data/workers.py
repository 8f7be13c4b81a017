"""Worker processes of a `DataLoader`, and the batches that come from them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import connection
from typing import Any, NoReturn

from .transfer import Received
from .worker import PATIENCE, End, Failure, Order, work

_running: weakref.WeakSet[Workers] = weakref.WeakSet()


class Workers:
    """Processes that fetch batches of one dataset, until `close`, the end of the process, or nobody refers to them."""

    def __init__(
        self,
        count: int,
        dataset: Any,
        make_fetch: Callable[[Any], Callable[[Any], Any]],
        base_seed: int,
        init: Callable[[int], None] | None,
        context: Any,
    ):
        context = context or multiprocessing.get_context()
        self.epoch = 0
        self.conns: list[connection.Connection] = []
        self.processes: list[Any] = []
        _running.add(self)
        self.close = weakref.finalize(self, _close, os.getpid(), self.conns, self.processes)
        try:
            for id in range(count):
                mine, theirs = context.Pipe()
                self.conns.append(mine)
                # A forked process inherits our ends of connections, with which none would seem closed when we do that.
                forked = context.get_start_method() == "fork"
                inherited = [c for workers in _running for c in workers.conns] if forked else []
                arguments = (theirs, inherited, dataset, make_fetch, base_seed, id, count, init)
                process = context.Process(target=work, args=arguments, daemon=True)
                process.start()
                theirs.close()  # so that its end is seen here when it dies
                self.processes.append(process)
        except BaseException:
            self.close()
            raise

    def send(self, worker: int, order: Order) -> None:
        """Tell a worker what to do."""
        try:
            self.conns[worker].send(order)
        except OSError:
            self._died(worker)

    def receive(self, workers: list[int], timeout: float | None) -> list[tuple[int, Received]]:
        """What has arrived from any of these workers, in the time given (else nothing).

        Raises:
            RuntimeError: a worker is dead.
        """
        waiting = {self.conns[w]: w for w in workers}
        arrived = []
        for conn in connection.wait(list(waiting), timeout):
            worker = waiting[conn]  # type: ignore[index]
            try:
                arrived.append((worker, Received(self.conns[worker])))
            except (EOFError, OSError):
                self._died(worker)
        return arrived

    def _died(self, worker: int) -> NoReturn:
        """Raise the error for a worker that is no more."""
        process = self.processes[worker]
        process.join(PATIENCE)
        code, pid = process.exitcode, process.pid
        if code is not None and code < 0:
            how = f"DataLoader worker (pid {pid}) is killed by signal: {signal.strsignal(-code)}. "
            if -code in (signal.SIGKILL, getattr(signal, "SIGBUS", None)):
                how += "It is possible that dataloader's workers are out of (shared) memory."
        else:
            how = (
                f"DataLoader worker (pid {pid}) exited unexpectedly with exit code {code}. Details are lost due to "
                "multiprocessing. Rerunning with num_workers=0 may give better error trace."
            )
        self.close()
        raise RuntimeError(f"DataLoader worker (pid(s) {pid}) exited unexpectedly") from RuntimeError(how)


def _close(owner: int, conns: list[connection.Connection], processes: list[Any]) -> None:
    """Let the processes end, which those that do not are made to after some seconds."""
    if os.getpid() != owner:  # in a process forked since
        return
    for conn in conns:
        with suppress(OSError):
            conn.send(None)
        conn.close()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.terminate()
            process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()


class Batches(Iterator[Any]):
    """The batches of one epoch, in the order of the indices unless `in_order` is False."""

    def __init__(
        self,
        workers: Workers,
        indices: Iterator[Any],
        *,
        ahead: int,
        timeout: float,
        in_order: bool,
        pin: Callable[[Any], Any] | None,
        persistent: bool,
    ):
        self._workers, self._indices = workers, indices
        self._timeout, self._in_order, self._pin, self._persistent = timeout, in_order, pin, persistent
        workers.epoch += 1
        self._epoch = workers.epoch
        self._active = list(range(len(workers.conns)))
        self._turns = itertools.cycle(self._active[:])
        self._numbers = itertools.count()
        # Of the batches that were ordered and not yet returned: who has the order, and what came.
        self._owners: dict[int, int] = {}
        self._ready: dict[int, Any] = {}
        for worker in self._active:
            workers.send(worker, Order(self._epoch))
        for _ in range(ahead * len(self._active)):
            self._order()

    def __iter__(self) -> Iterator[Any]:
        return self

    def _order(self) -> None:
        """Let the next worker fetch the next batch, if there is one."""
        if not self._active:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        if self._in_order:
            worker = next(w for w in self._turns if w in self._active)
        else:  # the one with the least to do
            owed = list(self._owners.values())
            worker = min(self._active, key=owed.count)
        number = next(self._numbers)
        self._owners[number] = worker
        self._workers.send(worker, Order(self._epoch, number, index))

    def __next__(self) -> Any:
        if self._workers.epoch != self._epoch:
            raise RuntimeError("the workers of this DataLoader, which are persistent, are at another iteration since")
        while self._owners:
            number = next(iter(self._owners))
            if not self._in_order:
                number = next(iter(self._ready), number)
            if number not in self._ready:
                self._wait()
                continue
            worker, received = self._owners.pop(number), self._ready.pop(number)
            value = received.value()
            if isinstance(value, End):
                self._ended(worker)
                continue
            self._order()
            if isinstance(value, Failure):
                value.reraise()
            return value if self._pin is None else self._pin(value)
        if not self._persistent:
            self._workers.close()
        raise StopIteration

    def _wait(self) -> None:
        """Take in what arrives, at least one batch."""
        waiting = sorted({w for n, w in self._owners.items() if n not in self._ready})
        arrived = self._workers.receive(waiting, self._timeout or None)
        if not arrived:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        for _, received in arrived:
            epoch, number = received.label
            if epoch == self._epoch and number in self._owners:
                self._ready[number] = received

    def _ended(self, worker: int) -> None:
        """An `IterableDataset` is at its end in one of the workers, which has no more to do."""
        if worker in self._active:
            self._active.remove(worker)
            for number in [n for n, w in self._owners.items() if w == worker and n not in self._ready]:
                del self._owners[number]
            self._order()
