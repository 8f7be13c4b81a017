"""tinygrad: a jitted training step on its CPU device."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..case import Step
from ..lab import Lab
from ..suites.data import BETA1, BETA2, EPS, RATE, Digits


class TinygradLab(Lab):
    """The digits network under `TinyJit`, which replays the kernels of a step."""

    torchlike = False

    def array(self, value: Any) -> np.ndarray:
        return np.asarray(value.numpy())

    def finish(self, result: Any) -> None:
        if result is not None:
            result.numpy()

    def digits(self, data: Digits) -> Step:
        """A step of the training suite's `digits`."""
        from tinygrad import Tensor, TinyJit

        def zeros(*shape: int) -> Any:
            return Tensor(np.zeros(shape, data.x.dtype)).contiguous().realize()

        weights = [Tensor(w).realize() for w in data.weights]
        w1, b1, w2, b2 = weights
        ms, vs = ([zeros(*w.shape) for w in weights] for _ in range(2))
        t = zeros(1)

        # tinygrad's own Adam keeps its state in float32, which no float64 curve survives.
        @TinyJit
        def train(x: Any, y: Any) -> Any:
            for w in weights:
                w.grad = None
            loss = ((x @ w1.T + b1).relu() @ w2.T + b2).sparse_categorical_crossentropy(y).backward()
            t.assign(t + 1)
            rate, root = RATE / (1 - BETA1**t), (1 - BETA2**t).sqrt()
            for w, m, v in zip(weights, ms, vs):
                m.assign(m + (1 - BETA1) * (w.grad - m))
                v.assign(BETA2 * v + (1 - BETA2) * w.grad * w.grad)
                w.assign(w.detach() - rate * m / (v.sqrt() / root + EPS))
            return loss.realize(t, *weights, *ms, *vs)

        batches = itertools.cycle(data.batches)

        def step() -> Any:
            batch = next(batches)
            return train(Tensor(data.x[batch]).realize(), Tensor(data.y[batch]).realize())

        return step


def load(device: str, threads: int) -> Lab:
    """The lab, once a sum has been compiled and run: tinygrad finds out only then whether it has a compiler."""
    import tinygrad

    try:
        (tinygrad.Tensor([1.0, 2.0]) + 1).sum().item()
    except Exception as error:
        raise RuntimeError(f"its CPU device needs clang, and says: {error}") from error
    return TinygradLab("tinygrad", tinygrad)
