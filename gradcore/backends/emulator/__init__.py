"""An emulated CUDA device: CUDA C++ kernels compiled for the host and run with CUDA's semantics, and checked.

`api` stands in for the `cupy` module. See `docs/emulator.md`.
"""

from __future__ import annotations

from .config import Config, config, using
from .errors import CompileError, CUDARuntimeError, KernelError, UnsupportedError
from .toolchain import is_supported

__all__ = [
    "CUDARuntimeError",
    "CompileError",
    "Config",
    "KernelError",
    "UnsupportedError",
    "config",
    "is_supported",
    "using",
]
