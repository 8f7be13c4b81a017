"""HIPS autograd: functions of NumPy arrays, Adam written in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..case import Step
from ..lab import Lab
from ..suites.data import BETA1, BETA2, EPS, RATE, Digits


class Adam:
    """PyTorch's Adam on NumPy arrays, in place."""

    def __init__(self, weights: list[np.ndarray]):
        self.weights, self.t = weights, 0
        self.m, self.v = ([np.zeros_like(w) for w in weights] for _ in range(2))

    def step(self, grads: Any) -> None:
        """Update the weights."""
        self.t += 1
        rate, root = RATE / (1 - BETA1**self.t), (1 - BETA2**self.t) ** 0.5
        for w, m, v, g in zip(self.weights, self.m, self.v, grads):
            m += (1 - BETA1) * (g - m)
            v *= BETA2
            v += (1 - BETA2) * g * g
            w -= rate * m / (np.sqrt(v) / root + EPS)


class AutogradLab(Lab):
    """The digits network as one function."""

    torchlike = False

    def digits(self, data: Digits) -> Step:
        """A step of the training suite's `digits`."""
        from autograd import value_and_grad

        anp = self.module
        rows = np.arange(data.batches.shape[1])

        def loss(weights: Any, x: np.ndarray, y: np.ndarray) -> Any:
            w1, b1, w2, b2 = weights
            z = anp.dot(anp.maximum(anp.dot(x, w1.T) + b1, 0), w2.T) + b2
            z = z - anp.max(z, axis=1, keepdims=True)
            return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[rows, y])

        both = value_and_grad(loss)
        weights = [w.copy() for w in data.weights]
        adam, batches = Adam(weights), itertools.cycle(data.batches)

        def step() -> Any:
            batch = next(batches)
            value, grads = both(weights, data.x[batch], data.y[batch])
            adam.step(grads)
            return value

        return step


def load(device: str, threads: int) -> Lab:
    """The lab, on the CPU."""
    import autograd.numpy

    return AutogradLab("autograd", autograd.numpy)
