"""The examples: they reach their figures, go on where they stopped, and compute the same on the CUDA device."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore import nn

for name in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(name, reason="the examples need the extra `examples`")

FOLDER = Path(__file__).resolve().parents[1] / "examples"
NAMES = ["train_digits", "train_digits_cnn", "train_gpt", "train_lstm", "fine_tune"]


@pytest.fixture
def example(monkeypatch):
    """A function that imports an example."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> Any:
        if name == "train_lstm" and not hasattr(nn, "LSTM"):
            pytest.skip("there is no nn.LSTM")
        return importlib.import_module(name)

    yield load
    for name in ("common", *NAMES):
        sys.modules.pop(name, None)


def printed(capsys) -> tuple[str, float]:
    """The last line: the name of the figure, and its value."""
    name, value = capsys.readouterr().out.splitlines()[-1].split(": ")
    return name, float(value)


@pytest.mark.slow
def test_cnn(example, capsys, tmp_path):
    example("train_digits_cnn").main(["--device", "cpu", "--out", str(tmp_path), "--epochs", "8"])
    name, accuracy = printed(capsys)
    assert name == "test accuracy" and accuracy >= 0.985
    assert (tmp_path / "digits_cnn.png").read_bytes().startswith(b"\x89PNG")
    weights = gc.load(tmp_path / "digits_cnn.safetensors")
    assert weights["0.weight"].shape == (32, 1, 3, 3) and weights["13.weight"].shape == (10, 256)


def test_validation_leaves_the_test_images_alone(example, capsys, tmp_path):
    module = example("train_digits_cnn")
    module.main(["--device", "cpu", "--out", str(tmp_path), "--steps", "2", "--validate"])
    assert printed(capsys)[0] == "validation accuracy"
    train_set, test_set = module.common.split(*module.common.digits(), part=0.2, seed=0)
    assert (len(train_set), len(test_set)) == (1437, 360)


def test_lstm(example, capsys, tmp_path):
    example("train_lstm").main(["--device", "cpu", "--out", str(tmp_path)])
    *_, simple, _, last = capsys.readouterr().out.splitlines()
    simple, (name, error) = float(simple.split(": ")[1]), last.split(": ")
    assert name == "test error" and simple == pytest.approx(33.175, abs=0.001) and float(error) < 0.65 * simple


def test_the_series_is_not_seen_ahead(example):
    """The window of each year is of the years before it, and the sets have no year in common."""
    module = example("train_lstm")
    years, values = module.load_data()
    assert (years[0], years[-1], len(years)) == (1700, 2008, 309) and (np.diff(years) == 1).all()
    learned, tested = (module.windows(years, values, *part) for part in ((1700, 1900), (1950, 2009)))
    assert (len(learned), len(tested)) == (200 - module.WINDOW, 59)
    x, y = tested[0]
    assert y == values[years == 1950] and (x.numpy() == values[(years >= 1917) & (years < 1950)]).all()


