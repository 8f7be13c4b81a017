"""Make digits_base.pt: a network that PyTorch trained on half of the digits, for examples/fine_tune.py.

Needs PyTorch.

    python examples/data/make_digits_base.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fine_tune import halves, make_model  # noqa: E402


def main() -> None:
    torch.manual_seed(0)
    (images, labels), _ = halves()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    model = make_model(torch.nn)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(20):
        for rows in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    print(f"accuracy on what it learned from: {(model(x).argmax(1) == y).float().mean():.4f}")
    torch.save(model.state_dict(), HERE / "digits_base.pt")


if __name__ == "__main__":
    main()
