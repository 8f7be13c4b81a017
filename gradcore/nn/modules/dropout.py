"""Dropout (Srivastava et al., JMLR 2014)."""

from __future__ import annotations

from ...tensor.tensor import Tensor
from .. import functional as F
from .module import Module


class Dropout(Module):
    """In training, zeroes each element with probability `p` and scales the others by `1 / (1 - p)`."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        F.check_probability(p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
