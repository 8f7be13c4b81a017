"""Keeps results: rows of bench/results/SUITE.csv, with what they were measured on."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]

# `ours` and `theirs` are medians in `unit`: s, seconds a step, or B, bytes. `busy` is how many cores other processes
# used meanwhile: on a quiet machine next to none.
MEASURED = (
    "ratio", "p20", "p80", "unit", "ours", "theirs", "rounds", "busy", "bandwidth", "memory_ratio", "memory",
    "peer_memory",
)  # fmt: skip
# A row of the suite growth is a curve: the lists are separated by spaces.
CURVE = ("quantity", "exponent", "peer_exponent", "flag", "unit", "sizes", "ours", "theirs")
WHERE = ("date", "commit", "device", "python", "numpy", "torch")
WHAT = ("suite", "case", "subject", "executor", "peer", "peer_version", "threads", "dtype", "size")


def columns(suite: str) -> tuple[str, ...]:
    """The columns of a suite's file."""
    return (*WHERE, *WHAT, *(CURVE if suite == "growth" else MEASURED))


def version(distribution: str) -> str:
    """The installed version; empty if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def environment(device: str = "cpu") -> Row:
    """The date, the commit, the machine, and the versions of Python, NumPy and PyTorch."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "device": processor() + (f", {gpu()}" if device == "cuda" else ""),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "torch": version("torch"),
    }


def commit() -> str:
    """The commit measured, with `+` if the package has uncommitted changes."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "gradcore", "kernels")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name and the number of cores."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            name = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def gpu() -> str:
    """The name of the GPU that is used."""
    import gradcore

    return str(gradcore.cuda.get_device_name())


def machine_kind(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What two rows must share for their ratios to be compared: the device, and the versions' first numbers."""
    return (row["device"], *(str(row[name]).partition(".")[0] for name in ("python", "numpy", "torch")))


def identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What is measured in a row, wherever it was."""
    names = ("suite", "case", "subject", "peer", "threads", "dtype", "quantity")
    return tuple(str(row.get(name, "")) for name in names)


def rounded(value: Any) -> Any:
    """Numbers as they are stored: four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def is_new(path: Path, suite: str) -> bool:
    """Whether a file is missing or empty; ValueError if it is there but has other columns than the suite's."""
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open(newline="") as f:
        if tuple(next(csv.reader(f))) != columns(suite):
            raise ValueError(f"{path} has other columns than suite {suite!r} writes: {', '.join(columns(suite))}")
    return False


def write(path: Path, suite: str, rows: Iterable[Row]) -> None:
    """Append rows to a file; ValueError, and nothing written, if it has other columns."""
    names, new = columns(suite), is_new(path, suite)
    rows = [{name: rounded(row.get(name, "")) for name in names} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as f:
        writer = csv.DictWriter(f, names, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def store(rows: Sequence[Row], folder: Path = RESULTS) -> None:
    """Append rows to the files of their suites."""
    for suite in dict.fromkeys(row["suite"] for row in rows):
        write(folder / f"{suite}.csv", suite, [row for row in rows if row["suite"] == suite])


def read(path: Path) -> list[Row]:
    """The rows of a file, numbers as numbers; empty if there is none."""
    if not path.exists():
        return []
    texts = {*WHERE, *WHAT, "quantity", "flag", "unit", "sizes"} - {"size", "threads"}
    with path.open(newline="") as f:
        return [{k: v if k in texts else _number(v) for k, v in row.items()} for row in csv.DictReader(f)]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def last(rows: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    """The last row of each identity."""
    return {identity(row): row for row in rows}


def stored(folder: Path = RESULTS) -> list[Row]:
    """Every row of every suite."""
    return [row for path in sorted(folder.glob("*.csv")) for row in read(path)]
