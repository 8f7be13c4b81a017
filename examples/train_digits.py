"""Train a multilayer perceptron on scikit-learn's handwritten digits.

Writes the learning curve (digits.png) and the trained weights (digits.safetensors) into the folder given by --out.

    python examples/train_digits.py --device cuda --epochs 30 --out out
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import gradcore as torch
from gradcore import nn
from gradcore.utils.data import DataLoader, TensorDataset


def load_data(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """1,797 images of 8x8 pixels, four fifths of them to train on."""
    digits = load_digits()
    images = (digits.data / 16).astype("float32")
    split = train_test_split(images, digits.target, test_size=0.2, stratify=digits.target, random_state=seed)
    x_train, x_test, y_train, y_test = (torch.tensor(array) for array in split)
    return TensorDataset(x_train, y_train.long()), TensorDataset(x_test, y_test.long())


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


def train_epoch(model, loader, criterion, optimizer, device) -> tuple[float, float]:
    """Mean loss and accuracy over the epoch, as the weights were while they changed."""
    model.train()
    total_loss, correct, count = 0.0, 0, 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        logits = model(x)
        loss = criterion(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(y)
        correct += (logits.argmax(dim=1) == y).sum().item()
        count += len(y)
    return total_loss / count, correct / count


@torch.no_grad()
def evaluate(model, loader, criterion, device) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    total_loss, correct, count = 0.0, 0, 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        logits = model(x)
        total_loss += criterion(logits, y).item() * len(y)
        correct += (logits.argmax(dim=1) == y).sum().item()
        count += len(y)
    return total_loss / count, correct / count


def plot(history: dict[str, list[float]], path: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = range(1, len(history["train loss"]) + 1)
    for part in ("train", "test"):
        left.plot(epochs, history[f"{part} loss"], label=part)
        right.plot(epochs, history[f"{part} accuracy"], label=part)
    left.set(xlabel="epoch", ylabel="cross-entropy, labels smoothed by 0.1", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0.85, 1.0))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"Handwritten digits: {history['test accuracy'][-1]:.2%} of the test images recognised")
    figure.savefig(path, dpi=130)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    best = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=best, help="cpu or cuda (default: the best found, here %(default)s)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write into (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error("--epochs must be at least 1")

    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    train_set, test_set = load_data(args.seed)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=len(test_set))

    model = make_model().to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)

    history: dict[str, list[float]] = {}
    progress = tqdm(range(args.epochs), desc=f"training on {device}", unit="epoch")
    for _ in progress:
        train_loss, train_accuracy = train_epoch(model, train_loader, criterion, optimizer, device)
        test_loss, test_accuracy = evaluate(model, test_loader, criterion, device)
        scheduler.step()
        measured = {
            "train loss": train_loss,
            "test loss": test_loss,
            "train accuracy": train_accuracy,
            "test accuracy": test_accuracy,
        }
        for name, value in measured.items():
            history.setdefault(name, []).append(value)
        progress.set_postfix(loss=f"{train_loss:.4f}", accuracy=f"{test_accuracy:.4f}")

    args.out.mkdir(parents=True, exist_ok=True)
    plot(history, args.out / "digits.png")
    torch.save(model.state_dict(), args.out / "digits.safetensors")
    print(f"wrote {args.out / 'digits.png'} and {args.out / 'digits.safetensors'}")
    print(f"test accuracy: {test_accuracy:.4f}")


if __name__ == "__main__":
    main()
