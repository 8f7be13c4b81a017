"""PyTorch's files of weights: a ZIP archive of a pickle and the storages that its tensors show.

Of the archive, only what PyTorch writes is read: records that are stored as they are, none of which lies over another.
So nothing can grow when it is read, and a storage can be mapped.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import Array, backend_of
from ..devices import device as Device
from ..formats import strided
from ..nn.parameter import Buffer, Parameter
from ..tensor.creation import finish
from ..tensor.size import Size
from ..tensor.tensor import Tensor
from .files import LoadError, Source, checked, native
from .tensors import MapLocation, dressed, placed
from .unpickler import Callee, UnpicklingError, checked_key, unpickle


def load_archive(source: Source, map_location: MapLocation) -> Any:
    """What `torch.save` put into an archive.

    Raises:
        LoadError: it is damaged, or no such archive.
        UnpicklingError: it holds more than tensors, and containers and plain values of them.
    """
    records = _Records(source)
    storages = _Storages(records, map_location)
    return unpickle(records.bytes("data.pkl"), _find, storages.get)


# ---------------------------------------------------------------- the archive
@dataclass(frozen=True)
class _Record:
    start: int
    size: int
    crc: int


class _Records:
    """The records of an archive by name, without the folder that all of them are in."""

    def __init__(self, source: Source):
        self.source = source
        try:
            with zipfile.ZipFile(source.file) as archive:
                infos, end = archive.infolist(), archive.start_dir
        # What else `zipfile` raises for damaged directories.
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            OSError,
            OverflowError,
            ValueError,
            zipfile.LargeZipFile,
        ) as error:
            raise LoadError(f"the archive is damaged: {error!s:.200}") from None
        names = [info.filename for info in infos]
        if len(set(names)) < len(names):
            raise LoadError("two records of the archive have the same name")
        folder = _folder(names)
        self._records: dict[str, _Record] = {}
        for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
            record = self._located(info, end)
            end = info.header_offset
            if info.filename.startswith(folder):
                self._records[info.filename[len(folder) :]] = record

    def _located(self, info: zipfile.ZipInfo, end: int) -> _Record:
        """Where the bytes of a record are, which must be before `end`."""
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
            raise LoadError(
                f"the record {info.filename!r:.80} is compressed or encrypted; PyTorch stores records as they are"
            )
        header = self.source.read(info.header_offset, 30)
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise LoadError(f"the archive is damaged: there is no record {info.filename!r:.80} where it says")
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = info.header_offset + 30 + lengths
        if start + info.file_size > end:
            raise LoadError(f"the record {info.filename!r:.80} of the archive overlaps what comes after it")
        return _Record(start, info.file_size, info.CRC)

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def bytes(self, name: str) -> bytes:
        record = self._find(name)
        data = self.source.read(record.start, record.size)
        _check(name, record, data)
        return data

    def array(self, name: str, dtype: np.dtype[Any], count: int, order: str) -> np.ndarray:
        """The numbers that a record holds."""
        record = self._find(name)
        if record.size != count * dtype.itemsize:
            raise LoadError(f"{count} numbers of {dtype} are said to be in {name!r:.80}, which has {record.size} bytes")
        array = self.source.array(record.start, dtype, (count,))
        if not self.source.mapped:  # which would read it all
            _check(name, record, array.view(np.uint8))
        return checked(native(array, order), name)

    def _find(self, name: str) -> _Record:
        if name not in self._records:
            raise LoadError(f"the archive has no record {name!r:.80}")
        return self._records[name]


def _check(name: str, record: _Record, data: Any) -> None:
    # PyTorch can be told not to compute checksums, and writes 0 then.
    if record.crc and zlib.crc32(data) != record.crc:
        raise LoadError(f"the record {name!r:.80} of the archive is damaged: its checksum is another")


def _folder(names: list[str]) -> str:
    """The folder of the archive in which PyTorch's records are."""
    found = [name[: -len("data.pkl")] for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) == 1:
        folder = found[0]
        if folder + "constants.pkl" in names:
            raise LoadError(
                "it is a TorchScript archive, which holds a program: save its weights with PyTorch, "
                "torch.save(torch.jit.load(f).state_dict(), ...)"
            )
        return folder
    if names and all(name.endswith(".npy") for name in names):
        raise LoadError("it is an archive of NumPy's: numpy.load reads it, gradcore.from_numpy makes tensors of it")
    raise LoadError("it is a ZIP archive, but not one of PyTorch's, which have one record data.pkl in a folder")


# ---------------------------------------------------------------- storages and tensors
@dataclass(frozen=True)
class _StorageType:
    dtype: dtypes.dtype


@dataclass(frozen=True)
class _Storage:
    """The numbers that one or several tensors show, on their device, in one dimension."""

    array: Array
    type: _StorageType


class _Storages:
    """The storages of an archive, each read once."""

    def __init__(self, records: _Records, map_location: MapLocation):
        self._records, self._map_location = records, map_location
        self._order = records.bytes("byteorder").decode("latin-1") if "byteorder" in records else "little"
        if self._order not in ("little", "big"):
            raise LoadError(f"its byte order is {self._order!r:.40}, and neither 'little' nor 'big'")
        self._found: dict[str, _Storage] = {}

    def get(self, identifier: Any) -> _Storage:
        """The storage that a pickle means by `("storage", type, key, location, number of elements)`."""
        kinds = [type(part) for part in identifier] if type(identifier) is tuple else []
        if kinds != [str, _StorageType, str, str, int] or identifier[0] != "storage" or identifier[4] < 0:
            raise UnpicklingError(f"its pickle refers to {identifier!r:.100}, which is not a storage")
        _, kind, key, location, count = identifier
        found = self._found.get(key)
        if found is None:
            array = self._records.array(f"data/{key}", kind.dtype.numpy, count, self._order)
            found = self._found[key] = _Storage(placed(array, location, self._map_location), kind)
        if found.type != kind or found.array.size != count:
            raise UnpicklingError(f"its pickle says two things of the storage {key!r:.80}")
        return found


