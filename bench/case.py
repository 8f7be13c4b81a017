"""What is measured: a case, and how much its results may differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# A step does the work once and returns the tensors that are compared. Its attribute `traffic`, if it has one, is the
# number of bytes that must cross the memory bus: inputs read once, outputs written once.
Step = Callable[[], Any]

EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


@dataclass(frozen=True)
class Case:
    """One piece of work that every subject does.

    `build(lab, dtype, **arguments)` makes the step. It is written against `lab.module`, which looks like PyTorch; it is
    named by module and function, so that a worker finds it, and must not import a subject at the top of its module.
    """

    suite: str
    name: str
    title: str
    build: Callable[..., Step]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0  # elements of the largest tensor
    dtype: str = "float32"
    needs: tuple[str, ...] = ()  # what the module must have, as dotted names: "nn.Conv2d"
    peers: tuple[str, ...] = ("torch", "torch.compile")  # those that can run it
    threads: int | None = None  # None: as many as the run is given
    steps: int = 1  # how many steps are compared, one after the other
    terms: int = 1  # how many roundings lie between an input and an output, in the worst element
    # The curve that has to be the same in a wider dtype before anything is timed: (dtype, steps, tolerance).
    curve: tuple[str, int, float] | None = None
    device_clock: bool = False  # on a GPU: device events and a cold cache, instead of the time of the host
    memory: bool = False  # measure the peak memory too
    load: Callable[[str], Any] | None = None  # reads the data, given the dtype; not part of the peak memory

    @property
    def id(self) -> str:
        return f"{self.suite}/{self.name}"

    def waits_for(self, module: Any) -> list[str]:
        """Which of its needs the module does not have yet."""
        return [name for name in self.needs if not has(module, name)]


def has(module: Any, dotted: str) -> bool:
    """Whether `module` has an attribute, `nn.functional.gelu` say."""
    for part in dotted.split("."):
        try:
            module = getattr(module, part)
        except (AttributeError, ImportError):
            return False
    return True


def find(module: Any, dotted: str) -> Any:
    """The attribute of a dotted name."""
    for part in dotted.split("."):
        module = getattr(module, part)
    return module


class Mismatch(Exception):
    """A subject's results are not those of the reference: nothing of it is timed."""


def tolerance(dtype: str, terms: int) -> float:
    """The difference allowed relative to the size of a result: 32 roundings, growing as a random walk of `terms`."""
    return 32 * EPSILON[dtype] * max(terms, 1) ** 0.5


def compare(case: str, subject: str, found: list[np.ndarray], expected: list[np.ndarray], limit: float) -> None:
    """Raise Mismatch, naming case and subject, unless all arrays are equal within `limit`.

    The difference is taken relative to an element and to the root mean square of its array: where a sum cancels, the
    error is that of its terms.
    """
    if len(found) != len(expected):
        raise Mismatch(f"{case}: {subject} returned {len(found)} results, expected {len(expected)}")
    for i, (a, b) in enumerate(zip(found, expected)):
        if a.shape != b.shape:
            raise Mismatch(f"{case}: result {i} of {subject} has the shape {a.shape}, expected {b.shape}")
        if a.dtype.kind in "biu" and b.dtype.kind in "biu":
            wrong = a != b
        else:
            x, y = a.astype(np.float64), b.astype(np.float64)
            finite = np.isfinite(y)
            scale = float(np.sqrt(np.mean(np.square(y, where=finite, out=np.zeros_like(y))))) if y.size else 0.0
            with np.errstate(invalid="ignore"):
                close = np.abs(x - y) <= limit * (np.abs(y) + scale)
            wrong = ~np.where(finite, close, (x == y) | (np.isnan(x) & np.isnan(y)))
        if wrong.any():
            at = tuple(int(j) for j in np.argwhere(wrong)[0])
            raise Mismatch(
                f"{case}: {subject} differs from the reference in {int(wrong.sum())} of {a.size} elements of result "
                f"{i}; at {at} it has {a[at]}, expected {b[at]} (tolerance {limit:.1e})"
            )
