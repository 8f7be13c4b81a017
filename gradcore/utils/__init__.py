"""Helpers around training: `utils.data`, `utils.checkpoint`, `utils.hooks`; `utils.dlpack` shares memory;
`utils.safetensors`. Each is imported when it is first named."""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .._lazy import lazily as _lazily
from . import _einops

__all__ = ["checkpoint", "data", "dlpack", "hooks", "safetensors"]

_einops.install()

if _TYPE_CHECKING:
    from . import checkpoint, data, dlpack, hooks, safetensors

__getattr__ = _lazily(__name__, {name: name for name in __all__})
