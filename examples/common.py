"""What the examples share: arguments, progress, checkpoints, plots, and the handwritten digits."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gradcore as torch
from gradcore.utils.data import DataLoader, TensorDataset

DATA = Path(__file__).parent / "data"


# ---------------------------------------------------------------- arguments
def parser(doc: str, **defaults: Any) -> argparse.ArgumentParser:
    """The arguments of all examples; `defaults` are those of `epochs`, `batch_size` and `lr`."""
    found = argparse.ArgumentParser(description=doc.splitlines()[0])
    best = "cuda" if torch.cuda.is_available() else "cpu"
    found.add_argument("--device", default=best, help="cpu or cuda (default: the best found, here %(default)s)")
    found.add_argument("--epochs", type=_positive, default=defaults["epochs"], help="default: %(default)s")
    found.add_argument("--batch-size", type=_positive, default=defaults["batch_size"], help="default: %(default)s")
    found.add_argument("--lr", type=float, default=defaults["lr"], help="default: %(default)s")
    found.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    found.add_argument("--steps", type=_positive, help="stop after so many steps of the optimizer")
    found.add_argument("--out", type=Path, default=Path("out"), help="folder to write into (default: %(default)s)")
    found.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder, if there is one")
    return found


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


# ---------------------------------------------------------------- training
class Run:
    """A training run: counts epochs and steps, shows progress, keeps a checkpoint.

    `parts` are what has a `state_dict`: the model, the optimizer, the scheduler. A checkpoint is written after each
    epoch. It holds them, what was measured and the state of the random numbers: a run that was ended and resumed has
    the same weights in the end as one that was not.
    """

    def __init__(self, name: str, args: argparse.Namespace, **parts: Any):
        self.name, self.args, self.parts = name, args, parts
        self.device = torch.device(args.device)
        self.done = 0
        self.losses: list[float] = []  # of each step
        self.history: dict[str, list[float]] = {}  # of each epoch
        args.out.mkdir(parents=True, exist_ok=True)
        if args.resume and self.checkpoint.exists():
            self._load()

    def path(self, suffix: str) -> Path:
        return self.args.out / f"{self.name}{suffix}"

    @property
    def checkpoint(self) -> Path:
        return self.path(".checkpoint")

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        counts = {"done": self.done, "losses": self.losses, "history": self.history}
        torch.save({**state, **counts, "random": torch.get_rng_state()}, self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.done, self.losses, self.history = state["done"], state["losses"], state["history"]
        torch.set_rng_state(state["random"].cpu())
        print(f"resumed after epoch {self.done}", file=sys.stderr)

    @property
    def stopped(self) -> bool:
        """Whether there were as many steps as `--steps` allows."""
        return self.args.steps is not None and len(self.losses) >= self.args.steps

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs to come."""
        with _Progress(f"{self.name} on {self.device}", self.args.epochs, self.done) as progress:
            while self.done < self.args.epochs and not self.stopped:
                yield self.done
                self.done += 1
                progress.advance({name: values[-1] for name, values in self.history.items()})
                self._save()

    def batches(self, loader: Any) -> Iterator[tuple[Any, ...]]:
        """The batches of a loader, on the device."""
        for batch in loader:
            if self.stopped:
                return
            yield tuple(part.to(self.device) for part in batch)

    def update(self, loss: Any, clip: float | None = None) -> float:
        """One step of the optimizer down the gradient of `loss`, which is at most `clip` long."""
        optimizer = self.parts["optimizer"]
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parts["model"].parameters(), clip)
        optimizer.step()
        self.losses.append(loss.item())
        return self.losses[-1]

    def note(self, **measured: float) -> None:
        """What was measured in this epoch."""
        for name, value in measured.items():
            self.history.setdefault(name.replace("_", " "), []).append(value)

    def finish(self, figure: str, value: float) -> None:
        """Write the weights, and print the figure that the run was about."""
        model = self.parts["model"]
        torch.save(model.state_dict(), self.path(".safetensors"))
        print(f"wrote {self.path('.safetensors')}")
        print(f"{figure}: {value:.4f}")


class _Progress:
    """A progress bar where tqdm is installed, else a line for each tenth of the work."""

    def __init__(self, title: str, total: int, done: int):
        self.title, self.total, self.done = title, total, done
        self.bar: Any = None

    def __enter__(self) -> _Progress:
        try:
            from tqdm import tqdm
        except ImportError:
            return self
        self.bar = tqdm(desc=self.title, total=self.total, initial=self.done, unit="epoch")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, measured: dict[str, float]) -> None:
        shown = {name: f"{value:.4f}" for name, value in measured.items()}
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update()
        elif self.done == self.total or self.done % max(1, self.total // 10) == 0:
            text = ", ".join(f"{name} {value}" for name, value in shown.items())
            print(f"{self.title}: {self.done}/{self.total} {text}", file=sys.stderr)


def curves(run: Run, panels: dict[str, list[str]], title: str, **limits: tuple[float | None, float | None]) -> None:
    """A picture of what was measured in the epochs, where matplotlib is installed: for each panel the named curves.

    `limits` are those of the panels' vertical axes, by the panel's first word.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
    for axes, (label, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        for name in names:
            values = run.history.get(name, [])
            axes.plot(range(1, len(values) + 1), values, label=name)
        axes.set(xlabel="epoch", ylabel=label, ylim=limits.get(label.split()[0]))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    figure.savefig(run.path(".png"), dpi=130)
    print(f"wrote {run.path('.png')}")


# ---------------------------------------------------------------- handwritten digits
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 handwritten digits that come with scikit-learn: images (1797, 64) of 8x8 pixels from 0 to 1, and labels.

    They are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine
    Learning Repository, 1998).
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target.astype(np.int64)


def split(images: np.ndarray, labels: np.ndarray, part: float, seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Two sets of data, of which the second is `part` of each label."""
    from sklearn.model_selection import train_test_split

    pieces = train_test_split(images, labels, test_size=part, stratify=labels, random_state=seed)
    x, x_rest, y, y_rest = (torch.tensor(piece) for piece in pieces)
    return TensorDataset(x, y), TensorDataset(x_rest, y_rest)


@torch.no_grad()
def evaluate(model: Any, dataset: TensorDataset, criterion: Any, device: Any) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    x, y = (part.to(device) for part in dataset.tensors)
    logits = model(x)
    return criterion(logits, y).item(), (logits.argmax(dim=1) == y).float().mean().item()


def learn_digits(run: Run, train_set: Any, test_set: TensorDataset, criterion: Any, change: Any = lambda x: x) -> float:
    """Train a classifier, with images changed by `change`; the accuracy on the other set in the end."""
    model, device = run.parts["model"], run.device
    loader = DataLoader(train_set, batch_size=run.args.batch_size, shuffle=True)
    for _ in run.epochs():
        model.train()
        losses, right = [], []
        for x, y in run.batches(loader):
            logits = model(change(x))
            losses += [run.update(criterion(logits, y))] * len(y)
            right += (logits.argmax(dim=1) == y).tolist()
        run.parts["scheduler"].step()
        loss, accuracy = evaluate(model, test_set, criterion, device)
        run.note(
            train_loss=float(np.mean(losses)),
            test_loss=loss,
            train_accuracy=float(np.mean(right)),
            test_accuracy=accuracy,
        )
    return evaluate(model, test_set, criterion, device)[1]


def digit_curves(run: Run, criterion: str, title: str) -> None:
    """The picture of `learn_digits`."""
    panels = {criterion: ["train loss", "test loss"], "accuracy": ["train accuracy", "test accuracy"]}
    curves(run, panels, title, accuracy=(0.85, 1.0))
