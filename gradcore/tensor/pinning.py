"""Page-locked host memory, which a GPU reads without the help of the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.tape import wrap
from ..backends import backend_for
from ..devices import device as Device
from .functions import METHODS

if TYPE_CHECKING:
    from .tensor import Tensor


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor in page-locked host memory, from where it gets to a GPU faster; itself if it is there.

    Raises:
        RuntimeError: it is not in host memory, or there is no GPU.
    """
    if self.device.type != "cpu":
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
    from ..backends import cuda

    backend_for(Device("cuda"))
    array = cuda.pinned(self._array)
    return self if array is self._array else wrap(array)


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the tensor is in page-locked host memory."""
    from ..backends import cuda

    try:
        return isinstance(self._array, np.ndarray) and self.device.type == "cpu" and cuda.is_pinned(self._array)
    except RuntimeError:  # no GPU
        return False


METHODS.update({f.__name__: f for f in (pin_memory, is_pinned)})
