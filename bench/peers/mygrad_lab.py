"""MyGrad: tensors with `backward()` on NumPy, Adam written in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

from ..case import Step
from ..lab import Lab
from ..suites.data import Digits
from .autograd_lab import Adam


class MygradLab(Lab):
    """The digits network, with MyGrad's own softmax cross-entropy."""

    torchlike = False

    def digits(self, data: Digits) -> Step:
        """A step of the training suite's `digits`."""
        from mygrad.nnet.losses import softmax_crossentropy

        mg = self.module
        tensors = [mg.tensor(w.copy()) for w in data.weights]
        w1, b1, w2, b2 = tensors
        adam, batches = Adam([t.data for t in tensors]), itertools.cycle(data.batches)

        def step() -> Any:
            batch = next(batches)
            hidden = mg.maximum(mg.matmul(data.x[batch], w1.T) + b1, 0)
            loss = softmax_crossentropy(mg.matmul(hidden, w2.T) + b2, data.y[batch])
            loss.backward()
            adam.step([t.grad for t in tensors])
            for t in tensors:
                t.null_grad()
            return loss.data

        return step


def load(device: str, threads: int) -> Lab:
    """The lab, on the CPU."""
    import mygrad

    return MygradLab("mygrad", mygrad)
