"""Keeps results: rows of bench/results/*.csv, with what they were measured on."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def environment(*packages: str) -> dict[str, str]:
    """The date, the commit, the machine, and the versions of Python, NumPy and the given packages."""
    versions = {name: metadata.version(name) for name in ("numpy", *packages)}
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "device": processor(),
        "python": platform.python_version(),
        **versions,
    }


def commit() -> str:
    """The commit measured, with `+` if the package has uncommitted changes."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "gradcore") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """The processor's name and the number of cores."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            name = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def store(name: str, rows: list[dict[str, Any]]) -> None:
    """Append rows to bench/results/NAME.csv."""
    path = RESULTS / f"{name}.csv"
    RESULTS.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as f:
        writer = csv.DictWriter(f, rows[0].keys())
        if new:
            writer.writeheader()
        writer.writerows(rows)
