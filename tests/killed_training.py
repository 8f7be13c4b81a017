"""A training that saves after every batch, and is killed while it does.

As a script: trains once undisturbed, then again and again over the same file, killing the process at random moments,
and prints what it found as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradcore as gc
from gradcore import nn
from gradcore.serialization import safetensors_format
from gradcore.utils.data import DataLoader, TensorDataset

EPOCHS, KILLS = 3, 50


def train(path: Path) -> None:
    """Train from where `path` says to the end."""
    gc.manual_seed(0)
    x = gc.randn(40, 6, generator=gc.Generator().manual_seed(1))
    shuffling = gc.Generator().manual_seed(2)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True, generator=shuffling)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
    optimizer = gc.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = gc.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    epoch, done, losses = 0, 0, []
    if path.exists():
        saved = gc.load(path)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        gc.set_rng_state(saved["random"])
        shuffling.set_state(saved["order"])
        epoch, done, losses = saved["epoch"], saved["done"], saved["losses"]

    def save(epoch: int, done: int, order: gc.Tensor) -> None:
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "random": gc.get_rng_state(),
            "order": order,
            "epoch": epoch,
            "done": done,
            "losses": losses,
        }
        gc.save(state, path)

    while epoch < EPOCHS:
        order = shuffling.get_state()
        for batch, (inputs, targets) in enumerate(loader):
            if batch < done:
                continue
            optimizer.zero_grad()
            loss = ((model(inputs) - targets) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if batch + 1 < len(loader):
                save(epoch, batch + 1, order)
        scheduler.step()
        epoch, done = epoch + 1, 0
        save(epoch, done, shuffling.get_state())


class SlowFile:
    """A file on a slow disk: what is written arrives piece by piece."""

    def __init__(self, file: Any):
        self.file = file

    def write(self, data: Any) -> None:
        for start in range(0, len(data), 1000):
            self.file.write(data[start : start + 1000])
            self.file.flush()
            time.sleep(0.0003)


def slow_disk() -> None:
    """Let everything that saving does take long."""
    write, fsync, replace = safetensors_format.write, os.fsync, os.replace

    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any) -> None:
            time.sleep(0.001)
            function(*arguments)
            time.sleep(0.001)

        return slow

    safetensors_format.write = lambda file, *rest: write(SlowFile(file), *rest)  # type: ignore[assignment, arg-type]
    os.fsync, os.replace = slowly(fsync), slowly(replace)


def started(path: Path, slow: bool) -> int:
    """A process that trains; its number."""
    process = os.fork()
    if process == 0:
        try:
            if slow:
                slow_disk()
            train(path)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return process


def main(folder: Path) -> None:
    """Kill `KILLS` processes that train into `folder`, half of them on a slow disk."""
    reference, path = folder / "reference", folder / "checkpoint"
    begin = time.monotonic()
    _, status = os.waitpid(started(reference, slow=False), 0)
    took = [time.monotonic() - begin]
    assert status == 0
    begin = time.monotonic()
    _, status = os.waitpid(started(reference, slow=True), 0)  # which has nothing left to do
    expected = reference.read_bytes()
    reference.unlink()
    os.waitpid(started(reference, slow=True), 0)
    took.append(time.monotonic() - begin)
    found = {"kills": 0, "whole": 0, "within": 0, "finished": 0, "identical": int(reference.read_bytes() == expected)}
    rng, steps = random.Random(0), 0
    while found["kills"] < KILLS:
        slow = found["kills"] % 2 == 1
        process = started(path, slow)
        time.sleep(rng.uniform(0, 0.7 * took[slow]))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            found["kills"] += 1
            found["within"] += any(entry.name.endswith(".tmp") for entry in os.scandir(folder))
        if path.exists():
            now = len(gc.load(path)["losses"])
            found["whole"] += now >= steps
            steps = now
        else:
            found["whole"] += steps == 0
        if not os.WIFSIGNALED(status):
            assert status == 0
            finish(path, expected, found)
            steps = 0
    os.waitpid(started(path, slow=False), 0)
    finish(path, expected, found)
    reference.unlink()
    print(json.dumps({**found, "left": [entry.name for entry in os.scandir(folder)]}))


def finish(path: Path, expected: bytes, found: dict[str, int]) -> None:
    """A training that came to its end must have come to that of the undisturbed one."""
    found["finished"] += 1
    found["identical"] += path.read_bytes() == expected
    path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
