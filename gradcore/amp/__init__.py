"""Mixed precision: `autocast` runs each op in the dtype that suits it, `GradScaler` keeps small gradients alive."""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .._lazy import lazily as _lazily
from . import autocast_mode
from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available

__all__ = [
    "GradScaler",
    "autocast",
    "autocast_mode",
    "custom_bwd",
    "custom_fwd",
    "grad_scaler",
    "is_autocast_available",
]

if _TYPE_CHECKING:
    from . import grad_scaler
    from .grad_scaler import GradScaler

__getattr__ = _lazily(__name__, {"GradScaler": "grad_scaler", "grad_scaler": "grad_scaler"})
