"""Memory formats and layouts: how the elements of a tensor lie in memory."""

from __future__ import annotations

from collections.abc import Sequence


class memory_format:
    """An order of dimensions in memory, such as `gradcore.contiguous_format`.

    `order` is, for a tensor of as many dimensions, from the outermost dimension in memory to the innermost; None where
    that of the numbers is meant, or that of another tensor.
    """

    __slots__ = ("name", "order")

    def __init__(self, name: str, order: Sequence[int] | None = None):
        self.name, self.order = name, order

    def __repr__(self) -> str:
        return f"gradcore.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", (0, 2, 3, 1))
channels_last_3d = memory_format("channels_last_3d", (0, 2, 3, 4, 1))


class layout:
    """What a tensor is stored as; there is one: `gradcore.strided`."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"gradcore.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided = layout("strided")


def order_of(op: str, given: object, ndim: int) -> Sequence[int] | None:
    """The order of dimensions in memory that a memory format asks of a tensor; None for that of the numbers.

    Raises:
        TypeError: it is no memory format.
        RuntimeError: it is one for another number of dimensions.
    """
    if not isinstance(given, memory_format):
        raise TypeError(f"{op}(): argument 'memory_format' must be gradcore.memory_format, not {type(given).__name__}")
    if given.order is not None and len(given.order) != ndim:
        raise RuntimeError(f"required rank {len(given.order)} tensor to use {given.name} format")
    return given.order