def _rebuild_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if type(storage) is not _Storage or type(offset) is not int or not _sizes(size) or not _sizes(stride):
        raise TypeError("a tensor of something else than a storage, an offset, a size and a stride")
    if len(size) != len(stride) or offset < 0:
        raise ValueError("a tensor whose size and stride do not fit together")
    if metadata:
        raise UnpicklingError("its pickle holds a conjugated or negated view, which gradcore has not")
    array = storage.array
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if 0 not in size and last >= array.size:
        raise ValueError(f"a tensor that ends at element {last} of a storage of {array.size}")
    steps = [step * array.itemsize for step in stride]
    view = backend_of(array).xp.lib.stride_tricks.as_strided(array[offset:], size, steps)
    return dressed(finish(view, False), Tensor, requires_grad, {})


def _sizes(value: Any) -> bool:
    return type(value) in (tuple, Size) and len(value) <= 64 and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _rebuild_parameter(data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Tensor:
    return _with_state(data, Parameter, requires_grad, state)


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    if type(function) is not Callee or type(arguments) is not tuple:
        raise TypeError("a tensor made by something else than a function")
    made = function.function(*arguments)
    return _with_state(made, kind, made.requires_grad, state)


def _with_state(tensor: Any, kind: Any, requires_grad: Any, state: Any) -> Tensor:
    """A tensor with its attributes: a dictionary, or a pair of one and of slots, which tensors have not."""
    attributes = state[0] if type(state) is tuple and len(state) == 2 else state or {}
    if not isinstance(tensor, Tensor) or kind not in (Tensor, Parameter) or type(attributes) is not dict:
        raise TypeError("a tensor of another class than Tensor or Parameter")
    if kind is Tensor and attributes.get("_is_buffer") is True:  # what PyTorch's buffers are told by
        kind, attributes = Buffer, {name: value for name, value in attributes.items() if name != "_is_buffer"}
    return dressed(tensor.detach(), kind, requires_grad, attributes)


# ---------------------------------------------------------------- what a pickle may name
def _exactly(make: Callable[..., Any], *kinds: type) -> Callee:
    """A function of arguments of exactly these types."""

    def checked(*arguments: Any) -> Any:
        if tuple(map(type, arguments)) != kinds:
            raise TypeError(f"{make.__name__} of {', '.join(type(argument).__name__ for argument in arguments)}")
        return make(*arguments)

    return Callee(checked)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding!r:.40}")
    return text.encode("latin1")


def _set(items: list[Any]) -> set[Any]:
    return {checked_key(item) for item in items}


def _layout(name: str) -> Any:
    if name != "torch.strided":
        raise UnpicklingError(f"it holds the layout {name!r:.40}, which gradcore has not")
    return strided


_STORAGES = {
    "Bool": dtypes.bool_,
    "Byte": dtypes.uint8,
    "Char": dtypes.int8,
    "Short": dtypes.int16,
    "Int": dtypes.int32,
    "Long": dtypes.int64,
    "Half": dtypes.float16,
    "BFloat16": dtypes.bfloat16,
    "Float": dtypes.float32,
    "Double": dtypes.float64,
}
_TABLE: dict[str, Any] = {
    "collections.OrderedDict": _exactly(OrderedDict),
    "collections.Counter": _exactly(Counter, dict),
    "builtins.set": _exactly(_set, list),
    "builtins.bytearray": _exactly(bytearray, bytes),
    "builtins.complex": _exactly(complex, float, float),
    "builtins.bytes": _exactly(bytes),
    "_codecs.encode": _exactly(_encode, str, str),
    "torch.Size": _exactly(Size, tuple),
    "torch.device": Callee(Device),
    "torch.serialization._get_layout": _exactly(_layout, str),
    "torch.Tensor": Tensor,
    "torch.nn.parameter.Parameter": Parameter,
    "torch._utils._rebuild_tensor": Callee(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Callee(_rebuild_tensor),
    "torch._utils._rebuild_parameter": Callee(_rebuild_parameter),
    "torch._utils._rebuild_parameter_with_state": Callee(_rebuild_parameter),
    "torch._tensor._rebuild_from_type_v2": Callee(_rebuild_from_type),
    **{f"torch.{d.name}": d for d in dtypes.ALL},
    **{f"torch.{name}Storage": _StorageType(d) for name, d in _STORAGES.items()},
    **{f"torch.cuda.{name}Storage": _StorageType(d) for name, d in _STORAGES.items()},
}


def _find(name: str) -> Any:
    """What a pickle of PyTorch's means by a name."""
    name = name.replace("__builtin__.", "builtins.", 1)
    if name in _TABLE:
        return _TABLE[name]
    if name.startswith("torch.") and (name.endswith("Storage") or name.startswith("torch._utils._rebuild_")):
        raise UnpicklingError(f"it holds a kind of tensor that gradcore has not: {name:.120}")
    raise UnpicklingError(
        f"it asks for {name!r:.120}, which is refused: files of weights hold tensors, parameters and plain values, and "
        "nothing that runs code. If it holds a whole model, save its weights with PyTorch: "
        "torch.save(model.state_dict(), ...)"
    )
