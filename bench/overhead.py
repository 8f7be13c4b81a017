"""What the tape costs: tiny tensors, where arithmetic is free and only the overhead counts.

    python -m bench.overhead            # prints the ratios
    python -m bench.overhead --store    # and appends them to bench/results/overhead.csv

Both libraries run in one process on one thread, in turn, a few milliseconds each; every turn gives a ratio
gradcore / PyTorch, and the table shows the median with the 20th and 80th percentile. Results are compared before
anything is timed.
"""

from __future__ import annotations

import os

# One thread on both sides: NumPy's BLAS reads these when it is first imported.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gradcore

from ._record import environment, store


def chain(module: Any) -> Callable[[], Any]:
    """Forward and backward through 20 multiplications of tensors of 4 elements."""
    x = module.tensor([1.0, 1.1, 0.9, 1.0], requires_grad=True)
    w = module.tensor([1.0, 1.1, 0.9, 1.0], requires_grad=True)

    def step() -> Any:
        y = x
        for _ in range(20):
            y = y * w
        x.grad = w.grad = None
        y.sum().backward()
        return w.grad

    return step


def mlp(module: Any) -> Callable[[], Any]:
    """A training step of a 3-layer MLP: batch 32, width 64, ReLU, 10 classes, cross-entropy, SGD."""
    generator = np.random.default_rng(0)
    nn = module.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with module.no_grad():
        for p in model.parameters():
            p.copy_(module.tensor(generator.normal(0, 0.1, tuple(p.shape)).astype(np.float32)))
    inputs = module.tensor(generator.normal(size=(32, 64)).astype(np.float32))
    targets = module.tensor(generator.integers(0, 10, 32))
    criterion = nn.CrossEntropyLoss()
    optimizer = module.optim.SGD(model.parameters(), lr=0.01)

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


CASES = {"chain of 20 multiplications, 4 elements, forward + backward": chain, "3-layer MLP step, 32x64, SGD": mlp}


def compare(case: Callable[[Any], Callable[[], Any]], peer: Any, rounds: int) -> dict[str, float]:
    """Ratios of time, gradcore over `peer`, and the median times in microseconds."""
    ours, theirs = case(gradcore), case(peer)
    for _ in range(20):
        a, b = ours(), theirs()
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4)
    steps, repeat = (ours, theirs), 10
    for step in steps:
        for _ in range(200):
            step()
    times = np.empty((rounds, 2))
    for r in range(rounds):
        for k in (0, 1) if r % 2 else (1, 0):
            start = time.perf_counter()
            for _ in range(repeat):
                steps[k]()
            times[r, k] = (time.perf_counter() - start) / repeat * 1e6
    ratios = times[:, 0] / times[:, 1]
    low, median, high = np.percentile(ratios, (20, 50, 80))
    ours_us, theirs_us = np.median(times, axis=0)
    return {"ratio": median, "p20": low, "p80": high, "gradcore_us": ours_us, "torch_us": theirs_us}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400, help="ratios taken of each case")
    parser.add_argument("--store", action="store_true", help="append to bench/results/overhead.csv")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        raise SystemExit("bench.overhead compares with PyTorch, which is not installed: pip install torch") from None
    torch.set_num_threads(1)
    rows = []
    print(f"{'gradcore / torch':>16}  {'p20':>5} {'p80':>5}  {'gradcore':>9} {'torch':>9}  case")
    for name, case in CASES.items():
        r = compare(case, torch, options.rounds)
        print(
            f"{r['ratio']:16.3f}  {r['p20']:5.3f} {r['p80']:5.3f}  "
            f"{r['gradcore_us']:6.1f} us {r['torch_us']:6.1f} us  {name}"
        )
        rows.append({**environment("torch"), "case": name, **{k: round(float(v), 3) for k, v in r.items()}})
    if options.store:
        store("overhead", rows)


if __name__ == "__main__":
    main()
