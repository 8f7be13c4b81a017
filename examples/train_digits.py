"""Train a multilayer perceptron on handwritten digits.

Writes the learning curve (digits.png), the trained weights (digits.safetensors) and a checkpoint into the folder given
by --out.

    python examples/train_digits.py --device cuda --epochs 30 --out out
"""

from __future__ import annotations

import common

import gradcore as torch
from gradcore import nn
from gradcore.utils.data import TensorDataset


def load_data(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """1,797 images of 8x8 pixels, four fifths of them to train on."""
    return common.split(*common.digits(), part=0.2, seed=seed)


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )


def main(argv: list[str] | None = None) -> common.Run:
    args = common.parser(__doc__, epochs=30, batch_size=64, lr=3e-3).parse_args(argv)
    torch.manual_seed(args.seed)
    model = make_model().to(args.device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    run = common.Run("digits", args, model=model, optimizer=optimizer, scheduler=scheduler)

    accuracy = common.learn_digits(run, *load_data(args.seed), criterion)
    title = f"Handwritten digits: {accuracy:.2%} of the test images recognised"
    common.digit_curves(run, "cross-entropy, labels smoothed by 0.1", title)
    run.finish("test accuracy", accuracy)
    return run


if __name__ == "__main__":
    main()