def test_fine_tuning(example, capsys, tmp_path):
    """What PyTorch learned helps."""
    example("fine_tune").main(["--device", "cpu", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    (comparison,) = [line for line in lines if line.startswith("accuracy of the base")]
    before, other = (float(number) for number in re.findall(r"0\.\d+", comparison))
    name, accuracy = lines[-1].split(": ")
    assert name == "test accuracy" and float(accuracy) >= max(0.88, before + 0.05, other + 0.15)


def test_the_base_is_what_pytorch_saved(example, oracle):
    """The file of weights is PyTorch's, and both libraries compute the same from it."""
    module = example("fine_tune")
    path = FOLDER / "data" / "digits_base.pt"
    own, theirs = module.make_model(nn), module.make_model(oracle.nn)
    own.load_state_dict(gc.load(path))
    theirs.load_state_dict(oracle.load(path, weights_only=True))
    images = module.halves()[1][0][:50]
    expected = theirs.eval()(oracle.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(own.eval()(gc.tensor(images)).detach().numpy(), expected, 1e-4, 1e-5)


@pytest.mark.slow
def test_gpt_learns_and_writes(example, capsys, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. the dog sat on the log.\n" * 200, encoding="utf-8")
    example("train_gpt").main(["--device", "cpu", "--out", str(tmp_path), "--text", str(text), "--epochs", "3"])
    out = capsys.readouterr().out
    name, loss = out.splitlines()[-1].split(": ")
    assert name == "validation loss" and float(loss) < 0.5  # of a text that repeats itself little is left to guess
    samples = out.split("--- ")[1:]
    assert len(samples) == 2 and samples[0].startswith("The ") and "sat on the" in samples[0]


def test_gpt_beside_pytorch(example, oracle):
    """From the same weights, with the same batches, the losses are those of PyTorch."""
    own, theirs = example("train_gpt").main(["--device", "cpu", "--compare", "--steps", "30"])
    assert len(own) == 30 and own[-1] < 0.75 * own[0]
    np.testing.assert_allclose(own, theirs, rtol=1e-3)


def test_gpt_needs_enough_text(example, capsys, tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(SystemExit):
        example("train_gpt").main(["--text", str(tmp_path / "short.txt")])
    assert "--text has 9 characters, at least 1280 are needed" in capsys.readouterr().err


# ---------------------------------------------------------------- all of them
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_same_on_the_cuda_device(example, monkeypatch, tmp_path, name, _cuda_reason):
    """Twenty steps, with the losses of the CPU up to rounding."""
    # The devices draw different random numbers from the same seed.
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, input: input)
    short = ["--steps", "20", *(["--sample", "1"] if name == "train_gpt" else [])]
    if _cuda_reason is not None:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    losses = {}
    for device in ("cpu", "cuda"):
        run = example(name).main(["--device", device, "--out", str(tmp_path / device), *short])
        losses[device] = run.losses
        assert len(run.losses) == 20 and all(p.device.type == device for p in run.parts["model"].parameters())
    # Rounding differs in the last bits, and each step multiplies it.
    np.testing.assert_allclose(losses["cuda"][:5], losses["cpu"][:5], rtol=1e-5)
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=5e-3)


class _EndedError(Exception):
    pass


@pytest.mark.parametrize("name", ["train_digits", "train_gpt", "train_lstm"])
def test_resumed(example, capsys, monkeypatch, tmp_path, name):
    """A run that was ended after two epochs and resumed has the weights of one that was not, to the last bit."""
    module = example(name)
    arguments = ["--device", "cpu", "--epochs", "3", "--batch-size", "8", "--out"]
    if name == "train_gpt":
        monkeypatch.setattr(module, "STEPS", 5)
    whole = module.main([*arguments, str(tmp_path / "whole")])
    save = module.common.Run._save

    def save_and_end(self: Any) -> None:
        save(self)
        if self.done == 2:
            raise _EndedError

    with monkeypatch.context() as patch, pytest.raises(_EndedError):
        patch.setattr(module.common.Run, "_save", save_and_end)
        module.main([*arguments, str(tmp_path / "parts")])
    resumed = module.main([*arguments, str(tmp_path / "parts"), "--resume"])
    assert "resumed after epoch 2" in capsys.readouterr().err
    assert (resumed.losses, resumed.history) == (whole.losses, whole.history)
    ends = [gc.load(run.path(".safetensors")) for run in (whole, resumed)]
    assert ends[0].keys() == ends[1].keys() and all((ends[0][key] == ends[1][key]).all() for key in ends[0])


def test_without_tqdm_and_matplotlib(example, capsys, monkeypatch, tmp_path):
    module = example("train_digits")
    for name in ("tqdm", "matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    module.main(["--device", "cpu", "--out", str(tmp_path), "--epochs", "2"])
    streams = capsys.readouterr()
    assert streams.err.splitlines()[0].startswith("digits on cpu: 1/2 train loss ")
    assert streams.out.splitlines()[-1].startswith("test accuracy: 0.") and not (tmp_path / "digits.png").exists()


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--steps", "x"]])
def test_wrong_arguments(example, capsys, arguments):
    with pytest.raises(SystemExit):
        example("train_digits").main(arguments)
    assert arguments[0] in capsys.readouterr().err
