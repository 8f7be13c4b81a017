"""A subject in a process of its own, told what to do through a pipe: `python -m bench.worker SUBJECT DEVICE THREADS`.

Thread pools, allocators and import hooks of the subjects never meet, and the peak memory is one subject's own.
Messages are pickles on standard input and output; what a subject prints goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from typing import Any

from . import peers
from .case import Case, Step


class Bench:
    """The commands. One step is prepared at a time."""

    def __init__(self, subject: str, device: str, threads: int):
        self.lab = peers.load(subject, device, threads)
        self.subject, self.device = subject, device
        self.step: Step | None = None

    def describe(self) -> dict[str, Any]:
        """Version and executor, once the subject has proved that it works."""
        return {"version": peers.version(self.subject), "executor": peers.executor(self.subject, self.device)}

    def prepare(self, case: Case, dtype: str) -> int:
        """Build the step of a case in a dtype; the bytes it must move, 0 if that is not known."""
        self.step = None  # frees the last one's tensors first
        self.step = case.build(self.lab, dtype, **case.arguments)
        return getattr(self.step, "traffic", 0)

    def results(self, count: int) -> list[Any]:
        """The results of the next `count` steps, on the host."""
        assert self.step is not None
        return [array for _ in range(count) for array in self.lab.arrays(self.step())]

    def warm(self, seconds: float, device_clock: bool) -> float:
        """Run for `seconds`, at least twice; the least time of a step."""
        assert self.step is not None
        least, start, repetitions = float("inf"), time.perf_counter(), 1
        while True:
            took = self.lab.seconds(self.step, repetitions, device_clock)
            least = min(least, took / repetitions)
            if time.perf_counter() - start > seconds:
                return least
            if took < seconds / 100:
                repetitions *= 2

    def time(self, repetitions: int, device_clock: bool, extra: bool) -> float:
        """Seconds that `repetitions` steps take, with `extra` after one that is not counted."""
        assert self.step is not None
        return self.lab.seconds(self.step, repetitions, device_clock, extra)

    def peak(self, case: Case, steps: int) -> int:
        """The peak memory of building a case and running it, above what the imported subject and the data use."""
        if case.load is not None:
            case.load(case.dtype)
        self.lab.reset_peak()
        self.prepare(case, case.dtype)
        assert self.step is not None
        for _ in range(steps):
            self.lab.finish(self.step())
        return self.lab.peak()

    def copy_bandwidth(self) -> float:
        """Bytes a second of a copy on the device."""
        return self.lab.copy_bandwidth()  # type: ignore[attr-defined]


def main() -> None:
    """Serve until standard input closes."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def reply(*message: Any) -> None:
        pickle.dump(message, replies, pickle.HIGHEST_PROTOCOL)
        replies.flush()

    try:
        bench = Bench(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        reply("ok", bench.describe())
    except Exception as error:
        reply("unavailable", " ".join(f"{type(error).__name__}: {error}".split()))
        return
    while True:
        try:
            command, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            reply("ok", getattr(bench, command)(*arguments))
        except Exception:
            reply("error", traceback.format_exc())


if __name__ == "__main__":
    main()
