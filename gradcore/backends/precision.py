"""How exactly matrix products and convolutions of float32 are computed on a GPU: PyTorch's switches and defaults.

TensorFloat-32 keeps float32's range and 10 bits of its mantissa; the sums are float32's.
"""

from __future__ import annotations

import warnings

_LEVELS = ("highest", "high", "medium")
_level = "highest"


def get_float32_matmul_precision() -> str:
    """The precision of float32 matrix products, see `set_float32_matmul_precision`."""
    return _level


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how matrix products of float32 are computed on a GPU.

    `"highest"`, the default, is float32 throughout. `"high"` and `"medium"` let tensor cores round the operands to
    TensorFloat-32 (10 bits of mantissa). The CPU always computes in float32. Another word has no effect, and is warned
    of.

    Raises:
        RuntimeError: if it is no str.
    """
    global _level
    if not isinstance(precision, str):
        raise RuntimeError(f"set_float32_matmul_precision expects a str, but got {type(precision).__name__}")
    if precision in _LEVELS:
        _level = precision
    else:
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setFloat32MatmulPrecision call has "
            "no effect.",
            stacklevel=2,
        )


class _Matmul:
    """`gradcore.backends.cuda.matmul`."""

    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 products may use TensorFloat-32: False, unless set; see `set_float32_matmul_precision`."""
        return _level != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        if not isinstance(allowed, bool):
            raise RuntimeError(f"set_allow_tf32_cublas expects a bool, but got {type(allowed).__name__}")
        set_float32_matmul_precision("high" if allowed else "highest")


matmul = _Matmul()
