"""What the tape costs: tiny tensors, where arithmetic is free and only the overhead counts, and small networks."""

from __future__ import annotations

from typing import Any

from ..case import Case, Step
from ..lab import Lab
from . import ops
from .models import mlp_step

SUITE = "overhead"


def chain(lab: Lab, dtype: str, *, length: int) -> Step:
    """Forward and backward through `length` multiplications of tensors of 4 elements."""
    torch = lab.module
    kind = getattr(torch, dtype)
    x, w = (torch.tensor([1.0, 1.1, 0.9, 1.0], dtype=kind, device=lab.device).requires_grad_() for _ in range(2))

    def forward(y: Any, w: Any) -> Any:
        for _ in range(length):
            y = y * w
        return y.sum()

    compiled = lab.compiled(forward)

    def step() -> Any:
        x.grad = w.grad = None
        compiled(x, w).backward()
        return x.grad, w.grad

    return step


def cases(quick: bool) -> list[Case]:
    """The chain, the networks, and every op on four elements."""
    length = 20
    found = [
        Case(
            SUITE, f"chain-{length}", f"chain of {length} multiplications of 4 elements, forward + backward", chain,
            {"length": length}, size=4, threads=1, terms=length,
        )
    ]  # fmt: skip
    sizes = [(32, 64, ("SGD", "Adam"), 1), (128, 256, ("SGD", "Adam"), None), (512, 512, ("SGD", "Adam"), None)]
    for batch, width, optimizers, threads in sizes[: 1 if quick else 3]:
        for optimizer in optimizers:
            found.append(
                Case(
                    SUITE, f"mlp-{batch}x{width}-{optimizer.lower()}",
                    f"training step of a 3-layer MLP, batch {batch}, width {width}, {optimizer}", mlp_step,
                    {"batch": batch, "width": width, "optimizer": optimizer}, size=width * width, threads=threads,
                    steps=10, terms=10 * width,
                )
            )  # fmt: skip
    return found + ops.tiny(SUITE, quick)
