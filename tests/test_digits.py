"""The main job: `examples/train_digits.py` learns real digits, and the same seed gives the same numbers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

for name in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(name, reason="the example needs the extra `examples`")

FOLDER = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("train_digits")
    for name in ("common", "train_digits"):
        sys.modules.pop(name, None)


def train(example, capsys, out: Path, *arguments: str) -> tuple[float, dict[str, np.ndarray]]:
    example.main(["--device", "cpu", "--out", str(out), *arguments])
    name, accuracy = capsys.readouterr().out.splitlines()[-1].split(": ")
    assert name == "test accuracy"
    return float(accuracy), load_file(out / "digits.safetensors")


def test_accuracy_and_what_is_written(example, capsys, tmp_path):
    accuracy, weights = train(example, capsys, tmp_path / "made" / "here")
    assert accuracy >= 0.97
    assert {name: array.shape for name, array in weights.items()} == {
        "0.weight": (256, 64),
        "0.bias": (256,),
        "3.weight": (128, 256),
        "3.bias": (128,),
        "6.weight": (10, 128),
        "6.bias": (10,),
    }
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values())
    assert (tmp_path / "made" / "here" / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_the_saved_weights_are_the_model(example, capsys, tmp_path):
    """The printed accuracy comes out again from the file, by NumPy alone."""
    accuracy, weights = train(example, capsys, tmp_path, "--epochs", "2")
    _, test_set = example.load_data(seed=0)
    x, y = (tensor.numpy() for tensor in test_set.tensors)
    for layer in ("0", "3"):
        x = np.maximum(x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"], 0)
    logits = x @ weights["6.weight"].T + weights["6.bias"]
    assert f"{(logits.argmax(1) == y).mean():.4f}" == f"{accuracy:.4f}"


def test_the_same_seed_gives_the_same_numbers(example, capsys, tmp_path):
    runs = [train(example, capsys, tmp_path, "--epochs", "2", "--seed", seed) for seed in ("7", "7", "8")]
    (first, weights), (second, same), (_, other) = runs
    assert first == second
    assert all((weights[name] == same[name]).all() for name in weights)
    assert any((weights[name] != other[name]).any() for name in weights)
