"""The declarations for type checkers: complete, up to date, and what they let through runs."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gradcore as gc

ROOT = Path(gc.__file__).resolve().parent.parent

CORRECT = """
import gradcore

x: gradcore.Tensor = gradcore.randn(3, 4, requires_grad=True)
y = (x @ x.T).sum(dim=0)
loss = y.mean()
loss.backward()
assert x.grad is not None
norm: float = x.grad.norm().item()
rows: int = x.size(0)
sizes: tuple[int, ...] = x.reshape(2, 6).view((3, 4)).permute(1, 0).shape
best, where = x.max(dim=1)
total = gradcore.zeros((3, 4), dtype=gradcore.float64, device="cpu")
total += (2 - x.detach()) ** 2 / best.detach().sum()[None, ...].mean()
mask: gradcore.Tensor = (x == 1) & ~(x > 0) | x.isnan()
joined: gradcore.Tensor = gradcore.cat([x, gradcore.where(mask, 0.0, x).clamp(min=-1)], dim=0)
parameter: gradcore.nn.Parameter = gradcore.nn.Parameter(gradcore.ones(2)).requires_grad_()
spread = gradcore.var(x, dim=(0, 1), correction=0) + x.std(0, True).sum()
numbers = gradcore.randint(10, (3,)).float().int().long() + gradcore.randint(0, 10, (3,))


@gradcore.no_grad()
def step(parameter: gradcore.Tensor, rate: float = 0.1) -> gradcore.Tensor:
    return parameter.sub_(rate).mul_(2).clamp_(0, 1)


result: gradcore.Tensor = step(parameter)
"""

WRONG = (
    'x.sum(dim="a")',
    'x.reshape("3")',
    "x.no_such_method()",
    'x + "1"',
    "gradcore.sum([1, 2])",
    "gradcore.no_such_function(x)",
    "gradcore.zeros(2, dtype=float)",
    "gradcore.max(x, dim=0, keep=True)",
    "number: int = x.T",
)


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    paths = ("__init__.pyi", "tensor/_methods.pyi", "tensor/exchange.py", "tensor/tensor.py", "autograd/variable.py")
    return {path: ast.parse((ROOT / "gradcore" / path).read_text()) for path in paths}


def declared(body: list[ast.stmt]) -> set[str]:
    """The names that a module or class declares; of imports, those that are exported again."""
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ImportFrom):
            names.update(alias.asname for alias in statement.names if alias.asname == alias.name)
        elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            names.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return names


def declared_in(tree: ast.Module, name: str) -> set[str]:
    (found,) = (s for s in tree.body if isinstance(s, ast.ClassDef) and s.name == name)
    return declared(found.body)


def test_up_to_date() -> None:
    command = [sys.executable, "scripts/generate_stubs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_package_names(trees: dict[str, ast.Module]) -> None:
    assert declared(trees["__init__.pyi"].body) == {*gc.__all__, "__version__"}


def test_tensor_attributes(trees: dict[str, ast.Module]) -> None:
    class Empty:
        attribute: int

    generated = declared_in(trees["tensor/_methods.pyi"], "TensorMethods")
    by_hand = declared_in(trees["tensor/tensor.py"], "Tensor") | declared_in(trees["tensor/exchange.py"], "Exchange")
    inherited = declared_in(trees["autograd/variable.py"], "Variable")
    assert set(dir(gc.Tensor)) - set(dir(Empty)) <= generated | by_hand | inherited
    assert generated | by_hand <= set(dir(gc.Tensor))
    assert not generated & by_hand, "a generated method hides one written by hand"


def test_checked_programs(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed: pip install mypy")
    (tmp_path / "correct.py").write_text(CORRECT)
    (tmp_path / "wrong.py").write_text("\n".join(("import gradcore; x = gradcore.randn(3, 4)", *WRONG)))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, "--cache-dir=cache", "correct.py", "wrong.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    refused = set(re.findall(r"^(\w+\.py):(\d+): error:", done.stdout, re.M))
    expected = {("wrong.py", str(line)) for line in range(2, 2 + len(WRONG))}
    assert refused == expected, done.stdout + done.stderr


def test_correct_program_runs() -> None:
    exec(compile(CORRECT, "correct.py", "exec"), {"__name__": "correct"})
