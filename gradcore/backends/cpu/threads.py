"""A small pool of threads. NumPy's loops, BLAS and native kernels run without holding the interpreter's lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from .memory import keep_freed

# Elements from which NumPy's loops are worth another thread.
GRAIN = 1 << 16
# Runs the items from the first number to before the second.
Task = Callable[[int, int], None]


def get_num_threads() -> int:
    """How many threads work on one large operation on the CPU.

    At first `GRADCORE_NUM_THREADS`, else `OMP_NUM_THREADS`, else the number of cores that this process may use.
    """
    return _count


def set_num_threads(num: int) -> None:
    """Let `num` threads, the calling one included, work on one large operation on the CPU.

    NumPy's BLAS is told too, if threadpoolctl is installed; else it goes by `OPENBLAS_NUM_THREADS` and the like, which
    it reads when NumPy is imported. Results do not depend on the number of threads, except those of BLAS.

    Raises:
        TypeError: `num` is no int.
        RuntimeError: it is not positive.
    """
    global _count
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {num}")
    _count = num
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(limits=num, user_api="blas")


def parallel(task: Task, count: int, grain: int = 1) -> None:
    """Run `task(start, stop)` for pieces that cover `range(count)` once, on this thread and those of the pool.

    No piece has fewer than `grain` items, unless `count` has; how many there are depends on the number of threads, so
    what a task computes for an item must not depend on the other items. A task that calls `parallel` runs its pieces
    itself. The first exception is raised here, when no piece is running any more; those not begun are left out.
    """
    keep_freed()  # what is worth cutting into pieces is worth keeping the memory of
    pieces = min(count // max(grain, 1), PIECES * _count)
    if _count == 1 or pieces < 2 or getattr(_local, "busy", False):
        if count:
            task(0, count)
        return
    job = _Job(task, count, pieces)
    _pool.help(job, min(_count, pieces) - 1)
    _local.busy = True
    try:
        job.work()
    finally:
        _local.busy = False
    job.wait()


# Pieces for each thread: when one is held up, the others take what it would have done.
PIECES = 4


class _Job:
    """A task cut into pieces, which threads take one after the other."""

    def __init__(self, task: Task, count: int, pieces: int):
        self.task, self.count, self.pieces = task, count, pieces
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.begun = self.running = 0
        self.idle = threading.Condition(self.lock)

    def work(self) -> None:
        """Run pieces until none is left."""
        while True:
            with self.lock:
                piece = self.begun
                if piece >= self.pieces:
                    return
                self.begun += 1
                self.running += 1
            error = None
            try:
                self.task(piece * self.count // self.pieces, (piece + 1) * self.count // self.pieces)
            except BaseException as caught:
                error = caught
            with self.lock:
                self.running -= 1
                if error is not None:
                    self.error = self.error or error
                    self.begun = self.pieces
                if self.begun >= self.pieces and not self.running:
                    self.idle.notify_all()

    def wait(self) -> None:
        """Until no piece is running. A thread of the pool that comes later finds nothing to do, and nothing kept."""
        with self.lock:
            while self.running:
                self.idle.wait()
        del self.task
        if self.error is not None:
            raise self.error


class _Pool:
    """Threads that wait for jobs; started when they are first needed, and as many as were ever asked for."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.started = 0
        self.lock = threading.Lock()

    def help(self, job: _Job, helpers: int) -> None:
        """Have up to `helpers` threads work on the job."""
        if self.started < helpers:
            with self.lock:
                while self.started < helpers:
                    self.started += 1
                    name = f"gradcore-{self.started}"
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
        for _ in range(helpers):
            self.jobs.put(job)

    def _serve(self) -> None:
        _local.busy = True
        while True:
            self.jobs.get().work()


def _default() -> int:
    for name in ("GRADCORE_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").split(",")[0].strip()
        if first.isdigit() and int(first) > 0:
            return int(first)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _after_fork() -> None:
    global _pool, _local
    _pool, _local = _Pool(), threading.local()  # the parent's threads are not here


_count = _default()
_local: Any = threading.local()
_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["GRAIN", "Task", "get_num_threads", "parallel", "set_num_threads"]
