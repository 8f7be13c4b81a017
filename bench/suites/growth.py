"""Time and memory against depth, elements and parameters: a cost that grows faster than its size shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import peers
from ..case import Case, Step
from ..fit import exponent, flag
from ..harness import Harness, Timing
from ..lab import Lab
from ..record import Row
from .models import optimizer

SUITE = "growth"
# Of the memory that is available, what a point may take, and the copies of its tensor that a subject holds at most.
SHARE, COPIES = 0.7, 10


def depth(lab: Lab, dtype: str, *, n: int) -> Step:
    """Forward and backward through `n` multiplications of tensors of 4 elements."""
    x = lab.tensor(np.array([1, 2, 3, 4], dtype), grad=True)
    w = lab.tensor(np.array([1, 1 + 1e-5, 1 - 1e-5, 1], dtype), grad=True)

    def step() -> Any:
        x.grad = w.grad = None
        y = x
        for _ in range(n):
            y = y * w
        y.sum().backward()
        return x.grad, w.grad

    return step


def elements(lab: Lab, dtype: str, *, n: int) -> Step:
    """`(x * 1.5 + 0.5).tanh().sum()` of `n` elements, and its backward pass."""
    values = np.random.default_rng(0).random(n, np.float32).astype(dtype, copy=False)
    x = lab.tensor(values, grad=True)

    def step() -> Any:
        x.grad = None
        y = (x * 1.5 + 0.5).tanh().sum()
        y.backward()
        return y, x.grad[:1000]

    return step


def parameters(lab: Lab, dtype: str, *, n: int) -> Step:
    """A training step with Adam of `n` parameters of 4 elements each; the loss is the sum of all their squares."""
    ps = [lab.module.nn.Parameter(lab.tensor(np.full(4, 1 + i / n, dtype))) for i in range(n)]
    updates = optimizer(lab.module, "Adam", ps)

    def step() -> Any:
        updates.zero_grad()
        loss = (ps[0] * ps[0]).sum()
        for p in ps[1:]:
            loss = loss + (p * p).sum()
        loss.backward()
        updates.step()
        return loss

    return step


# The sizes of a run, and of a quick one; the number of threads.
CURVES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], int | None]] = {
    "depth": (depth, (10, 30, 100, 300, 1000, 3000, 10_000), (10, 100, 1000), 1),
    "elements": (elements, tuple(10**k for k in range(2, 9)), (100, 10_000, 1_000_000), None),
    "parameters": (parameters, (100, 300, 1000, 3000, 10_000, 100_000), (10, 30, 100), 1),
}


def available() -> float:
    """Bytes of memory that can still be used; infinity where that is not known."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else float("inf")


def cases(curve: str, quick: bool) -> list[Case]:
    """The points of a curve."""
    build, sizes, few, threads = CURVES[curve]
    return [
        Case(
            SUITE,
            f"{curve}-{n}",
            f"{curve} {n}",
            build,
            {"n": n},
            size=n,
            peers=("torch",),
            threads=threads,
            terms=n if curve == "depth" else 1000,
            memory=True,
        )
        for n in (few if quick else sizes)
    ]


def fits(case: Case, subjects: int) -> bool:
    """Whether all subjects can hold the tensors of a point at once."""
    return case.size * 4 * COPIES * subjects < SHARE * available()


def run(harness: Harness, pattern: str) -> Iterator[Row]:
    """Time and memory against depth, elements and parameters, with the exponents of the curves."""
    for curve in CURVES:
        if not re.search(pattern, curve):
            continue
        points: list[tuple[Case, dict[str, Timing]]] = []
        for case in cases(curve, harness.plan.quick):
            workers = harness.take_part(case)
            if not fits(case, len(workers)):
                print(f"     -  {case.id} left out: not enough memory")
                continue
            harness.compare(case, workers)
            with harness.naming(case):
                timings = harness.time(case, workers, least=3)
                for subject, timing in timings.items():
                    timing.memory = harness.memory(case, subject, steps=2)
            points.append((case, timings))
        if len(points) > 1:
            yield from rows(curve, points, harness)


def rows(curve: str, points: list[tuple[Case, dict[str, Timing]]], harness: Harness) -> Iterator[Row]:
    """The rows of one curve, of the subjects that have all its points: time and memory, each against each peer."""
    subjects = [s for s in points[0][1] if all(s in timings for _, timings in points)]
    sizes = [case.size for case, _ in points]
    theirs = [s for s in subjects if s not in peers.OWN] or [""]
    case = points[0][0]
    for subject in (s for s in subjects if s in peers.OWN):
        for peer in theirs:
            for quantity, unit in (("time", "s"), ("memory", "B")):
                costs = {
                    s: [t[s].median if quantity == "time" else float(t[s].memory or 0) for _, t in points]
                    for s in (subject, peer)
                    if s
                }
                own = exponent(sizes, costs[subject])
                other = exponent(sizes, costs[peer]) if peer else None
                yield {
                    "case": curve,
                    "subject": subject,
                    "executor": harness.described[subject]["executor"],
                    "peer": peer,
                    "peer_version": harness.described[peer]["version"] if peer else "",
                    "threads": harness.threads(case),
                    "dtype": case.dtype,
                    "size": sizes[-1],
                    "quantity": quantity,
                    "exponent": own,
                    "peer_exponent": other if other is not None else "",
                    "flag": flag(own, other),
                    "unit": unit,
                    "sizes": " ".join(map(str, sizes)),
                    "ours": " ".join(f"{c:.4g}" for c in costs[subject]),
                    "theirs": " ".join(f"{c:.4g}" for c in costs[peer]) if peer else "",
                }
