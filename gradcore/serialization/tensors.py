"""Tensors of what was loaded: on their devices, as the classes they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..backends import Array, backend_for
from ..devices import device as Device
from ..nn.parameter import Parameter
from ..tensor.creation import finish
from ..tensor.tensor import Tensor
from .files import LoadError

MapLocation: TypeAlias = "str | Device | Mapping[str, str | Device] | Callable[[Tensor, str], Tensor | None] | None"


def placed(array: np.ndarray, location: str, map_location: MapLocation) -> Array:
    """An array that was on the device `location` when it was saved, where `map_location` wants it.

    Raises:
        LoadError: there is no such device here.
        TypeError: `map_location` is nothing that could say.
    """
    target: Any = location
    if map_location is None:
        pass
    elif isinstance(map_location, (str, Device)):
        target = map_location
    elif isinstance(map_location, Mapping):
        target = map_location.get(location, location)
    elif callable(map_location):
        moved = map_location(finish(array, False), location)
        if moved is not None:
            if not isinstance(moved, Tensor) or moved.shape != array.shape or moved.dtype.numpy != array.dtype:
                raise TypeError(
                    "load(): map_location must return the tensor it is given, moved to a device, or None; it returned "
                    + (f"one of {moved.dtype} {list(moved.shape)}" if isinstance(moved, Tensor) else repr(moved)[:80])
                )
            return moved._array
    else:
        raise TypeError(
            f"load(): map_location must be a device, dictionary, function or None, not {type(map_location).__name__}"
        )
    return _on(array, target)


def _on(array: np.ndarray, target: str | Device) -> Array:
    try:
        device = Device(target)
    except RuntimeError:
        raise LoadError(
            f"don't know how to restore data location (tagged with {str(target)[:80]}). Use map_location='cpu' to have "
            "it in host memory"
        ) from None
    if device.type == "cpu":
        return array
    try:
        backend = backend_for(device)
    except RuntimeError as error:
        raise LoadError(f"{_missing(device)} ({error})") from error
    return array if backend.device.type == "cpu" else backend.from_host(array)


def _missing(device: Device) -> str:
    """What PyTorch says of a CUDA device that is not there."""
    from ..cuda import device_count

    if count := device_count():
        return (
            f"Attempting to deserialize object on CUDA device {device.index} but gradcore.cuda.device_count() is "
            f"{count}. Please use gradcore.load with map_location to map your storages to an existing device."
        )
    return (
        "Attempting to deserialize object on a CUDA device but gradcore.cuda.is_available() is False. If you are "
        "running on a CPU-only machine, please use gradcore.load with map_location=gradcore.device('cpu') to map your "
        "storages to the CPU."
    )


def dressed(tensor: Tensor, kind: type[Tensor], requires_grad: bool, attributes: Mapping[str, Any]) -> Tensor:
    """`tensor` as a `Tensor`, `Parameter` or `Buffer`, with what a user has set on it.

    Raises:
        RuntimeError, TypeError: tensors of its dtype do not require grad, or `requires_grad` is no bool.
        ValueError: an attribute that would hide one of the class.
    """
    for name in attributes:
        if hasattr(kind, name):
            raise ValueError(f"{name!r:.80} is a {kind.__name__}'s own, and not for a file to set")
    if kind is not Tensor:
        tensor = kind(tensor, requires_grad=False) if kind is Parameter else kind(tensor)
    tensor.requires_grad_(requires_grad)
    for name, value in attributes.items():
        setattr(tensor, name, value)
    return tensor
