"""Muon: momentum whose update is made orthogonal, for the weight matrices of hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..tensor.creation import zeros_like
from ..tensor.functions import FUNCTIONS
from .multi_tensor import number
from .optimizer import Optimizer, options

addmm = FUNCTIONS["addmm"]

Coefficients = tuple[float, float, float]


class Muon(Optimizer):
    """Muon (K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024): the momentum of each
    matrix is replaced by a matrix near it whose singular values are about 1, by a Newton-Schulz iteration.

    With g the gradient, b becomes `momentum * b + (1 - momentum) * g`; the update is made of
    `g + momentum * (b - g)` if `nesterov`, else of b. Weight decay is decoupled.

    Args:
        params: matrices; other parameters, embeddings and the last layer are for another optimizer.
        ns_coefficients: those of the iteration's polynomial, `ns_steps` its steps; it is computed in bfloat16.
        eps: the least norm that the update is divided by before the iteration.
        adjust_lr_fn: how the rate depends on the shape (rows, columns): `"original"` (the default),
            `sqrt(max(1, rows / columns))`; `"match_rms_adamw"`, `0.2 * sqrt(max(rows, columns))`, so that rates chosen
            for AdamW fit.

    Raises:
        ValueError: for a parameter that is no matrix, or options out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: Coefficients = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, options(locals()))
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.ndim != 2:
                raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.shape}")

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            lr, momentum = number(group["lr"]), group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = zeros_like(p.grad)
                buffer = state["momentum_buffer"]
                buffer.add_(p.grad - buffer, alpha=1 - momentum)
                update = p.grad + momentum * (buffer - p.grad) if group["nesterov"] else buffer
                update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                p.mul_(1 - lr * group["weight_decay"])
                p.sub_(update.to(p.dtype) * (lr * _scale(group["adjust_lr_fn"], *p.shape)))
        return loss


def orthogonalized(matrix: Any, coefficients: Coefficients, steps: int, eps: float) -> Any:
    """A matrix with the singular vectors of `matrix` and singular values of about 1, in bfloat16.

    A quintic Newton-Schulz iteration, `X <- a X + (b A + c A^2) X` with `A = X X^T`.
    """
    if not 0 < steps < 100:
        raise ValueError(f"Number of steps must be between 1 and 99 for computational efficiency, got {steps}")
    a, b, c = coefficients
    x = matrix.to(dtypes.bfloat16)
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.t()
        x = addmm(x, addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


def _scale(kind: str | None, rows: int, columns: int) -> float:
    return 0.2 * sqrt(max(rows, columns)) if kind == "match_rms_adamw" else sqrt(max(1, rows / columns))
