"""Padding: each class is `functional.pad` of one mode for one number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...tensor.tensor import Tensor
from .. import functional as F
from .module import Module


class _Pad(Module):
    """Input (N, C, d1, ...) or (C, d1, ...), padded along d1, ...

    `padding` is one number for all sides, or (before, after) for the last dimension, then for the one before it, ...
    """

    _dims: ClassVar[int]
    _mode: ClassVar[str]
    padding: tuple[int, ...]

    def __init__(self, padding: int | Sequence[int]):
        super().__init__()
        self.padding = (padding,) * (2 * self._dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """With `value` around the input."""

    _mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    """With zeros around the input."""

    def __init__(self, padding: int | Sequence[int]):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPad(_Pad):
    """With the inner elements in reverse order around the input."""

    _mode = "reflect"


class _ReplicationPad(_Pad):
    """With the outermost elements repeated around the input."""

    _mode = "replicate"


class _CircularPad(_Pad):
    """With the elements from the other end around the input."""

    _mode = "circular"


class ConstantPad1d(_ConstantPad):
    """`value` before and after the last dimension."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """`value` around the last two dimensions."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """`value` around the last three dimensions."""

    _dims = 3


class ZeroPad1d(_ZeroPad):
    """Zeros before and after the last dimension."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around the last two dimensions."""

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Zeros around the last three dimensions."""

    _dims = 3


class ReflectionPad1d(_ReflectionPad):
    """The last dimension reflected at both ends."""

    _dims = 1


class ReflectionPad2d(_ReflectionPad):
    """The last two dimensions reflected at their ends."""

    _dims = 2


class ReflectionPad3d(_ReflectionPad):
    """The last three dimensions reflected at their ends."""

    _dims = 3


class ReplicationPad1d(_ReplicationPad):
    """The ends of the last dimension repeated."""

    _dims = 1


class ReplicationPad2d(_ReplicationPad):
    """The ends of the last two dimensions repeated."""

    _dims = 2


class ReplicationPad3d(_ReplicationPad):
    """The ends of the last three dimensions repeated."""

    _dims = 3


class CircularPad1d(_CircularPad):
    """The last dimension continued as if it were a circle."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """The last two dimensions continued as if they were circles."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """The last three dimensions continued as if they were circles."""

    _dims = 3
