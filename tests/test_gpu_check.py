"""The check of a GPU machine, on the emulated device: what it records, and that nothing ends it early."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.emulator import is_supported
from scripts import gpu_check
from scripts.gpu_check import Check, Part

FAILING = """
import pytest

@pytest.mark.gpu
def test_good():
    pass

@pytest.mark.gpu
@pytest.mark.parametrize("x", ["a b"])
def test_bad(x):
    assert x == 1, "as planted"

def test_of_no_gpu():
    raise AssertionError
"""


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check("gpu", time.monotonic() + 60, tmp_path, [])


def result_of(path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    status = gpu_check.main(["--out", str(path / "there" / "check.json"), *arguments])
    return status, json.loads((path / "there" / "check.json").read_text())


def test_everything_is_tried_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    supported, reason = is_supported()
    if not supported:
        pytest.skip(reason)
    planted = tmp_path / "test_planted.py"
    planted.write_text(FAILING)
    options = ["--device", "emulate", "--families", "optimizers", "indexing"]
    status, found = result_of(tmp_path, *options, "--", str(planted), "-n0", "-c", "pyproject.toml")
    assert status == 1 and not found["passed"]
    assert found["device"] == "the emulated device"
    assert {"python", "numpy", "gradcore", "commit", "driver", "started", "seconds"} <= set(found)
    parts = {part["name"]: part for part in found["parts"]}
    assert list(parts) == ["machine", "emulator against device", "libraries", "tests", *gpu_check.TOOLS]
    compared = parts["emulator against device"]
    assert (compared["status"], compared["counts"]["failed"]) == ("passed", 0)
    assert compared["counts"]["compared"] > 50
    assert all(parts[tool]["status"] == "skipped" and parts[tool]["reason"] for tool in gpu_check.TOOLS)
    assert parts["tests"]["status"] == "failed"
    assert parts["tests"]["counts"] == {"passed": 1, "failed": 1, "errors": 0, "skipped": 0}
    (failure,) = parts["tests"]["failures"]
    assert "as planted" in failure["message"]
    assert failure["reproduce"].startswith("env GRADCORE_CUDA=emulate PYTHONPATH=. python -m pytest -m gpu '")
    assert failure["reproduce"].endswith("test_planted.py::test_bad[a b]'")
    printed = capsys.readouterr().out
    assert "FAILED: tests" in printed and failure["reproduce"] in printed


def test_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    status, found = result_of(tmp_path)
    assert status == 2 and not found["passed"]
    assert found["problem"] and found["parts"][0]["status"] == "failed"
    assert "No CUDA device can be used" in capsys.readouterr().err


def test_what_hangs_is_stopped(check: Check) -> None:
    start = time.monotonic()
    status, output = check.run([sys.executable, "-uc", "print('so far'); import time; time.sleep(600)"], "gpu", 2.0)
    # Far from the end of its sleep, however busy the machine is.
    assert status is None and "so far" in output and time.monotonic() - start < 300


def test_an_exception_ends_a_part_and_not_the_run(check: Check) -> None:
    with check.part("one") as part:
        raise KeyError("inside")
    with check.part("two"):
        pass
    assert part.status == "failed" and "inside" in part.failures[0]["message"]
    assert [p.status for p in check.parts] == ["failed", "passed"]


def test_the_environment_chooses_the_device(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCORE_CUDA", "cpu")
    code = "import os; print(os.environ.get('GRADCORE_CUDA'))"
    assert check.run([sys.executable, "-c", code], "gpu", 30) == (0, "None\n")
    assert check.run([sys.executable, "-c", code], "emulate", 30) == (0, "emulate\n")


@pytest.mark.parametrize(
    ("run", "found", "status", "reason"),
    [
        ((0, "224 results"), {"nvmath-python": 120903, "nvidia-cudnn-frontend": 92800}, "passed", ""),
        ((0, "224 results"), {"nvmath-python": 120903, "nvidia-cudnn-frontend": None}, "skipped", "nvidia-cudnn"),
        (
            (0, "blas.py:9: UserWarning: cuDNN refuses sdpa: why; gradcore goes on without it\n  f()\n224 results"),
            {"nvmath-python": None, "nvidia-cudnn-frontend": 92800},
            "failed",
            "1 failures",
        ),
        ((-11, ""), {"nvmath-python": 120903, "nvidia-cudnn-frontend": 92800}, "failed", "1 failures"),
    ],
)
def test_what_the_libraries_refuse_is_a_failure(
    check: Check, monkeypatch: pytest.MonkeyPatch, run: Any, found: Any, status: str, reason: str
) -> None:
    monkeypatch.setattr(check, "run", lambda *_, **__: run)
    check.ask_libraries(found)
    (part,) = check.parts
    assert part.status == status and reason in part.reason
    if status == "failed":
        assert "kernel_sample.py products cudnn" in part.failures[0]["reproduce"]


# ---------------------------------------------------------------- compute-sanitizer


@pytest.mark.parametrize(
    "script, status",
    [
        ("echo '========= ERROR SUMMARY: 0 errors'", "passed"),
        ("echo '========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)'", "passed"),
        ("echo '========= Invalid __global__ read'; echo '========= ERROR SUMMARY: 3 errors'; exit 99", "failed"),
        ("echo '========= RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)'", "failed"),
        ("echo '========= ERROR SUMMARY: 0 errors'; exit 1", "failed"),
        ("echo Segmentation fault", "failed"),
    ],
)
def test_reports_of_compute_sanitizer(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str
) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    check.sanitize(["optimizers"])
    assert [(part.name, part.status) for part in check.parts] == [(tool, status) for tool in gpu_check.TOOLS]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert (
        len(calls) == 4
        and calls[0].startswith("--tool memcheck ")
        and calls[0].endswith(" optimizers --no-pool --without products cudnn")
    )
    if status == "failed":
        assert "compute-sanitizer --tool memcheck" in check.parts[0].failures[0]["reproduce"]


def test_compute_sanitizer_missing(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    check.sanitize([])
    assert {part.status for part in check.parts} == {"skipped"}
    assert "not on the PATH" in check.parts[0].reason


# ---------------------------------------------------------------- differences


def test_differences() -> None:
    x = np.array([0.0, 1.0, np.nan, np.inf, -1000.0])
    assert gpu_check.difference(x, x * (1 + 1e-13), "float64", "float64") == ""
    wrong = x.copy()
    wrong[1] = 1.01
    assert gpu_check.difference(x, wrong, "float32", "float32") == "1 of 5 values differ, at [1]: 1.01 instead of 1.0"
    for other in (np.inf, 5.0, -np.nan):
        wrong = x.copy()
        wrong[[2, 3]] = other, -np.inf
        assert gpu_check.difference(x, wrong, "float64", "float64")
    assert "instead of float64 (5,)" in gpu_check.difference(x, x[:4], "float64", "float64")
    assert "float32 (5,) instead of" in gpu_check.difference(x, x, "float64", "float32")
    assert gpu_check.difference(np.array([1, 2]), np.array([1, 3]), "int64", "int64")
    assert gpu_check.difference(np.array([True]), np.array([False]), "bool", "bool")


def test_files_that_differ(tmp_path: Path) -> None:
    x = np.ones(3, ml_dtypes.bfloat16)
    for name, value in (("a", 1.0), ("b", 1.5)):
        np.savez(tmp_path / f"{name}.npz", names=["f: one"], dtypes=["bfloat16"], **{"0": x.astype(np.float32) * value})
    part = Part("compare")
    gpu_check.compare_files(part, tmp_path / "a.npz", tmp_path / "b.npz", lambda command, device: " ".join(command[1:]))
    assert (part.status, part.counts) == ("failed", {"compared": 1, "failed": 1})
    assert part.failures[0]["reproduce"].startswith("scripts/kernel_sample.py --out FILE.npz f,")
