"""What `import gradcore` imports, and what there is then."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LATE = ("autograd.functional", "cuda.amp", "func", "optim.lr_scheduler", "serialization", "utils.data", "viz")


def test_what_most_programs_do_not_use_is_imported_when_named() -> None:
    code = f"""
import sys, gradcore
late = {LATE!r}
assert not [name for name in late if f"gradcore.{{name}}" in sys.modules]
assert {{"func", "load", "nn", "save", "vmap"}} <= set(dir(gradcore))
for name in late:
    package, _, attribute = f"gradcore.{{name}}".rpartition(".")
    assert getattr(sys.modules[package], attribute) is sys.modules[f"gradcore.{{name}}"]
assert gradcore.vmap is gradcore.func.vmap and gradcore.amp.GradScaler is gradcore.amp.grad_scaler.GradScaler
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("package", ["", ".amp", ".autograd", ".cuda", ".nn", ".optim", ".serialization", ".utils"])
def test_public_names_are_there(package: str) -> None:
    module = importlib.import_module(f"gradcore{package}")
    assert all(hasattr(module, name) for name in module.__all__)
    with pytest.raises(AttributeError, match=f"gradcore{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018
