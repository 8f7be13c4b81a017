"""What is to be reached: ratios of time (or memory), gradcore over PyTorch eager, on two cores.

The one place where the limits stand. A reason is the cause found by profiling, and is shown where its limit is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PEER = "torch"


@dataclass(frozen=True)
class Target:
    """Limits for some cases, `SUITE/NAME`: with the native executor, and on NumPy alone."""

    title: str
    cases: tuple[str, ...]
    native: float
    numpy: float
    column: str = "ratio"  # or memory_ratio
    reasons: Mapping[str, str] = field(default_factory=dict)  # by case, or by case and subject: "ops/tanh-1e7 numpy"
    notes: str = ""

    def limit(self, executor: str) -> float:
        """The limit for an executor."""
        return self.native if executor == "native" else self.numpy

    def reason(self, case: str, executor: str) -> str:
        """Why the limit is missed; empty if that is not known."""
        return self.reasons.get(f"{case} {executor}") or self.reasons.get(case) or self.notes


ACTIVATIONS = tuple(f"ops/{op}-{n}" for op in ("gelu", "silu", "softplus", "tanh") for n in ("1e6", "1e7"))
ROWS = tuple(f"ops/{op}-4096x1024" for op in ("softmax", "layer_norm", "cross_entropy"))
NETWORKS = ("training/cnn", "training/lstm", "training/gpt")

_PRODUCTS = (
    "two thirds of the step are eight matrix products, which take 113 us each in NumPy's OpenBLAS and 92 us in "
    "PyTorch's MKL (two threads)"
)
_PASSES = (
    "each ufunc is a pass over the block, and silu takes five forward and nine backward, gelu and softplus more; a "
    "million elements stay in the cache, so no traffic to memory hides them"
)
_ACTIVATIONS = {
    "ops/silu-1e6 native": "PyTorch takes 0.6 ms in some runs and 1.1 ms in others, gradcore 0.5 to 0.7 ms",
    "ops/gelu-1e6 native": "0.33 and 0.49 in the two runs before this one, in which PyTorch took 3.5 and 2.1 ms",
    "ops/softplus-1e6 native": "0.56 in both runs before this one",
}
_ONE_EXPRESSION = "an optimizer's step is one expression for all devices, which costs NumPy some calls"
_NETWORKS = {
    "training/cnn numpy": (
        "a third of the step are matrix products, the rest passes over arrays in memory, during which OpenBLAS's idle "
        "thread spins on one of the two cores: with OPENBLAS_THREAD_TIMEOUT=16 the step takes a fifth less"
    ),
}
_ROWS = {
    "ops/softmax-4096x1024 native": ("PyTorch takes 4.4 ms in some runs and 8.2 ms in others, gradcore 4.2 to 5.3 ms"),
    "ops/softmax-4096x1024 numpy": "every step over the rows is a pass of its own over a block in the cache",
    "ops/layer_norm-4096x1024 native": (
        "bound by arithmetic and memory at once: the backward kernel takes 0.6 ns per element on one thread with its "
        "data in the first-level cache, 0.34 of it for the gradient of the input"
    ),
    "ops/layer_norm-4096x1024 numpy": "every step over the rows is a pass of its own over a block in the cache",
}

TARGETS = (
    Target("chain of 20 tiny ops, forward + backward", ("overhead/chain-20",), 0.5, 0.5),
    Target("MLP step 32x64, SGD", ("overhead/mlp-32x64-sgd",), 0.6, 0.7, notes=_ONE_EXPRESSION),
    Target("MLP step 32x64, Adam", ("overhead/mlp-32x64-adam",), 0.5, 0.6, notes=_ONE_EXPRESSION),
    Target("MLP step 128x256, Adam", ("overhead/mlp-128x256-adam",), 0.8, 1.0, notes=_PRODUCTS),
    Target("MLP step 512x512, Adam", ("overhead/mlp-512x512-adam",), 1.0, 1.2),
    Target(
        "gelu, silu, softplus, tanh, forward + backward, 1e6 and 1e7",
        ACTIVATIONS,
        0.6,
        3.0,
        reasons=_ACTIVATIONS,
        notes=_PASSES,
    ),
    Target("softmax, layer_norm, cross_entropy 4096x1024, forward + backward", ROWS, 0.8, 2.5, reasons=_ROWS),
    Target("sum of squares, 1e7", ("ops/sum_of_squares-1e7-forward",), 0.6, 1.0),
    Target("small CNN, LSTM, GPT step", NETWORKS, 1.2, 2.5, reasons=_NETWORKS),
    Target("peak memory of each training case", ("training/digits", *NETWORKS), 1.0, 1.1, "memory_ratio"),
    Target(
        "import time",
        ("import/import",),
        0.15,
        0.15,
        notes="half of it is NumPy; 0.144, 0.148 and 0.164 in three further runs",
    ),
)
