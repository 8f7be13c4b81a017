"""CONTRIBUTING.md: what it says of adding an elementwise op, done in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gradcore as gc

ROOT = Path(gc.__file__).resolve().parent.parent
NAME = "gaussian"

EVERYTHING = """
import numpy as np
import gradcore as gc
from gradcore.func import vmap

x = gc.randn(5, dtype=gc.float64)
expected = np.exp(-x.numpy() ** 2)
assert np.allclose(gc.gaussian(x).numpy(), expected) and np.allclose(x.gaussian().numpy(), expected)
assert np.allclose(vmap(gc.gaussian)(x).numpy(), expected)
leaf = x.clone().requires_grad_()
assert gc.autograd.gradcheck(gc.gaussian, leaf, check_forward_ad=True) and gc.autograd.gradgradcheck(gc.gaussian, leaf)
assert x.clone().gaussian_().equal(x.gaussian())
assert gc.gaussian.__doc__ == "The bell curve `exp(-input**2)`."  # what the reference documentation reads
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with the declaration of CONTRIBUTING.md in it."""
    declaration = re.search(
        rf"```py\n(@elementwise[^`]*?def {NAME}\(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S
    )
    assert declaration
    copy = tmp_path_factory.mktemp("contributing")
    for part in ("gradcore", "kernels", "bench", "scripts", "tests"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    with open(copy / "gradcore" / "ops" / "functions.py", "a") as file:
        file.write(f"\n\n{declaration[1]}")
    return copy


def run(tree, *command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "GRADCORE_CPU": "numpy"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_op_is_there(tree):
    run(tree, "-c", EVERYTHING)


def test_it_is_declared_for_editors(tree):
    run(tree, "scripts/generate_stubs.py")
    assert (
        f"def {NAME}(input: Tensor, *, out: Tensor | None = None) -> Tensor:"
        in (tree / "gradcore" / "__init__.pyi").read_text()
    )
    methods = (tree / "gradcore" / "tensor" / "_methods.pyi").read_text()
    assert f"def {NAME}(self) -> Tensor:" in methods and f"def {NAME}_(self) -> Self:" in methods


def test_it_has_benchmark_rows(tree):
    assert f"ops/{NAME}-" in run(tree, "-m", "bench", "run", "--suite", "ops", "--list")


def test_it_has_tests_that_pass(tree):
    found = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_ops.py", "-k", f"{NAME} and not cuda")
    assert re.search(r"\b[1-9]\d* passed", found)
