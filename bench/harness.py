"""Runs a case: the results of all subjects compared, then their times taken in turn."""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import peers
from .case import Case, compare, tolerance

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 900.0
# How long a turn should take, and how long everything rests between two, with one thread and with several. Idle threads
# of a pool spin after their last call, on the core that the next subject needs: OpenBLAS's for 40 ms of processor time,
# libgomp's for 8 (measured as the processor time of a process that sleeps after a product of 512x512 matrices). With
# one thread there is no pool, and nothing to wait for.
TURN = {False: 0.01, True: 0.05}
PAUSE = {False: 0.0, True: 0.1}
# A time during which other processes used more cores than this is not a quiet one. It is told of blocks of so many
# seconds, because the system counts processor time in hundredths.
BUSY, BLOCK = 0.1, 0.4


class SubjectError(Exception):
    """A subject failed, or its process died."""


class Unavailable(Exception):
    """A subject cannot be started here; the message says why."""


class Worker:
    """A subject's process."""

    def __init__(self, subject: str, device: str, threads: int):
        self.subject = subject
        command = [sys.executable, "-m", "bench.worker", subject, device, str(threads)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=peers.environment(subject, threads),
        )
        try:
            self.description: dict[str, Any] = self._answer(TIMEOUT)
        except BaseException:
            self.close()
            raise

    def _answer(self, timeout: float) -> Any:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                self.process.kill()
                raise SubjectError(f"{self.subject} did not answer within {timeout:.0f} seconds")
        try:
            kind, value = pickle.load(self.process.stdout)
        except EOFError:
            raise SubjectError(f"the process of {self.subject} ended with status {self.process.wait()}") from None
        if kind == "unavailable":
            raise Unavailable(value)
        if kind == "error":
            raise SubjectError(f"{self.subject}: {value.rstrip()}")
        return value

    def ask(self, command: str, *arguments: Any) -> Any:
        """The answer to a command of `bench.worker.Bench`."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either, and that is reported
            pickle.dump((command, arguments), self.process.stdin, pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()
        return self._answer(TIMEOUT)

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Plan:
    """How a run measures."""

    device: str = "cpu"
    subjects: Sequence[str] = peers.OWN
    peers: Sequence[str] = ("torch",)
    threads: int = 1
    rounds: int = 60
    seconds: float = 4.0  # of timing for each case
    quick: bool = False
    timed: bool = True  # False: compare the results and stop there
    pause: float | None = None  # None: as PAUSE says


@dataclass
class Timing:
    """What was measured of one subject: seconds a step in each round, the peak memory, the share of the bandwidth."""

    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    memory: int | None = None
    bandwidth: float | None = None
    busy: float | None = None  # how many cores other processes used meanwhile

    @property
    def median(self) -> float:
        return float(np.median(self.times))


def ratio(ours: Timing, theirs: Timing) -> tuple[float, float, float]:
    """Median, 20th and 80th percentile of the ratios of the rounds."""
    low, middle, high = np.percentile(ours.times / theirs.times, (20, 50, 80))
    return float(middle), float(low), float(high)


def foreign(own: Sequence[int]) -> float | None:
    """Seconds of processor time that processes other than these and this one have used; None where Linux is not."""
    tick = os.sysconf("SC_CLK_TCK")
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        mine = 0
        for pid in (*own, os.getpid()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            mine += int(fields[11]) + int(fields[12])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal - mine) / tick


class Harness:
    """The workers of a run, started when they are first wanted, and what was left out."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.workers: dict[tuple[str, int], Worker] = {}
        self.left_out: dict[str, str] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self.bandwidth: dict[str, float] = {}
        for name in plan.peers:
            if peers.version(name) is None:
                self.left_out[name] = "not installed"
            elif plan.device == "cuda" and plan.timed and not peers.SUBJECTS[name].cuda:
                self.left_out[name] = "does not use the GPU"

    def close(self) -> None:
        """End all workers."""
        while self.workers:
            self.workers.popitem()[1].close()

    def threads(self, case: Case) -> int:
        """The number of threads a case is run with."""
        return min(case.threads or self.plan.threads, self.plan.threads)

    def worker(self, subject: str, threads: int) -> Worker | None:
        """The subject's worker; None, noted in `left_out`, if it cannot be started."""
        if subject in self.left_out:
            return None
        if (subject, threads) not in self.workers:
            if any(n != threads for _, n in self.workers):
                self.close()  # the pools of another number of threads are not wanted beside these
            try:
                worker = Worker(subject, self.plan.device, threads)
            except Unavailable as why:
                if subject in peers.OWN:
                    raise SubjectError(f"{subject} cannot be started: {why}") from None
                self.left_out[subject] = str(why)
                return None
            self.workers[subject, threads] = worker
            self.described[subject] = worker.description
        return self.workers[subject, threads]

    def take_part(self, case: Case) -> dict[str, Worker]:
        """The workers of a case, by subject; the reference, PyTorch where there is one, comes first."""
        wanted = [p for p in self.plan.peers if p in case.peers]
        subjects = [*(p for p in wanted if p == "torch"), *self.plan.subjects, *(p for p in wanted if p != "torch")]
        found = {s: self.worker(s, self.threads(case)) for s in subjects}
        return {s: w for s, w in found.items() if w is not None}

    # -- one case
    def compare(self, case: Case, workers: dict[str, Worker]) -> int:
        """Build the case everywhere; the bytes it must move. Mismatch where results are not the reference's."""
        curves = [(case.dtype, case.steps, tolerance(case.dtype, case.terms))]
        if case.curve is not None:
            dtype, steps, limit = case.curve
            curves.insert(0, (dtype, 10 if self.plan.quick else steps, limit))
        traffic = 0
        for dtype, steps, limit in curves:
            expected = None
            for subject, worker in workers.items():
                with self.naming(case):
                    traffic = max(traffic, worker.ask("prepare", case, dtype))
                    found = worker.ask("results", steps)
                if expected is None:
                    expected = found
                else:
                    compare(case.id, subject, found, expected, limit)
        return traffic

    @contextlib.contextmanager
    def naming(self, case: Case) -> Iterator[None]:
        """Errors of subjects get the name of the case."""
        try:
            yield
        except SubjectError as error:
            raise SubjectError(f"{case.id}: {error}") from None

    def time(self, case: Case, workers: dict[str, Worker], least: int = 5) -> dict[str, Timing]:
        """The times of the prepared case: rounds of a turn for each subject, the order rotating.

        Rounds during which other processes were busy are taken again, for up to twice the time; if fewer than `least`
        quiet ones come of it, all of them count.
        """
        plan, subjects = self.plan, list(workers)
        several = self.threads(case) > 1
        turn = TURN[several]
        pause = 0.0 if plan.quick else PAUSE[several] if plan.pause is None else plan.pause
        repetitions, extra = {}, {}
        spent = 0.0
        for s in subjects:
            step = workers[s].ask("warm", 0.005 if plan.quick else 0.3, case.device_clock)
            repetitions[s], extra[s] = max(1, min(10_000, int(turn / step))), step < 1
            spent += max(turn, step) + step * extra[s] + pause
            time.sleep(pause)
        least = 2 if plan.quick else least
        rounds = max(least, min(plan.rounds, int(plan.seconds / spent)))
        block = min(rounds, max(1, round(BLOCK / spent)))
        ours = [w.process.pid for w in workers.values()]
        taken: list[list[float]] = []
        busy: list[float] = []
        latest = time.perf_counter() + (0 if plan.quick else 2 * plan.seconds)
        while len(taken) < rounds or (sum(b <= BUSY for b in busy) < rounds and time.perf_counter() < latest):
            start, before = time.perf_counter(), foreign(ours)
            for _ in range(block):
                row = [0.0] * len(subjects)
                for i in range(len(subjects)):
                    k = (i + len(taken)) % len(subjects)
                    s = subjects[k]
                    took = workers[s].ask("time", repetitions[s], case.device_clock, extra[s])
                    row[k] = took / repetitions[s]
                    time.sleep(pause)
                taken.append(row)
            elapsed, after = time.perf_counter() - start, foreign(ours)
            known = before is not None and after is not None
            busy += [(after - before) / elapsed if known else 0.0] * block  # type: ignore[operator]
        quiet = [r for r, b in enumerate(busy) if b <= BUSY]
        kept = quiet if len(quiet) >= least else list(range(len(taken)))
        times = np.array(taken)[kept]
        share = float(np.mean([busy[r] for r in kept]))
        return {s: Timing(times[:, k], busy=share) for k, s in enumerate(subjects)}

    def measure(self, case: Case) -> dict[str, Timing]:
        """Everything about one case, by subject; empty where the run only compares."""
        workers = self.take_part(case)
        traffic = self.compare(case, workers)
        if not self.plan.timed:
            return {}
        with self.naming(case):
            timings = self.time(case, workers)
            for subject, timing in timings.items():
                if case.memory:
                    timing.memory = self.memory(case, subject)
                if case.device_clock and traffic and self.plan.device == "cuda":
                    timing.bandwidth = traffic / timing.median / self.copy_bandwidth(workers)
        return timings

    def memory(self, case: Case, subject: str, steps: int = 10) -> int:
        """The peak memory of a case in a fresh process: allocators keep what an earlier case has used."""
        worker = Worker(subject, self.plan.device, self.threads(case))
        try:
            peak: int = worker.ask("peak", case, steps)
            return peak
        finally:
            worker.close()

    def copy_bandwidth(self, workers: dict[str, Worker]) -> float:
        """Bytes a second of a copy on the device, as our own subject does it, measured once in a run."""
        subject = next(s for s in workers if s in peers.OWN)
        if subject not in self.bandwidth:
            self.bandwidth[subject] = workers[subject].ask("copy_bandwidth")
        return self.bandwidth[subject]
