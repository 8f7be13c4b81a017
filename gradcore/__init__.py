"""gradcore: PyTorch's tensors, tape and training loop on the arrays people already have.

NumPy on a CPU, CuPy and fused kernels on CUDA GPUs. `import gradcore as torch` runs PyTorch training code that stays
within what is covered.

>>> import gradcore as torch
>>> x = torch.tensor([1.0, 2.0], requires_grad=True)
>>> (x**2).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

from __future__ import annotations

import math as _math
import warnings as _warnings
from typing import TYPE_CHECKING as _TYPE_CHECKING

# Infinities and NaNs are values here, as in PyTorch, and not worth a warning each time a ufunc makes one.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"gradcore\.")

from . import autograd, dtypes
from ._lazy import lazily as _lazily
from .autograd import (
    enable_grad,
    inference_mode,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .backends.cpu.threads import get_num_threads, set_num_threads
from .backends.determinism import (
    are_deterministic_algorithms_enabled,
    use_deterministic_algorithms,
)
from .backends.precision import get_float32_matmul_precision, set_float32_matmul_precision
from .devices import device
from .dtypes import (
    bfloat16,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
)
from .dtypes import bool_ as bool
from .formats import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from .tensor import CREATION as _CREATION
from .tensor import FUNCTIONS as _FUNCTIONS
from .tensor import Generator, Size, Tensor, default_generator
from .tensor.custom import elementwise, reduction

__version__ = "0.1.0"

inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e

globals().update(dtypes.ALIASES)
globals().update(_CREATION)
globals().update(_FUNCTIONS)

from . import amp, cuda, linalg, nn, optim, utils  # after the functions, which they use
from .amp.autocast_mode import (
    autocast,
    clear_autocast_cache,
    get_autocast_dtype,
    is_autocast_cache_enabled,
    is_autocast_enabled,
    set_autocast_cache_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from .cuda import OutOfMemoryError

__all__ = [
    "Generator",
    "OutOfMemoryError",
    "Size",
    "Tensor",
    "amp",
    "are_deterministic_algorithms_enabled",
    "autocast",
    "autograd",
    "bfloat16",
    "bool",
    "channels_last",
    "channels_last_3d",
    "clear_autocast_cache",
    "contiguous_format",
    "cuda",
    "default_generator",
    "device",
    "dtype",
    "e",
    "elementwise",
    "enable_grad",
    "explain",
    "finfo",
    "float16",
    "float32",
    "float64",
    "func",
    "get_autocast_dtype",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_threads",
    "iinfo",
    "inf",
    "inference_mode",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_autocast_cache_enabled",
    "is_autocast_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "layout",
    "linalg",
    "load",
    "memory_format",
    "nan",
    "nn",
    "no_grad",
    "optim",
    "pi",
    "preserve_format",
    "promote_types",
    "reduction",
    "save",
    "serialization",
    "set_autocast_cache_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
    "set_default_dtype",
    "set_grad_enabled",
    "set_float32_matmul_precision",
    "set_num_threads",
    "strided",
    "uint8",
    "utils",
    "viz",
    "vmap",
    *dtypes.ALIASES,
    *_CREATION,
    *_FUNCTIONS,
    "use_deterministic_algorithms",
]


if _TYPE_CHECKING:
    from . import func, serialization, viz
    from .explanation import explain
    from .func import vmap
    from .serialization import load, save

__getattr__ = _lazily(
    __name__,
    {
        "explain": "explanation",
        "func": "func",
        "load": "serialization",
        "save": "serialization",
        "serialization": "serialization",
        "viz": "viz",
        "vmap": "func",
    },
    "module {package!r} has no attribute {name!r}. If it is part of PyTorch's public API, it is not covered yet",
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
