"""Where kernels of convolutions and windows of poolings lie."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Sliding:
    """How a kernel slides over an input: for each of its spatial dimensions, from the first to the last.

    Place `o` of the output meets the input at `o * stride - padding + k * dilation` for each `k` below the kernel's
    size; what lies outside counts as zero. The sizes of the input and the output are given beside it.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def pointwise(self) -> bool:
        """Whether each place of the output meets the same place of the input, and that alone."""
        return all(k == 1 and s == 1 and p == 0 for k, s, p in zip(self.kernel, self.stride, self.padding))

    def in_space(self) -> Sliding:
        """The same with three dimensions."""
        more = 3 - len(self.kernel)
        return Sliding(
            (1,) * more + self.kernel,
            (1,) * more + self.stride,
            (0,) * more + self.padding,
            (1,) * more + self.dilation,
        )


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling along one dimension of an input of `size`.

    Window `o` holds `starts[o]`, `starts[o] + step` and so on below `stops[o]`, which never gets smaller; no window is
    empty. A mean divides by `counts[o]`, the product of them where there are several dimensions.
    """

    size: int
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    counts: tuple[int, ...]
    step: int = 1

    def covering(self) -> tuple[list[int], list[int]]:
        """For each place of the input the first window that may hold it, and the one after the last."""
        least = list(accumulate(reversed(self.starts), min))[::-1]  # of this window and those after it
        first = [bisect_right(self.stops, i) for i in range(self.size)]
        return first, [bisect_right(least, i) for i in range(self.size)]


# The one place of a dimension that an input does not have.
WHOLE = Windows(1, (0,), (1,), (1,))


def in_space(size: tuple[int, ...]) -> tuple[int, ...]:
    """Spatial sizes as three."""
    return (1,) * (3 - len(size)) + size
