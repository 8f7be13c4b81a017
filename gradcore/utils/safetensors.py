"""Tensors by name in safetensors files, by the names of the `safetensors` package.

`from gradcore.utils.safetensors import load_file` stands for `from safetensors.torch import load_file`. The package
itself is not needed. `gradcore.save` and `gradcore.load` keep more than tensors in such files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..devices import device as Device
from ..serialization.files import FileLike, SafetensorError, Source, opened, writing
from ..serialization.safetensors_format import Entry, as_tensor, read_header, read_tensor, write
from ..tensor.tensor import Tensor

__all__ = ["SafetensorError", "load", "load_file", "safe_open", "save", "save_file"]

DeviceName = str | int | Device


def save_file(tensors: Mapping[str, Tensor], filename: FileLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name into a file, which is replaced at once when all is written.

    Args:
        tensors: of any layout and device; those that share memory are written once for each name.
        filename: a path, or a binary file to write to.
        metadata: texts to keep beside them. Some readers want `{"format": "pt"}`.

    Raises:
        TypeError, ValueError: names, tensors or metadata that are none; nothing is written.
        RuntimeError: the folder of the path does not exist.
    """
    arrays = _arrays(tensors)
    with writing(filename) as file:
        write(file, arrays, metadata)


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of the file that `save_file` would write.

    >>> import gradcore
    >>> load(save({"weight": gradcore.tensor([1.0, 2.0])}))
    {'weight': tensor([1., 2.])}
    """
    import io

    file = io.BytesIO()
    write(file, _arrays(tensors), metadata)
    return file.getvalue()


def load_file(filename: str | os.PathLike[str], device: DeviceName = "cpu") -> dict[str, Tensor]:
    """The tensors of a file by name, on `device`.

    Raises:
        SafetensorError: the file is damaged, or has tensors of types that gradcore has not.
    """
    return _load(filename, device)


def load(data: bytes, device: DeviceName = "cpu") -> dict[str, Tensor]:
    """The tensors of a file that has been read already; SafetensorError as of `load_file`."""
    import io

    return _load(io.BytesIO(data), device)


def _load(f: FileLike, device: DeviceName) -> dict[str, Tensor]:
    with opened(f) as source:
        entries, _ = read_header(source)
        return {name: read_tensor(source, name, entry, Device(device)) for name, entry in entries.items()}


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arrays of tensors by name. TypeError if one is none."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"safetensors holds tensors, but {name!r} is of type {type(tensor).__name__}")
    return {name: tensor.detach()._array for name, tensor in tensors.items()}


class safe_open:
    """A file whose tensors, or slices of them, are read when they are asked for; a context manager.

    Args:
        filename: its path.
        framework: `"pt"` for tensors, `"np"` for NumPy arrays.
        device: where the tensors are to be.

    >>> import gradcore, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save_file({"weight": gradcore.arange(6).reshape(2, 3)}, path)
    >>> with safe_open(path, framework="pt") as file:
    ...     for name in file.keys():
    ...         file.get_slice(name)[:, 1:]
    tensor([[1, 2],
            [4, 5]])

    Raises:
        SafetensorError: the file is damaged; by `get_tensor` and `get_slice` also if there is no such tensor, or it is
            of a type that gradcore has not.
    """

    def __init__(self, filename: str | os.PathLike[str], framework: str = "pt", device: DeviceName = "cpu"):
        if framework not in ("pt", "np"):
            raise SafetensorError(f"safe_open(): framework must be 'pt' or 'np', not {framework!r}")
        self._framework, self._device = framework, Device(device)
        with opened(filename, mapped=True) as source:
            self._source: Source | None = source
            self._entries, self._metadata = read_header(source)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *error: Any) -> None:
        self._source = None

    def metadata(self) -> dict[str, str] | None:
        """The texts beside the tensors, or None."""
        return dict(self._metadata) or None

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return list(self._entries)

    def get_tensor(self, name: str) -> Any:
        """A tensor, which nothing else shares memory with."""
        return self.get_slice(name)[...]

    def get_slice(self, name: str) -> _Slice:
        """A tensor that is not read yet: its parts are, by indexing."""
        entry = self._entries.get(name)
        if entry is None:
            raise SafetensorError(f"File does not contain tensor {name}")
        if self._source is None:
            raise SafetensorError("the file is closed: read from it within its `with` block")
        return _Slice(self._source, name, entry, self._framework, self._device)


class _Slice:
    """A tensor in a file; indexing reads the part it names."""

    def __init__(self, source: Source, name: str, entry: Entry, framework: str, device: Device):
        self._source, self._name, self._entry = source, name, entry
        self._framework, self._device = framework, device

    def get_shape(self) -> list[int]:
        """The shape of the whole."""
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        """The name of the dtype in the format, such as `"F32"`."""
        return self._entry.dtype

    def __getitem__(self, index: Any) -> Any:
        part = np.array(self._entry.read(self._source, self._name)[index])
        return part if self._framework == "np" else as_tensor(part, self._name, "cpu", self._device)
