"""Mixed precision on CUDA under PyTorch's former names; use `gradcore.amp`."""

from __future__ import annotations

import warnings
from typing import Any

from .. import amp
from ..dtypes import dtype, float16

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _deprecated(name: str, arguments: str) -> None:
    warnings.warn(
        f"`gradcore.cuda.amp.{name}(args...)` is deprecated. Please use `gradcore.amp.{name}({arguments})` instead.",
        FutureWarning,
        stacklevel=3,
    )


class autocast(amp.autocast):
    """`gradcore.amp.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype: dtype = float16, cache_enabled: bool = True) -> None:
        _deprecated("autocast", "'cuda', args...")
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """`gradcore.amp.GradScaler("cuda", ...)`."""

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _deprecated("GradScaler", "'cuda', args...")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


def custom_fwd(fwd: Any = None, *, cast_inputs: dtype | None = None) -> Any:
    """`gradcore.amp.custom_fwd(device_type="cuda")`."""
    _deprecated("custom_fwd", "args..., device_type='cuda'")
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Any) -> Any:
    """`gradcore.amp.custom_bwd(device_type="cuda")`."""
    _deprecated("custom_bwd", "args..., device_type='cuda'")
    return amp.custom_bwd(bwd, device_type="cuda")
