"""`autocast`, what it is set to, and custom functions under it."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .. import cuda
from ..autograd import autocast as casting
from ..autograd.autocast import settings
from ..autograd.grad_mode import mode
from ..dtypes import bfloat16, dtype, float16, float64
from ..tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])

_LOWER = (bfloat16, float16)


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for this type of device: "cpu" or "cuda"."""
    return device_type in settings.dtypes


def _checked(device_type: str) -> str:
    if not is_autocast_available(device_type):
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
    return device_type


class autocast:
    """Within the block, ops on this type of device run in a dtype that suits each: a context manager and a decorator.

    Matrix products, convolutions and attention run in `dtype`; what loses too much there (sums, exponentials, norms,
    losses) in float32; ops of several operands in the widest type among them; all else in the type of its operands.
    docs/amp.md lists them. float64 and integer tensors are never converted, nor is anything in place or with `out=`.

    A weight (a leaf that requires grad) is converted once for the outermost block. Backward passes belong outside: they
    run in the types of the forward pass anyway. The state is the thread's own.

    Args:
        device_type: "cpu" or "cuda".
        dtype: bfloat16 or float16; None for `get_autocast_dtype(device_type)`: bfloat16 on the CPU, float16 on CUDA.
        enabled: False makes an island with autocast off.
        cache_enabled: whether converted weights are kept; None for as it is.

    Raises:
        RuntimeError: there is no autocast for this type of device.
        ValueError: `device_type` is no string.

    >>> import gradcore as torch
    >>> model = torch.nn.Linear(2, 2)
    >>> with torch.autocast("cpu"):
    ...     y = model(torch.ones(1, 2))
    >>> y.dtype
    gradcore.bfloat16
    """

    def __init__(
        self, device_type: str, dtype: dtype | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device = _checked(device_type)
        self.fast_dtype = settings.dtypes[device_type] if dtype is None else dtype
        self._cache_enabled = settings.keeps_casts if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda" and not cuda.is_available():
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in _LOWER:
            supported = ", ".join(map(str, _LOWER))
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{device_type.upper()} Autocast only supports dtypes of {supported} currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._before: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        before = settings.dtypes[self.device], settings.keeps_casts, _set(self.device, self._enabled, self.fast_dtype)
        self._before.append(before)
        settings.keeps_casts = self._cache_enabled
        settings.nesting += 1
        return self

    def __exit__(self, *exc: object) -> None:
        settings.nesting -= 1
        if not settings.nesting:
            settings.casts.clear()
        settings.dtypes[self.device], settings.keeps_casts, lowered = self._before.pop()
        casting.switch(lowered)

    def __call__(self, function: F) -> F:
        if not callable(function):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(function).__name__}. Did you mean to use "
                "autocast as a context manager? For example:\n    with gradcore.autocast(device_type=...):\n        "
                "output = model(input)"
            )

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            fresh = copy.copy(self)  # (threads that call the function share `self`)
            fresh._before = []
            with fresh:
                return function(*args, **kwargs)

        return decorated  # type: ignore[return-value]


def _set(device: str, enabled: bool, lower: dtype) -> Any:
    settings.dtypes[device] = lower
    others = {d: t for d, t in (mode.autocast or {}).items() if d != device}
    return casting.switch({**others, device: lower} if enabled else others)


# ---------------------------------------------------------------- the state
def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on, for this type of device, in this thread."""
    return mode.autocast is not None and _checked(device_type) in mode.autocast


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Turn autocast on or off (of CUDA, if there is one argument), without a block; `autocast` is the better way."""
    device, on = (device_type, enabled) if isinstance(device_type, str) else ("cuda", device_type)
    _set(_checked(device), bool(on), settings.dtypes[device])


def get_autocast_dtype(device_type: str) -> dtype:
    """The lower precision of a type of device: that of the innermost block, bfloat16 on the CPU, float16 on CUDA."""
    return settings.dtypes[_checked(device_type)]


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Set what `get_autocast_dtype` returns."""
    _set(_checked(device_type), is_autocast_enabled(device_type), dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether converted weights are kept until the end of the outermost block."""
    return settings.keeps_casts


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set whether converted weights are kept."""
    settings.keeps_casts = enabled


def clear_autocast_cache() -> None:
    """Drop the converted weights."""
    settings.casts.clear()


# ---------------------------------------------------------------- custom functions
def _cast(value: Any, device: str, to: dtype) -> Any:
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device and value.dtype is not float64
        return value.to(to) if eligible else value
    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, device, to): _cast(v, device, to) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, device, to) for v in value)
    return map(lambda v: _cast(v, device, to), value) if isinstance(value, Iterable) else value


def _device_type(device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    return _checked(device_type)


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: dtype | None = None) -> Any:
    """Tell the `forward` of a `Function` what to do under autocast (a decorator).

    Args:
        device_type: of the autocast that is meant.
        cast_inputs: convert floating point tensors among the arguments to this dtype, and run with autocast off; None:
            run as autocast is set. Where autocast is off the decorator does nothing.
    """
    device = _device_type(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        ctx, on = args[0], is_autocast_enabled(device)
        ctx._dtype = settings.dtypes[device]
        ctx._fwd_used_autocast = on and cast_inputs is None
        if not on or cast_inputs is None:
            return fwd(*args, **kwargs)
        with autocast(device, enabled=False):
            return fwd(*_cast(args, device, cast_inputs), **_cast(kwargs, device, cast_inputs))

    return decorated


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Let the `backward` of a `Function` run as autocast was set in its `forward`, decorated by `custom_fwd`."""
    device = _device_type(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device)

    @functools.wraps(bwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast(device, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return decorated
