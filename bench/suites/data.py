"""The data that all subjects train on: the same arrays, the same initial weights, the same order of batches."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's handwritten digits, 8x8, and a network with one hidden layer for them.

    `batches` (count, 64) are rows of `x` (1797, 64) and `y` (1797,); `weights` are w1 (128, 64), b1, w2 (10, 128), b2,
    shaped as `nn.Linear` has them.
    """

    x: np.ndarray
    y: np.ndarray
    batches: np.ndarray
    weights: tuple[np.ndarray, ...]


RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # Adam's, everywhere


@lru_cache(maxsize=1)
def digits(dtype: str) -> Digits:
    """The data in a dtype. RuntimeError without scikit-learn, whose file is read, but which is not imported.

    Importing it would cost more memory than all that is measured here.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise RuntimeError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    table = np.loadtxt(Path(found.origin).parent / "datasets/data/digits.csv.gz", delimiter=",", dtype="f4")
    generator = np.random.default_rng(0)
    x, y = (table[:, :-1] / 16).astype(dtype), table[:, -1].astype(np.int64)
    batches = generator.permuted(np.tile(np.arange(len(x)), (8, 1)), axis=1).reshape(-1)
    shapes = ((128, 64), (128,), (10, 128), (10,))
    weights = tuple((generator.normal(size=s) * (2 / s[-1]) ** 0.5 * (len(s) > 1)).astype(dtype) for s in shapes)
    return Digits(x, y, batches[: len(batches) // 64 * 64].reshape(-1, 64), weights)
