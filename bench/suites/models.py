"""The small networks that several suites train, written once for every module that looks like PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import Step
from ..lab import Lab


def fill(module: Any, model: Any, dtype: str, seed: int = 0) -> None:
    """Give the parameters the same values in every subject: normal, scaled as He et al. (2015), biases zero."""
    generator = np.random.default_rng(seed)
    with module.no_grad():
        for p in model.parameters():
            shape = tuple(p.shape)
            scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.0
            p.copy_(module.tensor((generator.normal(size=shape) * scale).astype(dtype)))


def optimizer(module: Any, name: str, parameters: Any) -> Any:
    """SGD, Adam or AdamW with a rate that small networks train at."""
    rate = {"SGD": 1e-2, "Adam": 1e-3, "AdamW": 1e-3}[name]
    return getattr(module.optim, name)(parameters, lr=rate)


def mlp_step(lab: Lab, dtype: str, *, batch: int, width: int, optimizer: str) -> Step:
    """A training step of three linear layers with ReLU, 10 classes, cross-entropy; it returns the loss."""
    torch = lab.module
    nn = torch.nn
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    model = model.to(lab.device, getattr(torch, dtype))
    fill(torch, model, dtype)
    generator = np.random.default_rng(1)
    inputs = lab.tensor(generator.normal(size=(batch, width)).astype(dtype))
    targets = lab.tensor(generator.integers(0, 10, batch))
    return training_step(lab, model, optimizer, lambda: (inputs, targets))


def training_step(lab: Lab, model: Any, name: str, batch: Any) -> Step:
    """What every training loop repeats, with the loss as its result; `batch()` gives (inputs, targets)."""
    criterion = lab.module.nn.CrossEntropyLoss()
    updates = optimizer(lab.module, name, model.parameters())
    forward = lab.compiled(model)

    def step() -> Any:
        inputs, targets = batch()
        updates.zero_grad()
        loss = criterion(forward(inputs), targets)
        loss.backward()
        updates.step()
        return loss

    return step
