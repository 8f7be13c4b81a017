"""A run: which cases, in what order, and the rows and lines that come of it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import peers, record, suites
from .case import Case, Mismatch
from .harness import BUSY, Harness, Plan, SubjectError, Timing, ratio
from .record import Row
from .targets import TARGETS

# Seconds of timing for a case, about, where the command does not say.
SECONDS = {"overhead": 6.0, "ops": 3.0, "training": 10.0, "growth": 2.0}


@dataclass
class Done:
    """The rows of a run and what went wrong in it."""

    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def emulated() -> bool:
    """Whether "cuda" is the emulated device."""
    return os.environ.get("GRADCORE_CUDA") == "emulate"


def plan_of(options: argparse.Namespace) -> Plan:
    """How to measure; SystemExit where the device cannot be used."""
    plan = Plan(
        device=options.device,
        subjects=options.subjects,
        peers=options.peers,
        threads=options.threads,
        rounds=options.rounds,
        quick=options.quick,
    )
    if options.device == "cuda":
        import gradcore

        if not gradcore.cuda.is_available():
            raise SystemExit(
                "--device cuda: no CUDA device can be used (python -m gradcore info says why); with "
                "GRADCORE_CUDA=emulate the cases run on the emulated device, for their results alone"
            )
        plan.subjects = [s for s in options.subjects if peers.SUBJECTS[s].cuda]
        if emulated():
            plan.timed, plan.quick = False, True
            plan.peers = [p for p in options.peers if p == "torch"]
    return plan


def targeted(case: Case) -> bool:
    """Whether the target table names the case."""
    return any(case.id in target.cases for target in TARGETS)


def selected(options: argparse.Namespace, quick: bool) -> dict[str, list[Case]]:
    """The cases of the chosen suites that the harness runs."""
    names = [s for s in suites.CASES if options.suite in (s, "all")]
    found = {s: [c for c in suites.cases(s, quick) if re.search(options.case, c.name)] for s in names}
    if options.targets:
        found = {s: [c for c in cases if targeted(c)] for s, cases in found.items()}
    return found


def show(options: argparse.Namespace) -> int:
    """Print the cases; what they wait for is said."""
    import gradcore

    for cases in selected(options, options.quick).values():
        for case in cases:
            missing = case.waits_for(gradcore)
            print(f"{case.id:44} {case.title}" + (f"  (waits for {', '.join(missing)})" if missing else ""))
    for suite, runner in _runners().items():
        if options.suite in (suite, "all"):
            print(f"{suite:44} {(runner.__doc__ or '').splitlines()[0]}")
    return 0


def _runners() -> dict[str, Callable[..., Iterator[Row]]]:
    """The suites that are not made of steps."""
    from .suites import growth, imports

    return {"import": imports.run, "growth": growth.run}


def measure(options: argparse.Namespace) -> Done:
    """Run what the options choose, print a line for each row, and return the rows."""
    plan, done = plan_of(options), Done()
    where = record.environment("cpu" if emulated() else plan.device)
    harness = Harness(plan)
    counts = {"compared": 0}
    try:
        if plan.timed:
            print(f"{where['device']}; {plan.threads} threads; ratios of time, subject over peer; below 1 is faster")
            print(f"{'ratio':>6}  {'p20':>5} {'p80':>5} {'ours':>10} {'theirs':>10}  case, subject / peer")
        else:
            print("the emulated device: results are compared, nothing is timed, and no timing is stored")
        for suite, cases in selected(options, plan.quick).items():
            plan.seconds = options.seconds or SECONDS[suite]
            # By number of threads, so that the workers of one number can stay.
            for case in sorted(cases, key=lambda c: harness.threads(c)):
                _one(case, suite, harness, where, done, counts)
        if plan.timed:
            for suite, runner in _runners().items():
                if options.suite in (suite, "all") and not (options.targets and suite == "growth"):
                    plan.seconds = options.seconds or SECONDS.get(suite, plan.seconds)
                    try:
                        for row in runner(harness, "^import$" if options.targets else options.case):
                            _take({**where, **row, "suite": suite}, done)
                    except (Mismatch, SubjectError) as error:
                        done.failures.append(str(error))
                        harness.close()
    finally:
        harness.close()
    if not plan.timed:
        print(f"{counts['compared']} cases have the results of the reference")
    for name, why in harness.left_out.items():
        print(f"left out: {name} ({why})")
    for failure in done.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return done


def _one(case: Case, suite: str, harness: Harness, where: Row, done: Done, counts: dict[str, int]) -> None:
    import gradcore

    if missing := case.waits_for(gradcore):
        print(f"{'-':>6}  {case.id} waits for {', '.join(missing)}")
        return
    try:
        timings = harness.measure(case)
    except (Mismatch, SubjectError) as error:
        done.failures.append(str(error))
        print(f"{'!':>6}  {case.id} failed: {str(error).splitlines()[-1]}")
        harness.close()  # a subject may be in any state now
        return
    counts["compared"] += 1
    for row in rows(case, timings, harness):
        _take({**where, **row, "suite": suite}, done)


def rows(case: Case, timings: dict[str, Timing], harness: Harness) -> Iterator[Row]:
    """A row for each of our own subjects against each peer; without a peer, the times alone."""
    ours = [s for s in timings if s in peers.OWN]
    theirs = [s for s in timings if s not in peers.OWN]
    for subject in ours:
        for peer in theirs or [""]:
            own, other = timings[subject], timings.get(peer)
            row: Row = {
                "case": case.name,
                "subject": subject,
                "executor": harness.described[subject]["executor"],
                "peer": peer,
                "peer_version": harness.described[peer]["version"] if peer else "",
                "threads": harness.threads(case),
                "dtype": case.dtype,
                "size": case.size,
                "unit": "s",
                "ours": own.median,
                "rounds": len(own.times),
            }
            if own.busy is not None:
                row["busy"] = own.busy
            if own.memory is not None:
                row["memory"] = own.memory
            if own.bandwidth is not None:
                row["bandwidth"] = own.bandwidth
            if other is not None:
                row["ratio"], row["p20"], row["p80"] = ratio(own, other)
                row["theirs"] = other.median
                if own.memory is not None and other.memory:
                    row["peer_memory"], row["memory_ratio"] = other.memory, own.memory / other.memory
            yield row


def _take(row: Row, done: Done) -> None:
    done.rows.append(row)
    print(line(row), flush=True)


def line(row: Row) -> str:
    """A row as a line of text."""

    def number(name: str) -> str:
        return f"{row[name]:5.3f}" if isinstance(row.get(name), float) else "     "

    def amount(name: str) -> str:
        value = row.get(name, "")
        if not isinstance(value, (int, float)):
            return " " * 10
        if row["unit"] == "B":
            return f"{value / 1e6:7.2f} MB"
        return f"{value * 1e6:7.1f} us" if value < 1e-2 else f"{value * 1e3:7.1f} ms"

    if row["suite"] == "growth":
        both = [row["exponent"], row["peer_exponent"]][: 2 if row["peer"] else 1]
        text = " / ".join("flat" if e != e else f"{e:.2f}" for e in both)
        flag = f"  {row['flag']}" if row["flag"] else ""
        names = " / ".join(filter(None, (row["subject"], row["peer"])))
        return f"{text:>12}  growth/{row['case']}, {row['quantity']}: exponents of {names}{flag}"
    versus = f" / {row['peer']}" if row["peer"] else ""
    text = f" {number('ratio')}  {number('p20')} {number('p80')} {amount('ours')} {amount('theirs')}"
    text += f"  {row['suite']}/{row['case']}, {row['subject']}{versus}"
    if row.get("memory_ratio"):
        text += f"; memory {row['memory_ratio']:.2f} ({row['memory'] / 1e6:.1f} / {row['peer_memory'] / 1e6:.1f} MB)"
    if row.get("busy", 0) > BUSY:
        text += f"; NOT QUIET: others used {row['busy']:.2f} cores"
    if row.get("bandwidth"):
        text += f"; {row['bandwidth']:.0%} of the bandwidth"
    return text
