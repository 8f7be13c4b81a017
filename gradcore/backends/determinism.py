"""Whether sums may be added up in an order that differs from run to run.

All of gradcore's ops are deterministic: the same inputs give the same bits. Atomic additions on CUDA, which are not,
must be asked for.
"""

from __future__ import annotations

from typing import Any

_deterministic = False
_atomics = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Whether only deterministic algorithms are used, whatever else has been allowed.

    All ops have one, and use it unless `gradcore.cuda.allow_atomics` allows another: True takes that back, no op
    raises because of it, and there is nothing that `warn_only` could warn of.
    """
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was called with last; False at first, as in PyTorch."""
    return _deterministic


class allow_atomics:  # noqa: N801
    """Allow, or forbid again, atomic additions on CUDA, from now on or for the time of a `with` block.

    The sums at indexed places, in `index_add`, `scatter_add`, `index_put(accumulate=True)` and the gradients of
    embeddings, `gather` and indexing, then need no sorting of the indices; but the order of the additions, and with
    it the last bits of float32 and float64 sums, differs from run to run. Other dtypes are sorted as ever, and
    `use_deterministic_algorithms(True)` takes precedence.

    >>> with allow_atomics():
    ...     atomics_allowed()
    True
    >>> atomics_allowed()
    False
    """

    def __init__(self, mode: bool = True):
        global _atomics
        self._before, _atomics = _atomics, bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        global _atomics
        _atomics = self._before


def atomics_allowed() -> bool:
    """Whether sums at indexed places may be atomic."""
    return _atomics and not _deterministic
