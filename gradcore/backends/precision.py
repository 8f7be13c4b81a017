"""How exactly matrix products and convolutions of float32 are computed on a GPU: PyTorch's switches and defaults.

TensorFloat-32 keeps float32's range and 10 bits of its mantissa; the sums are float32's.
"""

from __future__ import annotations

_LEVELS = ("highest", "high", "medium")
_level = "highest"


def get_float32_matmul_precision() -> str:
    """The precision of float32 matrix products, see `set_float32_matmul_precision`."""
    return _level


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how matrix products of float32 are computed on a GPU.

    `"highest"`, the default, is float32 throughout. `"high"` and `"medium"` let tensor cores round the operands to
    TensorFloat-32 (10 bits of mantissa). The CPU always computes in float32.

    Raises:
        RuntimeError: if it is none of the three.
    """
    global _level
    if precision not in _LEVELS:
        raise RuntimeError(f"invalid float32 matmul precision {precision!r}: it must be one of {', '.join(_LEVELS)}")
    _level = precision


class _Matmul:
    """`gradcore.backends.cuda.matmul`."""

    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 products may use TensorFloat-32: False, unless set; see `set_float32_matmul_precision`."""
        return _level != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        set_float32_matmul_precision("high" if allowed else "highest")


matmul = _Matmul()
