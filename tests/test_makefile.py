"""The two commands that stand first in the README, and the rest of the Makefile, without running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or not (ROOT / "Makefile").is_file(), reason="needs make and the source tree"
)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", f"PYTHON={sys.executable}", *arguments]
    # Neither the variables of a make that runs these tests nor the user's own may come in.
    own = {"CUDA", "JOBS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OUT", "TEST_ARGS", "VENV"}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=ROOT)


def plan(*arguments: str) -> list[str]:
    """The commands that make would run."""
    done = make("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_demo_installs_and_trains(tmp_path):
    commands = plan("demo", f"VENV={tmp_path}/env", "CUDA=", "OUT=there", "DEMO_ARGS=--epochs 2")
    assert f"{sys.executable} -m venv {tmp_path}/env" in commands
    (install,) = (command for command in commands if " --editable " in command)
    assert install.endswith("--editable '.[examples]'")
    assert commands[-1] == f"{tmp_path}/env/bin/python examples/train_digits.py --out there --epochs 2"


def test_a_gpu_brings_the_cuda_extra(tmp_path):
    (install,) = (line for line in plan("demo", f"VENV={tmp_path}/env", "CUDA=cuda12") if " --editable " in line)
    assert install.endswith("--editable '.[examples,cuda12]'")


def test_nothing_is_installed_twice(tmp_path):
    for name in ("pyvenv.cfg", ".installed-test"):
        (tmp_path / name).touch()
    assert plan("test", f"VENV={tmp_path}") == [f"{tmp_path}/bin/python -m pytest -n auto "]


def test_without_a_suitable_python(tmp_path):
    done = make("venv", f"VENV={tmp_path}/env", "PYTHON=")
    assert done.returncode != 0
    assert "gradcore needs Python 3.10 to 3.13; give one as: make PYTHON=" in done.stderr


def test_help_lists_every_target():
    shown = set(re.findall(r"^  make ([a-z-]+)", make("help").stdout, re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert shown == phony
    assert {"demo", "test", "lint", "bench", "wheel", "docker", "gpu-test", "clean", "help"} <= shown
