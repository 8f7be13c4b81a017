"""The error of a device that has no more memory."""

from __future__ import annotations

from typing import Any


class OutOfMemoryError(RuntimeError):
    """There is not enough memory on a CUDA device; says how much was asked for, is held and is free."""

    __module__ = "gradcore.cuda"

    def __reduce__(self) -> Any:
        return OutOfMemoryError, self.args


def text_of(size: float) -> str:
    """A number of bytes as PyTorch writes it: `1.50 GiB`."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
