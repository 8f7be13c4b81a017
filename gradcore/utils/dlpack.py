"""PyTorch's older names for sharing memory by DLPack; `gradcore.from_dlpack` and `Tensor.__dlpack__` do the work."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ..tensor import Tensor
from ..tensor.exchange import from_dlpack

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


class DLDeviceType(IntEnum):
    """DLPack's numbers of the devices that tensors can lie on."""

    kDLCPU = 1
    kDLCUDA = 2


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule that lends the tensor's memory, and can be used once.

    >>> import gradcore as torch
    >>> x = torch.arange(3)
    >>> torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x)).data_ptr() == x.data_ptr()
    True
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"_to_dlpack(): argument 'data' (position 1) must be Tensor, not {type(tensor).__name__}")
    return tensor.__dlpack__()
