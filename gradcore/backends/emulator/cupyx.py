"""Stands in for `cupyx`: what its linear algebra does with a matrix that has no such result."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_state = threading.local()


def linalg_raises() -> bool:
    """Whether linear algebra raises LinAlgError where there is no result; CuPy leaves it undefined unless told."""
    return getattr(_state, "linalg", "ignore") == "raise"


@contextlib.contextmanager
def errstate(*, linalg: str) -> Iterator[None]:
    """Have linear algebra `"raise"`, or `"ignore"`, what goes wrong, for the time of a `with` block."""
    old = getattr(_state, "linalg", "ignore")
    _state.linalg = linalg
    try:
        yield
    finally:
        _state.linalg = old
