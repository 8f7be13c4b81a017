"""The container image, as far as it can be tested without a container engine: its script, and what it copies."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "container_check.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the container's script needs bash")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    everything = {**os.environ, "PYTHONPATH": path, "PYTHON": sys.executable, **environment}
    everything.pop("GRADCORE_CUDA", None)
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, env=everything, capture_output=True, text=True, timeout=300, cwd=ROOT.parent)


@pytest.fixture
def recorder(tmp_path):
    """A stand-in for the interpreter that writes down what it is called with and fails where `FAIL` says."""
    calls = tmp_path / "calls"
    script = tmp_path / "python"
    script.write_text(f'#!/usr/bin/env bash\necho "$*" >> {calls}\n[[ -z "$FAIL" || "$*" != *"$FAIL"* ]]\n')
    script.chmod(0o755)
    calls.touch()
    return script, calls


def test_cpu_path(tmp_path):
    done = run("cpu", OUT=str(tmp_path), DEMO_ARGS="--epochs 2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"GRADCORE_CUDA\s+cpu: 'cuda' is the CPU", done.stdout)
    name, accuracy = done.stdout.splitlines()[-1].split(": ")
    assert name == "test accuracy" and float(accuracy) > 0.7
    assert {path.name for path in tmp_path.iterdir()} == {"digits.checkpoint", "digits.png", "digits.safetensors"}


def test_gpu_path_runs_the_check_the_benchmarks_and_the_demo(recorder):
    script, calls = recorder
    done = run("gpu", PYTHON=str(script), FAIL="", OUT="there", BENCH_ARGS="--rounds 3", DEMO_ARGS="--epochs 9")
    assert done.returncode == 0, done.stderr
    assert calls.read_text().splitlines() == [
        "-m gradcore info",
        "scripts/gpu_check.py --out there/gpu_check.json",
        "-m bench run --device cuda --rounds 3",
        "examples/train_digits.py --device cuda --out there --epochs 9",
    ]


def test_gpu_path_stops_at_the_first_failure(recorder):
    script, calls = recorder
    assert run("gpu", PYTHON=str(script), FAIL="gpu_check", OUT="there").returncode != 0
    assert calls.read_text().splitlines() == ["-m gradcore info", "scripts/gpu_check.py --out there/gpu_check.json"]


@pytest.mark.parametrize("available, first", [("", "gpu"), ("cuda.is_available", "cpu")])
def test_auto_takes_the_gpu_where_there_is_one(recorder, available, first):
    script, calls = recorder
    done = run(PYTHON=str(script), FAIL=available)
    assert done.returncode == 0, done.stderr
    assert ("scripts/gpu_check.py" in calls.read_text()) == (first == "gpu")
    assert ("No CUDA device can be used" in done.stdout) == (first == "cpu")


def test_other_commands_are_run():
    done = run("echo", "two words", "three")
    assert (done.returncode, done.stdout) == (0, "two words three\n")
    assert run("false").returncode == 1


def instructions() -> list[list[str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_copies_what_exists_and_is_not_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    own = [words for name, *words in instructions() if name == "COPY" and not words[0].startswith("--from")]
    copied = [word for words in own for word in words[:-1] if not word.startswith("--")]
    assert {"gradcore", "kernels", "tests", "bench", "pyproject.toml"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
        last = [pattern for pattern in ignored if fnmatch.fnmatch(source, pattern.lstrip("!"))][-1]
        assert last.startswith("!"), source


def test_the_image_runs_the_script_as_an_ordinary_user():
    last = {name: words for name, *words in instructions()}
    assert last["USER"] == ["gradcore"]
    assert last["ENTRYPOINT"] == [f"[{SCRIPT.relative_to(ROOT)}]"]
    assert os.access(SCRIPT, os.X_OK)
    names = [name for name, *_ in instructions()]
    assert "RUN" not in names[names.index("USER") :]
