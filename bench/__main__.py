"""The command: `python -m bench [run] --suite NAME`, `python -m bench report`, `python -m bench check`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from . import peers, record, run, suites
from .harness import BUSY


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options of a command, checked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks side by side with the peers.")
    commands = parser.add_subparsers(dest="command")

    def measuring(name: str, help: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=help)
        p.add_argument("--suite", choices=[*suites.NAMES, "all"], help="what to measure (default: overhead)")
        p.add_argument("--case", default="", metavar="REGEX", help="only the cases whose name has a match")
        p.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the tensors lie")
        p.add_argument("--peers", default="torch", metavar="A,B", help=f"of {','.join(peers.PEERS)}")
        p.add_argument("--subjects", default=",".join(peers.OWN), metavar="A,B", help="which of our own take part")
        p.add_argument("--threads", type=int, default=record.cores(), help="threads of each subject")
        p.add_argument("--rounds", type=int, default=60, help="ratios taken of each case, at most")
        p.add_argument("--seconds", type=float, help="of timing for each case, about; the suite's own if not given")
        p.add_argument("--targets", action="store_true", help="only the cases of the target table, of all suites")
        p.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it run?")
        return p

    p = measuring("run", "measure")
    p.add_argument("--list", action="store_true", help="show the cases, and which wait for an op, and stop")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    p.add_argument("--csv", type=Path, metavar="FILE", help="append the rows to FILE")
    p.add_argument("--store", action="store_true", help="append the rows of quiet times to bench/results")
    p = measuring("check", "compare with the last stored rows of this kind of machine; status 1 where one got slower")
    p.add_argument("--rows", type=Path, metavar="FILE", help="rows written by `run --json`, instead of measuring now")
    p.add_argument("--results", type=Path, default=record.RESULTS, metavar="FOLDER", help="the stored rows")
    p.add_argument("--tolerance", type=float, default=0.15, help="how much a ratio may grow")
    p = commands.add_parser("report", help="rewrite the tables of README.md and docs/benchmarks.md, and the plots")
    p.add_argument("--results", type=Path, default=record.RESULTS, metavar="FOLDER", help="the stored rows")
    p.add_argument("--root", type=Path, default=record.ROOT, metavar="FOLDER", help="where the documents are")

    given = list(argv)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "run")
    options = parser.parse_args(given)
    if options.command in ("run", "check"):
        options.suite = options.suite or ("all" if options.targets else "overhead")
        for name, known in (("peers", peers.PEERS), ("subjects", peers.OWN)):
            names = [n for n in getattr(options, name).split(",") if n]
            if unknown := [n for n in names if n not in known]:
                parser.error(f"--{name}: {unknown[0]!r} is none of {', '.join(known)}")
            setattr(options, name, names)
        if options.threads < 1 or options.rounds < 1:
            parser.error("--threads and --rounds must be at least 1")
        try:
            re.compile(options.case)
        except re.error as error:
            parser.error(f"--case: {error}")
    if options.command == "run" and options.quick and options.store:
        parser.error("--quick measures too little to be stored")
    if options.command == "run" and options.csv:
        if options.suite == "all" and not options.targets:
            parser.error("--csv takes the rows of one suite: that of growth has other columns")
        try:
            record.is_new(options.csv, options.suite)
        except ValueError as error:
            parser.error(f"--csv: {error}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = arguments(sys.argv[1:] if argv is None else argv)
    if options.command == "report":
        from .report import write

        for path in write(options.results, options.root):
            print(path)
        return 0
    if options.command == "check":
        from . import check

        if options.rows:
            done = run.Done(json.loads(options.rows.read_text()))
        else:
            done = run.measure(options)
        status = check.report(done.rows, record.stored(options.results), options.tolerance)
        return 1 if done.failures else status
    if options.list:
        return run.show(options)
    if options.device == "cuda" and os.environ.get("GRADCORE_CUDA") == "emulate" and (options.store or options.csv):
        raise SystemExit("the emulated device shows no timing, so there is nothing to store")
    done = run.measure(options)
    if options.json:
        options.json.write_text(json.dumps([{k: record.rounded(v) for k, v in r.items()} for r in done.rows], indent=1))
    if options.csv:
        record.write(options.csv, options.suite, done.rows)
    if options.store:
        quiet = [row for row in done.rows if row.get("busy", 0) <= BUSY]
        record.store(quiet)
        if len(quiet) < len(done.rows):
            print(f"not stored: {len(done.rows) - len(quiet)} rows, because the machine was not quiet")
    return 1 if done.failures else 0


if __name__ == "__main__":
    sys.exit(main())
