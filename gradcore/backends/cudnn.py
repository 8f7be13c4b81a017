"""The switches of cuDNN, with PyTorch's names: set them as `gradcore.backends.cudnn.enabled = False`.

Attributes:
    enabled: whether convolutions and attention go through cuDNN, where nvidia-cudnn-frontend is installed.
    allow_tf32: whether convolutions of float32 may use TensorFloat-32: yes, as in PyTorch, other than for matrix
        products (`gradcore.set_float32_matmul_precision`).
    deterministic: whether only algorithms are taken that give the same bits in every run: yes, other than in PyTorch,
        as everywhere in gradcore.
    benchmark: for PyTorch's scripts; cuDNN's heuristics choose the algorithm in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
allow_tf32 = True
deterministic = True
benchmark = False


def is_available() -> bool:
    """Whether nvidia-cudnn-frontend is installed and finds cuDNN."""
    return version() is not None


def version() -> int | None:
    """cuDNN's version, as 92800 for 9.28.0; None if it is not here."""
    from .cuda import libraries

    library = libraries.cudnn()
    try:
        return library and int(library.backend_version())
    except RuntimeError:  # the frontend without the library
        return None


@contextmanager
def flags(
    enabled: bool = False, benchmark: bool = False, deterministic: bool = True, allow_tf32: bool = True
) -> Iterator[None]:
    """Set all switches for the time of a `with` block."""
    chosen = {"enabled": enabled, "benchmark": benchmark, "deterministic": deterministic, "allow_tf32": allow_tf32}
    before = {name: globals()[name] for name in chosen}
    globals().update(chosen)
    try:
        yield
    finally:
        globals().update(before)
