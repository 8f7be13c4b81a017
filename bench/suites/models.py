"""The small networks that several suites train, written once for every module that looks like PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..case import Step
from ..lab import Lab


def fill(module: Any, model: Any, dtype: str, seed: int = 0) -> None:
    """Give the parameters the same values in every subject: normal, scaled as He et al. (2015), biases 0, scales 1."""
    generator = np.random.default_rng(seed)
    with module.no_grad():
        for name, p in model.named_parameters():
            shape = tuple(p.shape)
            if len(shape) > 1:
                values = generator.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5
            else:
                values = np.full(shape, float(name.endswith("weight")))
            p.copy_(module.tensor(values.astype(dtype)))


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


def update_step(
    lab: Lab, dtype: str, *, optimizer: str, options: dict[str, Any], shapes: Sequence[tuple[int, ...]]
) -> Step:
    """A step of an optimizer, whose gradients stay as they are; it returns the parameters."""
    generator = np.random.default_rng(0)
    parameters = [lab.tensor(generator.normal(size=s).astype(dtype), grad=True) for s in shapes]
    for p in parameters:
        p.grad = lab.tensor(generator.normal(size=tuple(p.shape)).astype(dtype))
    update = getattr(lab.module.optim, optimizer)(parameters, lr=1e-3, **options)

    def step() -> Any:
        update.step()
        return parameters

    return step


def cnn(lab: Lab) -> Any:
    """For images (n, 3, 32, 32): three convolutions with batch norm, pooling, a linear layer; 10 classes."""
    nn = lab.module.nn

    def block(channels: int, out: int) -> list[Any]:
        return [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 64), nn.Flatten(), nn.Linear(64 * 16, 10))


def lstm(lab: Lab) -> Any:
    """For characters (n, length): an embedding, an LSTM of 128 units, scores of 96 characters (n, 96, length)."""
    nn = lab.module.nn

    class Characters(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(96, 64)
            self.lstm = nn.LSTM(64, 128, batch_first=True)
            self.head = nn.Linear(128, 96)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.embedding(x))[0]).transpose(1, 2)

    return Characters()


def gpt(lab: Lab) -> Any:
    """For characters (n, length): two blocks of a transformer, 128 wide, 4 heads, scores as `lstm` gives them."""
    nn, functional = lab.module.nn, lab.module.nn.functional
    width, heads = 128, 4

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            n, length, _ = x.shape
            parts = self.mix(self.norm1(x)).split(width, 2)
            q, k, v = (part.reshape(n, length, heads, width // heads).transpose(1, 2) for part in parts)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(n, length, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class Gpt(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.characters, self.places = nn.Embedding(96, width), nn.Embedding(64, width)
            self.blocks = nn.Sequential(Block(), Block())
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 96)

        def forward(self, x: Any) -> Any:
            x = self.characters(x) + self.places.weight[: x.shape[1]]
            return self.head(self.norm(self.blocks(x))).transpose(1, 2)

    return Gpt()


def network_step(lab: Lab, dtype: str, *, network: str, optimizer: str) -> Step:
    """A training step of `cnn` on 32 random images, or of `lstm` or `gpt` on 16 random sequences of 64 characters."""
    torch = lab.module
    model = {"cnn": cnn, "lstm": lstm, "gpt": gpt}[network](lab).to(lab.device, getattr(torch, dtype))
    fill(torch, model, dtype)
    generator = np.random.default_rng(1)
    if network == "cnn":
        inputs = lab.tensor(generator.normal(size=(32, 3, 32, 32)).astype(dtype))
        targets = lab.tensor(generator.integers(0, 10, 32))
    else:
        text = generator.integers(0, 96, (16, 65))
        inputs, targets = lab.tensor(text[:, :-1].copy()), lab.tensor(text[:, 1:].copy())
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
