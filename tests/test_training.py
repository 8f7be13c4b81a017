"""A whole training loop: the same on both devices as in PyTorch, reproducible, flat in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradcore as gc


def data(rows: int = 96) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 12))
    return x, (x[:, :4].argmax(1)).astype(np.int64)


def train(
    module: Any, optimizer: str, device: str, dtype: str, steps: int = 20
) -> tuple[list[float], list[np.ndarray]]:
    """The losses and the final parameters of a small MLP, from weights that do not depend on the module."""
    nn = module.nn
    kind = getattr(module, dtype)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 4))
    generator = np.random.default_rng(1)
    with module.no_grad():
        for p in model.parameters():
            p.copy_(module.tensor(generator.normal(0, 0.4, tuple(p.shape))))
    model = model.to(kind).to(device)
    x, y = (module.tensor(a).to(device) for a in data())
    x = x.to(kind)
    make = {
        "sgd": lambda p: module.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        "adam": lambda p: module.optim.Adam(p, lr=0.02, amsgrad=True),
        "adamw": lambda p: module.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    }[optimizer](model.parameters())
    scheduler = module.optim.lr_scheduler.CosineAnnealingLR(make, T_max=steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    losses = []
    for step in range(steps):
        rows = slice(step % 3 * 32, step % 3 * 32 + 32)
        make.zero_grad()
        loss = criterion(model(x[rows]), y[rows])
        loss.backward()
        make.step()
        scheduler.step()
        losses.append(loss.item())
    return losses, [p.detach().cpu().numpy() for p in model.parameters()]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_equals_pytorch(optimizer: str, device: str, oracle: Any) -> None:
    ours, weights = train(gc, optimizer, device, "float64")
    theirs, expected = train(oracle, optimizer, "cpu", "float64")
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    for a, b in zip(weights, expected):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    assert ours[-1] < 0.8 * ours[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_cuda_equals_cpu_in_single_precision(optimizer: str, _cuda_reason: str | None) -> None:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    there, _ = train(gc, optimizer, "cuda", "float32")
    here, _ = train(gc, optimizer, "cpu", "float32")
    np.testing.assert_allclose(there, here, rtol=2e-3)


def test_same_numbers_twice(device: str) -> None:
    def once() -> tuple[list[float], Any]:
        gc.manual_seed(3)
        model = gc.nn.Sequential(gc.nn.Linear(12, 8), gc.nn.Dropout(0.3), gc.nn.Linear(8, 4)).to(device)
        optimizer = gc.optim.Adam(model.parameters())
        x, y = (gc.tensor(a).to(device) for a in data())
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = gc.nn.functional.cross_entropy(model(x.float()), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, model[0].weight.tolist()

    assert once() == once()
