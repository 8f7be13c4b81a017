"""Forecast sunspots with an LSTM: from the numbers of 33 years, three cycles of the sun, that of the next year.

The series is the yearly mean number of sunspots from 1700 to 2008 (data/sunspots.csv), published by the National
Geophysical Data Center of the USA and in the public domain. The network learns from the years before 1900; the years to
1949 chose the settings and the epoch, and those from 1950 on are the test. What it is measured by is the error of "next
year is as this year".

    python examples/train_lstm.py --device cuda --out out
"""

from __future__ import annotations

import copy
from typing import Any

import common
import numpy as np

import gradcore as torch
from gradcore import nn
from gradcore.utils.data import DataLoader, TensorDataset

WINDOW = 33
SCALE = 100.0


class Forecast(nn.Module):
    """From windows (n, WINDOW) the next number of each (n,), as a change of the last one."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.lstm = nn.LSTM(1, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Any) -> Any:
        states, _ = self.lstm(x.unsqueeze(-1))
        return x[:, -1] + self.head(states[:, -1]).squeeze(-1)


def load_data() -> tuple[np.ndarray, np.ndarray]:
    """The years, and their numbers of sunspots in hundreds."""
    table = np.loadtxt(common.DATA / "sunspots.csv", delimiter=",", skiprows=1)
    return table[:, 0].astype(int), (table[:, 1] / SCALE).astype(np.float32)


def windows(years: np.ndarray, values: np.ndarray, first: int, end: int) -> TensorDataset:
    """For each year from `first` to before `end` the window before it, and its number."""
    at = np.flatnonzero((years >= first) & (years < end) & (years >= years[0] + WINDOW))
    return TensorDataset(torch.tensor(values[at[:, None] + np.arange(-WINDOW, 0)]), torch.tensor(values[at]))


@torch.no_grad()
def error(model: Any, dataset: TensorDataset, device: Any) -> float:
    """The root of the mean squared error, in sunspots."""
    model.eval()
    x, y = (part.to(device) for part in dataset.tensors)
    return SCALE * (model(x) - y).square().mean().sqrt().item()


def main(argv: list[str] | None = None) -> common.Run:
    args = common.parser(__doc__, epochs=60, batch_size=32, lr=3e-3).parse_args(argv)
    torch.manual_seed(args.seed)
    years, values = load_data()
    learned, chosen, tested = (windows(years, values, *part) for part in ((1700, 1900), (1900, 1950), (1950, 2009)))
    model = Forecast().to(args.device)
    best = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    run = common.Run("lstm", args, model=model, best=best, optimizer=optimizer, scheduler=scheduler)
    loader = DataLoader(learned, batch_size=args.batch_size, shuffle=True)

    for _ in run.epochs():
        model.train()
        for x, y in run.batches(loader):
            run.update(nn.functional.mse_loss(model(x), y), clip=1.0)
        scheduler.step()
        found = error(model, chosen, run.device)
        if found < min(run.history.get("validation error", [float("inf")])):
            best.load_state_dict(model.state_dict())
        run.note(train_error=error(model, learned, run.device), validation_error=found)

    found = error(best, tested, run.device)
    x, y = tested.tensors
    simple = SCALE * (x[:, -1] - y).square().mean().sqrt().item()
    common.curves(run, {"error in sunspots": ["train error", "validation error"]}, f"Sunspots: an error of {found:.1f}")
    print(f"error of 'next year is as this year': {simple:.4f}")
    run.finish("test error", found)
    return run


if __name__ == "__main__":
    main()
