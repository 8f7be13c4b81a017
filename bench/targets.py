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

TARGETS = (
    Target("chain of 20 tiny ops, forward + backward", ("overhead/chain-20",), 0.5, 0.5),
    Target("MLP step 32x64, SGD", ("overhead/mlp-32x64-sgd",), 0.6, 0.7),
    Target("MLP step 32x64, Adam", ("overhead/mlp-32x64-adam",), 0.5, 0.6),
    Target("MLP step 128x256, Adam", ("overhead/mlp-128x256-adam",), 0.8, 1.0),
    Target("MLP step 512x512, Adam", ("overhead/mlp-512x512-adam",), 1.0, 1.2),
    Target("gelu, silu, softplus, tanh, forward + backward, 1e6 and 1e7", ACTIVATIONS, 0.6, 3.0),
    Target("softmax, layer_norm, cross_entropy 4096x1024, forward + backward", ROWS, 0.8, 2.5),
    Target("sum of squares, 1e7", ("ops/sum_of_squares-1e7-forward",), 0.6, 1.0),
    Target("small CNN, LSTM, GPT step", NETWORKS, 1.2, 2.5),
    Target("peak memory of each training case", ("training/digits", *NETWORKS), 1.0, 1.1, "memory_ratio"),
    Target("import time", ("import/import",), 0.15, 0.15),
)
