#!/usr/bin/env python3
"""Check gradcore on a GPU and write what was found into one JSON file; `docs/gpu.md` explains it.

    make gpu-check
    PYTHONPATH=. python3 scripts/gpu_check.py --out gpu_check.json

The parts, each in processes of its own, so that none can end the others: what the machine is; every kernel family on
the emulated device and on the GPU, compared; whether cuBLASLt and cuDNN do what they are asked for; the GPU tests;
compute-sanitizer over the kernels. A part that fails,
hangs or cannot run is recorded and the next one starts. The exit status is 0 if nothing failed, 1 if something did, 2
without a GPU.

`--device emulate` puts the emulated device in the GPU's place, which tests this script and the kernels, but no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = "scripts/kernel_sample.py"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# The families of the sample that NVIDIA's libraries compute.
LIBRARIES = ("products", "cudnn")
# Seconds that the tests leave to the tools.
FOR_TOOLS = 120
# The GPU and the host round differently: fused multiply-adds, and other functions. A few units in the last place of the
# type, and for the 32- and 64-bit types what a row of thousands of additions makes of them.
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-12}
MOST_FAILURES = 50

_DESCRIBE = """
import json, os, platform, sys
found = {"python": platform.python_version(), "system": platform.platform()}
import numpy, ml_dtypes
found |= {"numpy": numpy.__version__, "ml_dtypes": ml_dtypes.__version__}
import gradcore
found["gradcore"] = gradcore.__version__
if os.environ.get("GRADCORE_CUDA") == "emulate":
    gradcore.zeros(1, device="cuda")
    found["device"] = "the emulated device"
