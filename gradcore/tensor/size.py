"""The shape of a tensor."""

from __future__ import annotations

import math


class Size(tuple[int, ...]):
    """A tuple of sizes that prints as PyTorch's does.

    >>> Size((2, 3)), Size((2, 3)).numel()
    (gradcore.Size([2, 3]), 6)
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"gradcore.Size({list(self)})"
