"""CUDA devices: what there is, streams and events, memory; PyTorch's names for what CuPy does.

`gradcore.cuda.emulator` runs CUDA kernels, your own too, on a machine without a GPU; `gradcore.cuda.kernel_op` makes
differentiable ops of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .._lazy import lazily as _lazily
from ..backends.determinism import allow_atomics
from . import devices, memory, streams
from .devices import *  # noqa: F403
from .memory import *  # noqa: F403
from .random import (
    get_rng_state,
    get_rng_state_all,
    manual_seed,
    manual_seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .streams import *  # noqa: F403

__all__ = [
    "Launch",
    "allow_atomics",
    "get_rng_state",
    "get_rng_state_all",
    "kernel_op",
    "manual_seed",
    "manual_seed_all",
    "set_rng_state",
    "set_rng_state_all",
]
__all__ += [*devices.__all__, *memory.__all__, *streams.__all__]

if _TYPE_CHECKING:
    from . import amp as amp
    from .custom import Launch, kernel_op

__getattr__ = _lazily(__name__, {"Launch": "custom", "amp": "amp", "kernel_op": "custom"})
