"""What connectionist temporal classification is computed of, on every device."""

from __future__ import annotations

from typing import Any, NamedTuple

from .cpp.types import INT64

Array = Any


class CtcInputs(NamedTuple):
    """Log-probabilities, and the label sequences that are looked for in them."""

    log_probs: Array  # (time, batch, classes)
    labels: Array  # (batch, longest), int64 as the lengths are
    input_lengths: Array  # (batch,)
    label_lengths: Array  # (batch,)
    blank: int

    @property
    def alpha_shape(self) -> tuple[int, int, int]:
        """That of the forward variables: at each time the labels with blanks before, between and after them."""
        steps, batch, _ = self.log_probs.shape
        return steps, batch, 2 * self.labels.shape[1] + 1

    def arrays(self, xp: Any) -> tuple[Array, ...]:
        """The arrays as kernels take them: C-contiguous."""
        contiguous = xp.ascontiguousarray
        return contiguous(self.log_probs), *[contiguous(integers, INT64) for integers in self[1:4]]
