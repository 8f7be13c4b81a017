"""Train a convolutional network on handwritten digits, to at least 98.5 % of test images recognised.

The images are shifted by up to one pixel while it learns. All choices (the widths, dropout, shifts, learning rate and
number of epochs) were made on a validation set: with --validate a fifth of the images to train on is held back and
takes the place of the test images, which are not touched then.

    python examples/train_digits_cnn.py --device cuda --out out
"""

from __future__ import annotations

from typing import Any

import common

import gradcore as torch
from gradcore import nn


def make_model(classes: int = 10) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(256, classes),
    )


def shifted(images: Any) -> Any:
    """The images of a batch, moved together by up to one pixel in both directions."""
    down, right = torch.randint(3, (2,)).tolist()
    return nn.functional.pad(images, (1, 1, 1, 1))[..., down : down + 8, right : right + 8]


def main(argv: list[str] | None = None) -> common.Run:
    parser = common.parser(__doc__, epochs=20, batch_size=64, lr=3e-3)
    parser.add_argument("--validate", action="store_true", help="measure on a fifth of the images to train on instead")
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    images, labels = common.digits()
    train_set, test_set = common.split(images.reshape(-1, 1, 8, 8), labels, part=0.2, seed=args.seed)
    if args.validate:
        train_set, test_set = common.split(*(part.numpy() for part in train_set.tensors), part=0.2, seed=args.seed)
    model = make_model().to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    run = common.Run("digits_cnn", args, model=model, optimizer=optimizer, scheduler=scheduler)

    accuracy = common.learn_digits(run, train_set, test_set, nn.CrossEntropyLoss(label_smoothing=0.05), shifted)
    common.digit_curves(run, "cross-entropy, labels smoothed by 0.05", f"Convolutional network: {accuracy:.2%}")
    run.finish("validation accuracy" if args.validate else "test accuracy", accuracy)
    return run


if __name__ == "__main__":
    main()
