"""Sharing memory with other libraries: NumPy, DLPack, the CUDA array interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..autograd.tape import tell, wants_grad
from ..autograd.tracer import Tracer
from ..autograd.variable import Variable
from ..backends import Array, backend_for, backend_of, dlpack
from ..devices import DeviceLike
from ..devices import device as Device
from .creation import around

if TYPE_CHECKING:
    from ._methods import TensorMethods  # what gradcore.tensor.methods adds, written out
    from .tensor import Tensor
else:
    TensorMethods = Variable

# The functions of gradcore that are made here.
__all__ = ["from_dlpack"]

_TYPES = {"cpu": dlpack.CPU, "cuda": dlpack.CUDA}
# What lies in memory that the host reaches, and what in that of a GPU: also pinned and managed memory.
_NAMES = {dlpack.CPU: "cpu", 3: "cpu", dlpack.CUDA: "cuda", 13: "cuda"}


def _device(dl_device: tuple[int, int]) -> Device:
    """The device that DLPack's numbers mean."""
    kind, index = dl_device
    name = _NAMES.get(int(kind))
    if name is None:
        raise BufferError(f"DLPack's device type {int(kind)} is not supported: expected cpu (1) or cuda (2)")
    return Device(name, int(index) if name == "cuda" else None)


class Exchange(TensorMethods):
    """The part of `Tensor` that lends its memory."""

    @property
    def _whole(self) -> Tensor:
        return cast("Tensor", self)

    def data_ptr(self) -> int:
        """The address of the first element."""
        array = self._lent()
        return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)

    def _lent(self) -> Array:
        """The array, which others will use from now on."""
        tell(None, (self,), {}, ())
        return self._array.host("data") if isinstance(self._array, Tracer) else self._array

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values as a NumPy array that shares the tensor's memory; CPU tensors without gradient only, unless
        `force`."""
        if force:
            return self._whole.detach().cpu().numpy()
        if wants_grad(self):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        array = self._array
        if not isinstance(array, (Tracer, np.ndarray)):
            where = self._whole.device
            raise TypeError(
                f"can't convert {where} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
        return self._lent()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule that lends the tensor's memory: what `from_dlpack` of any library asks for.

        `stream` is where a GPU's memory will be used (None: on the default stream; -1: do not wait for anything),
        `max_version` the version of DLPack that the consumer knows, `dl_device` where it wants the memory. A copy is
        lent where `copy` is True, or None and the memory lies elsewhere or has negative strides.

        Raises:
            BufferError: the tensor requires a gradient, or a copy is needed and `copy` is False.
        """
        if wants_grad(self):
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if stream is not None and type(stream) is not int:
            raise TypeError("stream must be ``int`` or ``none``")
        device = self._whole.device
        target = device if dl_device is None else _device(dl_device)
        array = self._lent()
        # PyTorch, for one, knows no negative strides.
        if target != device or any(step < 0 for step in array.strides):
            if copy is False:
                raise BufferError(f"cannot lend this tensor of {device} to {target} without copying. Set copy=None.")
            copy = True
        if copy:
            array = self._whole.detach().to(target, copy=True).contiguous()._array
        return backend_of(array).to_dlpack(array, stream, max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        device = self._whole.device
        return _TYPES[device.type], device.index or 0

    def _on_cuda(self, protocol: str) -> Array:
        """The array of a CUDA tensor, for one of the protocols that only such tensors have."""
        if not self._whole.is_cuda:  # AttributeError, so that hasattr() tells
            raise AttributeError(
                f"Can't get {protocol} on non-CUDA tensor type: {self._whole.type()} If CUDA data is required use "
                "tensor.cuda() to copy tensor to device memory."
            )
        if wants_grad(self):
            raise RuntimeError(
                f"Can't get {protocol} on Variable that requires grad. If gradients aren't required, use var.detach() "
                "to get Variable that doesn't require grad."
            )
        return self._lent()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        array = self._on_cuda("__cuda_array_interface__")
        if array.dtype.kind == "V":
            raise AttributeError("the CUDA array interface has no name for bfloat16: use DLPack")
        found: dict[str, Any] = array.__cuda_array_interface__
        return found

    @property
    def __cupy_get_ndarray__(self) -> Any:
        array = self._on_cuda("__cupy_get_ndarray__")
        return lambda: array


def _capsule(ext_tensor: Any, copy: bool | None) -> Any:
    """What an array of another library lends; older ones know fewer options."""
    wishes = {"copy": False} if copy is False else {}  # what shall be a copy is copied here
    options: dict[str, Any]
    for options in ({"max_version": (1, 0), **wishes}, wishes, {}):
        try:
            return ext_tensor.__dlpack__(**options)
        except TypeError:
            if not options:
                raise


def from_dlpack(ext_tensor: Any, *, device: DeviceLike | None = None, copy: bool | None = None) -> Tensor:
    """A tensor in the memory of another library's array, or of a DLPack capsule.

    Both see what either writes. A tensor that shares read-only memory cannot be written to.

    Args:
        ext_tensor: an array with `__dlpack__` and `__dlpack_device__`, or a capsule, which can be used once.
        device: where the tensor shall be; elsewhere than the array it is a copy.
        copy: True for a copy, False for an error where sharing is impossible.

    Raises:
        RuntimeError: `ext_tensor` is neither, or a used capsule.
        TypeError: the array's dtype is not one of tensors.
        BufferError: the array lies on a device that is not supported, or its library refuses.
        ValueError: `copy` is False and the device another one.

    >>> import gradcore, numpy
    >>> array = numpy.zeros(3)
    >>> gradcore.from_dlpack(array).fill_(2.0)
    tensor([2., 2., 2.], dtype=gradcore.float64)
    >>> array
    array([2., 2., 2.])
    """
    lends = hasattr(ext_tensor, "__dlpack__")
    if not lends and (device is not None or copy is not None):
        raise AssertionError("device and copy kwargs not supported when ext_tensor is already a DLPack capsule.")
    if lends:
        source = _device(ext_tensor.__dlpack_device__())
    else:
        description = dlpack.describe(ext_tensor)
        source = _device((description.device_type, description.device_id))
    backend = backend_for(source)
    target = backend if device is None else backend_for(Device(device))
    if target is not backend and copy is False:
        raise ValueError(
            f"cannot move DLPack tensor from device {source} to {target.device} without copying. Set copy=None or "
            "copy=True."
        )
    out: Any = around(backend.from_dlpack(_capsule(ext_tensor, copy) if lends and source.type == "cpu" else ext_tensor))
    if target is not backend:
        return out.to(target.device)
    return out.clone() if copy else out
