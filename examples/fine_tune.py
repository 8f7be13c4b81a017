"""Fine-tune a network that PyTorch trained and saved, for digits that are pale and noisy.

data/digits_base.pt is a `state_dict` from `torch.save`: a small convolutional network that has learned one half of the
handwritten digits (data/make_digits_base.py made it). Here it learns to read spoilt ones, from five images of each in
the other half. The same network that begins with random weights is trained beside it, to show what the file brings
along. gradcore reads it without running anything in it, and without PyTorch. The settings were chosen with --validate,
which measures on 20 images of each digit that are not among the test images.

    python examples/fine_tune.py --device cuda --out out
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import common
import numpy as np

import gradcore as torch
from gradcore.utils.data import TensorDataset

EACH, CHOICE = 5, 20  # images of each digit to learn from, and to choose settings by


def make_model(nn: Any) -> Any:
    """A network of gradcore's or PyTorch's `nn`: from images (n, 1, 8, 8) to scores of the digits (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def halves() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The images (n, 1, 8, 8) and labels that the base learned from, and all others."""
    images, labels = common.digits()
    order = np.random.default_rng(0).permutation(len(labels))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    images = images.reshape(-1, 1, 8, 8)
    return (images[first], labels[first]), (images[second], labels[second])


def load_data(seed: int, validate: bool) -> tuple[TensorDataset, TensorDataset]:
    """Spoilt images: `EACH` of each digit to learn from, and others to measure on."""
    _, (images, labels) = halves()
    chance = np.random.default_rng(seed)
    images = (0.5 * images + 0.1 * chance.standard_normal(images.shape)).astype(np.float32)
    order = chance.permutation(len(labels))
    rest = slice(EACH, EACH + CHOICE) if validate else slice(EACH + CHOICE, None)
    sets = []
    for part in (slice(EACH), rest):
        rows = np.concatenate([order[labels[order] == label][part] for label in range(10)])
        sets.append(TensorDataset(torch.tensor(images[rows]), torch.tensor(labels[rows])))
    return sets[0], sets[1]


def train(name: str, args: argparse.Namespace, weights: Any, data: Any) -> tuple[common.Run, float, float]:
    """The run of the network with these weights (None: random ones), and its accuracy before and after."""
    torch.manual_seed(args.seed)
    model = make_model(torch.nn).to(args.device)
    if weights is not None:
        model.load_state_dict(weights)
    criterion = torch.nn.CrossEntropyLoss()
    before = common.evaluate(model, data[1], criterion, args.device)[1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    run = common.Run(name, args, model=model, optimizer=optimizer, scheduler=scheduler)
    after = common.learn_digits(run, *data, criterion)
    common.digit_curves(run, "cross-entropy", f"Spoilt digits, from {EACH} images of each: {after:.2%}")
    return run, before, after


def main(argv: list[str] | None = None) -> common.Run:
    parser = common.parser(__doc__, epochs=20, batch_size=10, lr=1e-3)
    parser.add_argument("--weights", type=Path, default=common.DATA / "digits_base.pt", help="default: %(default)s")
    parser.add_argument("--validate", action="store_true", help="measure on the images that settings are chosen by")
    args = parser.parse_args(argv)
    data = load_data(args.seed, args.validate)
    run, before, after = train("fine_tune", args, torch.load(args.weights, map_location=args.device), data)
    _, _, other = train("from_scratch", args, None, data)
    print(f"accuracy of the base as it is: {before:.4f}, of random weights, trained as long: {other:.4f}")
    run.finish("validation accuracy" if args.validate else "test accuracy", after)
    return run


if __name__ == "__main__":
    main()
