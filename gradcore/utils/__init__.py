"""Helpers around training: `utils.data`, `utils.checkpoint`, `utils.hooks`; `utils.dlpack` shares memory;
`utils.safetensors`, imported when used."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any

from . import _einops, checkpoint, data, dlpack, hooks

__all__ = ["checkpoint", "data", "dlpack", "hooks", "safetensors"]

_einops.install()

if _TYPE_CHECKING:
    from . import safetensors


def __getattr__(name: str) -> Any:
    if name == "safetensors":
        return _import_module(".safetensors", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
