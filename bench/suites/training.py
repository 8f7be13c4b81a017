"""Whole training steps: steps a second, the peak memory, and a loss curve that is PyTorch's own.

Before anything is timed, every subject trains in float64 from the same initial weights on the same batches, and its
losses must be those of the reference.
"""

from __future__ import annotations

import itertools
from typing import Any

from .. import peers
from ..case import Case, Step
from ..lab import Lab
from .data import digits as digits_data
from .models import network_step, training_step

SUITE = "training"
# Steps compared in float64, and how far the losses may lie apart.
CURVE = ("float64", 100, 1e-8)
# The LSTM multiplies roundings: PyTorch's own loss moves by 7e-12 in 60 steps, but by 5e-6 in 100, if its first weights
# are changed by 1e-15 of themselves.
SHORT = ("float64", 60, 1e-8)


def digits(lab: Lab, dtype: str) -> Step:
    """A step of a network with one hidden layer on scikit-learn's digits, Adam: it returns the loss."""
    data = digits_data(dtype)
    if not lab.torchlike:
        return lab.digits(data)  # type: ignore[attr-defined]
    nn = lab.module.nn
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    model = model.to(lab.device, getattr(lab.module, dtype))
    with lab.module.no_grad():
        for p, w in zip(model.parameters(), data.weights):
            p.copy_(lab.tensor(w))
    x, y = lab.tensor(data.x), lab.tensor(data.y)
    batches = itertools.cycle([lab.tensor(b) for b in data.batches])

    def batch() -> Any:
        rows = next(batches)
        return x[rows], y[rows]

    return training_step(lab, model, "Adam", batch)


def _network(name: str, title: str, optimizer: str, *needs: str, curve: tuple[str, int, float] = CURVE) -> Case:
    return Case(
        SUITE, name, title, network_step, {"network": name, "optimizer": optimizer}, needs=needs, steps=10,
        terms=10_000, curve=curve, memory=True,
    )  # fmt: skip


def cases(quick: bool) -> list[Case]:
    """The networks."""
    return [
        Case(
            SUITE, "digits", "digits, 64-128-10, batch 64, Adam", digits, size=64 * 128, peers=peers.PEERS, steps=10,
            terms=10 * 128, curve=CURVE, memory=True, load=digits_data,
        ),
        _network(
            "cnn", "CNN, 32 images 3x32x32, 67K parameters, Adam", "Adam",
            "nn.Conv2d", "nn.BatchNorm2d", "nn.MaxPool2d",
        ),
        _network("lstm", "LSTM, 16 sequences of 64 characters, 118K parameters, Adam", "Adam", "nn.LSTM", curve=SHORT),
        _network(
            "gpt", "GPT, 16 sequences of 64 characters, 430K parameters, AdamW", "AdamW",
            "nn.functional.scaled_dot_product_attention", "nn.LayerNorm", "nn.Embedding",
        ),
    ]  # fmt: skip
