"""What it costs to have the package: the time of `import`, the installed size, the size of the wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from .. import peers
from ..harness import ROOT, Harness, Timing, ratio
from ..record import Row, version

SUITE = "import"
# {before} is imported first, and not timed.
_IMPORT = """
import time
{before}
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def seconds(module: str, before: str = "") -> float:
    """The time of `import module` in a fresh process, after an import of `before` that is not counted."""
    code = _IMPORT.format(module=module, before=f"import {before}" if before else "")
    # Where Python may not write bytecode, every import would compile the source again.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return float(done.stdout.split()[-1])


def imports(modules: list[tuple[str, str]], rounds: int) -> list[Timing]:
    """The times of several imports, (module, before) each, taken in turn."""
    for module, before in modules:  # the first import may compile .pyc files
        seconds(module, before)
    times = np.empty((rounds, len(modules)))
    for r in range(rounds):
        for i in range(len(modules)):
            k = (i + r) % len(modules)
            times[r, k] = seconds(*modules[k])
    return [Timing(times[:, k]) for k in range(len(modules))]


def files_size(distribution: str) -> int:
    """Bytes of the files of an installed distribution; for one installed as editable, none."""
    found = metadata.files(distribution) or []
    paths = (Path(str(f.locate())) for f in found if f.suffix != ".pyc")
    return sum(p.stat().st_size for p in paths if p.is_file())


def requirements(distribution: str) -> set[str]:
    """The distributions that an installed one requires, and those these require; not itself, and no extras."""
    found: set[str] = set()
    left = [distribution]
    while left:
        for line in metadata.requires(left.pop()) or []:
            name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
            if "extra ==" not in line and version(name) and name not in found:
                found.add(name)
                left.append(name)
    return found - {distribution}


def build_wheel(folder: Path) -> Path | None:
    """The wheel of the source tree; None without hatchling, which builds it."""
    if importlib.util.find_spec("hatchling") is None or not (ROOT / "pyproject.toml").is_file():
        return None
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(harness: Harness, pattern: str) -> Iterator[Row]:
    """Import time, installed size and size of the wheel, beside the peers' own."""
    installed = [p for p in harness.plan.peers if p not in harness.left_out and p != "torch.compile"]
    base = {"subject": "gradcore", "threads": "", "rounds": 1}
    if re.search(pattern, "import"):
        rounds = 2 if harness.plan.quick else min(15, harness.plan.rounds)
        modules = ["gradcore", *installed]
        own, *others = imports([(m, "") for m in modules], rounds)
        for peer, other in zip(installed, others):
            yield {**base, "case": "import", **_versus(peer), **_timed(own, other)}
        beyond, numpy = imports([("gradcore", "numpy"), ("numpy", "")], rounds)
        row = {**base, "case": "import-beyond-numpy", "peer": "numpy", "peer_version": version("numpy")}
        yield {**row, **_timed(beyond, numpy)}
    sizes = ("wheel-size", "installed-size", "installed-size-with-requirements")
    if not any(re.search(pattern, case) for case in sizes):
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        if wheel is None:
            print("     -  import/wheel-size, import/installed-size wait for hatchling, which builds the wheel")
            return
        if re.search(pattern, sizes[0]):
            yield {**base, "case": sizes[0], "peer": "", "unit": "B", "ours": wheel.stat().st_size}
        with zipfile.ZipFile(wheel) as archive:
            size = sum(info.file_size for info in archive.infolist())
            text = next(archive.read(n).decode() for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    required = {re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in re.findall(r"^Requires-Dist: ([^;\n]+)$", text, re.M)}
    required |= {r for name in required for r in requirements(name)}
    for case, ours, whole in (
        (sizes[1], size, False),
        (sizes[2], size + sum(files_size(r) for r in required), True),
    ):
        for peer in installed if re.search(pattern, case) else ():
            name = peers.SUBJECTS[peer].distribution
            theirs = files_size(name) + sum(files_size(r) for r in requirements(name) if whole)
            amounts = {"unit": "B", "ours": ours, "theirs": theirs, "ratio": ours / theirs}
            yield {**base, "case": case, **_versus(peer), **amounts}


def _versus(peer: str) -> Row:
    return {"peer": peer, "peer_version": peers.version(peer)}


def _timed(own: Timing, other: Timing) -> Row:
    middle, low, high = ratio(own, other)
    return {
        "unit": "s",
        "ours": own.median,
        "theirs": other.median,
        "ratio": middle,
        "p20": low,
        "p80": high,
        "rounds": len(own.times),
    }