else:
    try:
        import cupy
        found["cupy"] = cupy.__version__
        runtime = cupy.cuda.runtime
        found["driver_supports_cuda"] = runtime.driverGetVersion()
        found["cuda_runtime"] = runtime.runtimeGetVersion()
        found["nvrtc"] = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
        p = runtime.getDeviceProperties(0)
        found["device"] = p["name"].decode()
        found["architecture"] = f"sm_{p['major']}{p['minor']}"
        found["memory_bytes"] = int(p["totalGlobalMem"])
        found["multiprocessors"] = int(p["multiProcessorCount"])
        found["devices"] = runtime.getDeviceCount()
        gradcore.zeros(1, device="cuda")
        from gradcore.backends import cuda, cudnn
        lt = cuda.libraries.cublaslt()
        found["libraries"] = {"nvmath-python": lt and lt.get_version(), "nvidia-cudnn-frontend": cudnn.version()}
    except Exception as error:
        found.pop("device", None)
        found["problem"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@dataclass
class Part:
    """The outcome of one part: `status` is passed, failed, timed out or skipped, `reason` why if it is not passed."""

    name: str
    status: str = "passed"
    reason: str = ""
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def fail(self, what: str, message: str, reproduce: Sequence[str] | str) -> None:
        self.status = "failed"
        if len(self.failures) < MOST_FAILURES:
            line = reproduce if isinstance(reproduce, str) else shlex.join(reproduce)
            self.failures.append({"what": what, "message": message, "reproduce": line})
        self.reason = f"{self.counts.get('failed', len(self.failures))} failures"


class Check:
    """The run: where the device is, and until when it may go on."""

    def __init__(self, device: str, deadline: float, folder: Path, pytest_arguments: Sequence[str]):
        self.device, self.deadline, self.folder, self.pytest_arguments = device, deadline, folder, pytest_arguments
        self.parts: list[Part] = []

    # -- processes
    def left(self, most: float = float("inf")) -> float:
        """Seconds that a part may take: `most`, or what is left."""
        return max(1.0, min(most, self.deadline - time.monotonic()))

    def environment(self, device: str) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        environment.pop("GRADCORE_CUDA", None)
        if device == "emulate":
            environment["GRADCORE_CUDA"] = "emulate"
        return environment

    def run(self, command: Sequence[str], device: str, most: float, **settings: str) -> tuple[int | None, str]:
        """(exit status, None if it took too long; the output)."""
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**self.environment(device), **settings},
                start_new_session=True,
            )
            status: int | None
            try:
                status = process.wait(self.left(most))
            except subprocess.TimeoutExpired:
                status = None
                # First as Ctrl-C does: pytest then still writes its report.
                for stop in (signal.SIGINT, signal.SIGKILL):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, stop)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20)
                        break
            log.seek(0)
            return status, log.read().decode(errors="replace")

    def shown(self, command: Sequence[str], device: str) -> str:
        """The command as a line for the shell, to be run in the root of the source tree."""
        prefix = ["GRADCORE_CUDA=emulate"] if device == "emulate" else []
        return shlex.join(["env", *prefix, "PYTHONPATH=.", *("python" if c == sys.executable else c for c in command)])

    # -- parts
    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Part]:
        """One part; whatever it raises is its failure, not the end of the run."""
        part, start = Part(name), time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            yield part
        except Exception as error:
            part.fail(name, f"{type(error).__name__}: {error}", f"python {shlex.join(sys.argv)}")
        part.seconds = round(time.monotonic() - start, 1)
        self.parts.append(part)
        counts = ", ".join(f"{n} {what}" for what, n in part.counts.items())
        reason = f" ({part.reason})" if part.reason else ""
        print(f"{name}: {part.status}{reason} in {part.seconds:.0f} s{': ' if counts else ''}{counts}", flush=True)
        for failure in part.failures[:10]:
            print(
                f"  {failure['what']}: {failure['message'].strip().splitlines()[-1][:200]}\n    {failure['reproduce']}"
            )

    def describe(self) -> dict[str, Any]:
        """Device, driver and versions."""
        machine: dict[str, Any] = {}
        with self.part("machine") as part:
            status, output = self.run([sys.executable, "-c", _DESCRIBE], self.device, 60)
            info = self.shown([sys.executable, "-m", "gradcore", "info"], self.device)
            if status != 0:
                part.fail("machine", _end(status, output), info)
            else:
                machine = json.loads(output.splitlines()[-1])
                if "problem" in machine:
                    part.fail("CUDA", machine["problem"], info)
        machine["driver"] = _output(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"
        )
        machine["commit"] = _output("git", "-C", str(ROOT), "rev-parse", "HEAD")
        if machine["commit"]:
            changes = _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
            machine["uncommitted_changes"] = bool(changes)
        return machine

    def compare(self, families: Sequence[str]) -> None:
        """The kernel sample on the emulated device and on the device, value by value."""
        with self.part("emulator against device") as part:
            files = {}
            for name, device in (("emulator", "emulate"), ("device", self.device)):
                files[name] = self.folder / f"{name}.npz"
                command = [sys.executable, SAMPLE, "--out", str(files[name]), *families]
                # In the emulated device's case at least the order of the threads differs.
                settings = {"GRADCORE_EMULATOR_ORDER": "forward" if name == "emulator" else "reverse"}
                status, output = self.run(command, device, 150, **settings)
                if status != 0:
                    if name == "emulator" and "emulated CUDA device needs" in output:
                        part.status, part.reason = "skipped", output.strip().splitlines()[-1]
                    else:
                        part.fail(name, _end(status, output), self.shown([sys.executable, SAMPLE, *families], device))
                    return
            compare_files(part, files["emulator"], files["device"], self.shown)

    def ask_libraries(self, found: dict[str, int | None]) -> None:
        """What cuBLASLt and cuDNN refuse is computed without them, and told; nothing of the samples should be."""
        with self.part("libraries") as part:
            missing = [name for name, version in found.items() if version is None]
            if self.device == "emulate":
                part.status, part.reason = "skipped", "the emulated device has none of them"
                return
            command = [sys.executable, SAMPLE, *LIBRARIES]
            status, output = self.run(command, self.device, 120)
            shown = self.shown(command, self.device)
            if status != 0:
                part.fail(", ".join(LIBRARIES), _end(status, output), shown)
            for told in re.findall(r"UserWarning: (.*gradcore goes on without it)", output):
                part.fail("refused", told, shown)
            if missing and part.status == "passed":
                part.status, part.reason = "skipped", f"{' and '.join(missing)} cannot be used; see docs/gpu.md"

    def sanitize(self, families: Sequence[str]) -> None:
        """compute-sanitizer over the kernel sample, with each of its tools."""
        sanitizer = shutil.which("compute-sanitizer")
        for i, tool in enumerate(TOOLS):
            with self.part(tool) as part:
                if self.device == "emulate":
                    part.status, part.reason = "skipped", "compute-sanitizer watches real GPUs alone"
                elif sanitizer is None:
                    part.status, part.reason = "skipped", "compute-sanitizer is not on the PATH: it comes with CUDA"
                else:
                    command = [sanitizer, "--tool", tool, "--error-exitcode", "99", "--print-limit", "20"]
                    command += [sys.executable, SAMPLE, *families, "--no-pool", "--without", *LIBRARIES]
                    status, output = self.run(command, self.device, self.left() / (len(TOOLS) - i))
                    judge_sanitizer(part, tool, status, output, self.shown(command, self.device))

    def test(self) -> None:
        """pytest -m gpu."""
        with self.part("tests") as part:
            report = self.folder / "tests.xml"
            if not _importable("pytest"):
                part.status, part.reason = "failed", "pytest is not installed: pip install 'gradcore[test]'"
                return
            command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
            command += self.pytest_arguments
            if not any((ROOT / a.partition("::")[0]).exists() for a in self.pytest_arguments):
                command.append("tests")
            if _importable("xdist") and not any(a.startswith("-n") for a in self.pytest_arguments):
                command += ["-n", str(max(1, min(8, (os.cpu_count() or 2) // 2)))]
            extra = [f"--junitxml={report}", "-o", "junit_family=xunit1"]
            status, output = self.run([*command, *extra], self.device, max(60, self.left() - FOR_TOOLS))
            again = [sys.executable, "-m", "pytest", "-m", "gpu"]
            if report.is_file() and report.stat().st_size:
                read_report(part, report, lambda test: self.shown([*again, test], self.device))
            elif status is not None:
                part.fail("pytest", _end(status, output), self.shown(command, self.device))
            if status is None:
                part.status, part.reason = "timed out", "the counts are of what had run; --minutes gives it more time"
            elif status != 0 and part.status == "passed":
                part.fail("pytest", _end(status, output), self.shown(command, self.device))


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _output(*command: str) -> str | None:
    """What a command prints, or None if there is none or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _end(status: int | None, output: str) -> str:
    """A failed process in words: how it ended, and the end of what it printed."""
    how = "took too long" if status is None else f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{how}\n{output[-3000:]}"


def compare_files(part: Part, expected: Path, found: Path, shown: Callable[[Sequence[str], str], str]) -> None:
    """Compare two files of kernel_sample.py into `part`."""
    with np.load(expected) as a, np.load(found) as b:
        if a["names"].tolist() != b["names"].tolist():
            raise ValueError("the two devices computed different samples")
        part.counts = {"compared": len(a["names"]), "failed": 0}
        for i, (name, dtype) in enumerate(zip(a["names"].tolist(), a["dtypes"].tolist())):
            message = difference(a[str(i)], b[str(i)], dtype, b["dtypes"][i].item())
            if message:
                part.counts["failed"] += 1
                command = [sys.executable, SAMPLE, "--out", "FILE.npz", name.partition(":")[0]]
                part.fail(name, message, f"{shown(command, 'emulate')}, and the same without GRADCORE_CUDA")


def difference(expected: np.ndarray, found: np.ndarray, dtype: str, found_dtype: str) -> str:
    """How two arrays differ by more than rounding, in words; "" if they do not."""
    if (expected.shape, dtype) != (found.shape, found_dtype):
        return f"{found_dtype} {found.shape} instead of {dtype} {expected.shape}"
    tolerance = TOLERANCE.get(dtype, 0.0)
    if not tolerance:
        wrong = expected != found
    else:
        expected, found = expected.astype(np.float64), found.astype(np.float64)
        # Sums that cancel are judged by the size of what was added, which the samples keep near one.
        with np.errstate(invalid="ignore"):
            near = np.isfinite(expected) & (np.abs(expected - found) <= tolerance * np.maximum(1.0, np.abs(expected)))
        wrong = ~(near | (expected == found) | (np.isnan(expected) & np.isnan(found)))
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size} values differ, at {list(at)}: {found[at]} instead of {expected[at]}"


def judge_sanitizer(part: Part, tool: str, status: int | None, output: str, reproduce: str) -> None:
    """Read compute-sanitizer's report into `part`."""
    found = re.search(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): (\d+)", output)
    if found:
        part.counts["reports"] = int(found[1])
    if status is None:
        part.status, part.reason = "timed out", "the sample was not finished; --minutes gives it more time"
    elif "compute-sanitizer" in output and re.search(r"Device not supported|not support(ed)?\b", output) and not found:
        part.status, part.reason = "skipped", output.strip().splitlines()[-1]
    elif status != 0 or not found or int(found[1]):
        reports = [line for line in output.splitlines() if line.startswith("=========")]
        part.fail(tool, "\n".join(reports[:40]) or _end(status, output), reproduce)


def read_report(part: Part, report: Path, reproduce: Callable[[str], str]) -> None:
    """Read pytest's JUnit XML into `part`."""
    part.counts = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if problem is not None:
            part.counts["failed" if problem.tag == "failure" else "errors"] += 1
            node = f"{case.get('file') or case.get('classname')}::{case.get('name')}"
            message = (problem.get("message") or "").splitlines()
            text = "\n".join(message[:3] + (problem.text or "").splitlines()[-15:])
            part.fail(node, text or "failed", reproduce(node))
        elif case.find("skipped") is not None:
            part.counts["skipped"] += 1
        else:
            part.counts["passed"] += 1
    broken = part.counts["failed"] + part.counts["errors"]
    if broken:
        part.reason = f"{broken} failures"
    elif not part.counts["passed"]:
        part.status, part.reason = "failed", "no test ran"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="gpu_check.json", type=Path, help="the file to write (%(default)s)")
    parser.add_argument("--device", choices=("gpu", "emulate"), default="gpu")
    parser.add_argument("--minutes", default=8.0, type=float, help="how long it may take in all (%(default)s)")
    parser.add_argument("--families", nargs="*", default=[], help="kernel families to compare and watch; all if none")
    parser.add_argument(
        "pytest", nargs="*", metavar="-- PYTEST", help="more arguments for pytest, such as -k EXPRESSION"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    start = time.monotonic()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with tempfile.TemporaryDirectory(prefix="gradcore-gpu-check-") as folder:
        # The last seconds are for stopping what is under way.
        check = Check(options.device, start + options.minutes * 60 - 25, Path(folder), options.pytest)
        machine = check.describe()
        usable = "device" in machine
        if usable:
            check.compare(options.families)
            check.ask_libraries(machine.get("libraries", {}))
            check.test()
            check.sanitize(options.families)
    failed = [part.name for part in check.parts if part.status in ("failed", "timed out")]
    result = {
        "format": 1,
        "started": started,
        "seconds": round(time.monotonic() - start, 1),
        "passed": usable and not failed,
        **machine,
        "parts": [vars(part) for part in check.parts],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    if not usable:
        reason = machine.get("problem") or "the machine could not be described"
        print(
            f"No CUDA device can be used, so nothing was checked: {reason}\nSee python -m gradcore info",
            file=sys.stderr,
        )
        print(f"Written to {options.out}")
        return 2
    skipped = [f"{part.name} ({part.reason})" for part in check.parts if part.status == "skipped"]
    print(f"\n{machine['device']}: {'FAILED: ' + ', '.join(failed) if failed else 'passed'}")
    if skipped:
        print(f"Not run: {'; '.join(skipped)}")
    print(f"Written to {options.out}, after {result['seconds']:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
