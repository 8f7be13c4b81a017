"""The safetensors format: a length in 8 bytes, a header in JSON, and the tensors' bytes.

The header says of each tensor its dtype, its shape, and where its bytes lie among those that follow. What is read here
comes from anybody: the tensors must fill the file, in some order, without gaps and overlaps, and nothing is allocated
for what the file does not have.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import ml_dtypes
import numpy as np

from .. import dtypes
from ..backends import Array, backend_of
from ..tensor.creation import finish
from ..tensor.tensor import Tensor
from .files import SafetensorError, Source, checked, native
from .tensors import MapLocation, placed

# The longest header that readers of the format accept.
LONGEST_HEADER = 100_000_000
_MOST_DIMENSIONS = 64  # NumPy's
METADATA = "__metadata__"

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
}
NAMES = {numpy: name for name, numpy in DTYPES.items()}
_TENSORS = frozenset(d.numpy for d in dtypes.ALL)
# The bits of the format's other types, which may stand beside tensors that can be read.
_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8}
_BITS.update({name: 8 * numpy.itemsize for name, numpy in DTYPES.items()})


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: the name of its dtype, its shape, and where its first byte is."""

    dtype: str
    shape: tuple[int, ...]
    start: int

    def read(self, source: Source, name: str) -> np.ndarray:
        """The array. SafetensorError if NumPy has no such thing."""
        dtype = DTYPES.get(self.dtype)
        if dtype is None:
            raise SafetensorError(f"tensor {name!r:.80} is of type {self.dtype}, which neither NumPy nor gradcore has")
        return checked(native(source.array(self.start, dtype, self.shape), "little"), name)


# ---------------------------------------------------------------- reading
def read_header(source: Source) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors of a file, in the order of its header, and its metadata.

    Raises:
        SafetensorError: the header is not as the format asks, or does not fit the file.
    """
    first = source.read(0, 8)
    if len(first) < 8:
        raise SafetensorError(f"the file ends before its header: it has {source.size} bytes")
    length = int.from_bytes(first, "little")
    if length > LONGEST_HEADER:
        raise SafetensorError(f"the header is said to have {length} bytes; at most {LONGEST_HEADER} are allowed")
    if 8 + length > source.size:
        raise SafetensorError(f"the header is said to have {length} bytes, but the file has {source.size} in all")
    text = source.read(8, length)
    if not text.startswith(b"{"):
        raise SafetensorError(f"the header is not JSON: it begins with {text[:8]!r}")
    header = parse_json(text, "the header")
    metadata = header.pop(METADATA, {})
    if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
        raise SafetensorError(f"{METADATA} of the header is not a dictionary of strings")
    return _checked(header, 8 + length, source.size), metadata


def read_tensor(source: Source, name: str, entry: Entry, map_location: MapLocation = None) -> Tensor:
    """A tensor of a file, on the CPU or where `map_location` wants it."""
    return as_tensor(entry.read(source, name), name, "cpu", map_location)


def as_tensor(array: np.ndarray, name: str, location: str, map_location: MapLocation) -> Tensor:
    """An array as a tensor that was on `location`. SafetensorError if there are no tensors of its dtype."""
    if array.dtype not in _TENSORS:
        raise SafetensorError(f"tensor {name!r:.80} is of {array.dtype}, which gradcore has no tensors of")
    return finish(placed(array, location, map_location), False)


def parse_json(text: str | bytes, what: str) -> Any:
    """The value of a JSON text in UTF-8, in which no name comes twice. SafetensorError if it is none."""
    try:
        decoded = text if isinstance(text, str) else text.decode()
        return json.loads(decoded, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SafetensorError(f"{what} is not JSON: {str(error)[:200]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name!r:.80} comes twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _checked(header: dict[str, Any], begin: int, size: int) -> dict[str, Entry]:
    """The entries of a header whose tensors fill the file from `begin` to its end."""
    entries: dict[str, Entry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, info in header.items():
        start, stop, entry = _entry(name, info, begin)
        entries[name] = entry
        spans.append((start, stop, name))
    expected = 0
    for start, stop, name in sorted(spans):
        if start != expected:
            what = "overlaps the tensor before it" if start < expected else "leaves a gap before it"
            raise SafetensorError(f"data_offsets [{start}, {stop}] of tensor {name!r:.80}: it {what}")
        expected = stop
    if begin + expected != size:
        raise SafetensorError(f"the file has {size - begin} bytes of tensors, but its header tells of {expected}")
    return entries


def _entry(name: str, info: Any, begin: int) -> tuple[int, int, Entry]:
    """The places that the bytes of a tensor are said to take, relative to `begin`, and its entry."""
    problem = None
    if type(info) is not dict or not {"dtype", "shape", "data_offsets"} <= info.keys():
        problem = "it needs dtype, shape and data_offsets"
    elif type(info["dtype"]) is not str or info["dtype"] not in _BITS:
        problem = f"there is no dtype {info['dtype']!r:.40}; the format has {', '.join(_BITS)}"
    elif not _naturals(info["shape"]) or len(info["shape"]) > _MOST_DIMENSIONS:
        problem = f"its shape must be a list of at most {_MOST_DIMENSIONS} non-negative integers of 64 bits"
    elif math.prod(info["shape"]) >= 2**63:
        problem = f"there are no arrays of shape {info['shape']}"
    elif not _naturals(info["data_offsets"]) or len(info["data_offsets"]) != 2:
        problem = "its data_offsets must be two non-negative integers of 64 bits"
    else:
        start, stop = info["data_offsets"]
        bits = math.prod(info["shape"]) * _BITS[info["dtype"]]
        if 8 * (stop - start) == bits:
            return start, stop, Entry(info["dtype"], tuple(info["shape"]), begin + start)
        problem = (
            f"its data_offsets [{start}, {stop}] have room for {stop - start} bytes, but its shape {info['shape']} "
            f"and dtype {info['dtype']} need {bits / 8:.0f}"
        )
    raise SafetensorError(f"tensor {name!r:.80} of the header: {problem}")


def _naturals(value: Any) -> bool:
    return type(value) is list and all(type(n) is int and 0 <= n < 2**63 for n in value)


# ---------------------------------------------------------------- writing
def write(file: IO[bytes], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays by name, on whatever devices they are, one after the other.

    The header lists them in the order given. Their bytes come in the order of falling itemsize, so that each lies at a
    multiple of its own.

    Raises:
        TypeError, ValueError: names or metadata that the format does not take; nothing is written then.
    """
    check_names(arrays, metadata)
    stored = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    offsets: dict[str, list[int]] = {}
    end = 0
    for name in stored:
        offsets[name] = [end, end + arrays[name].size * arrays[name].dtype.itemsize]
        end = offsets[name][1]
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for name, array in arrays.items():
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": offsets[name]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"safetensors takes headers of at most {LONGEST_HEADER} bytes; this one has {len(text)}")
    file.write(len(text).to_bytes(8, "little") + text)
    for name in stored:
        array = np.ascontiguousarray(backend_of(arrays[name]).to_host(arrays[name]))
        if sys.byteorder != "little":
            array = array.byteswap()
        file.write(array.reshape(-1).view(np.uint8).data)


def check_names(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None) -> None:
    """TypeError or ValueError for names and metadata that a header cannot hold."""
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"safetensors takes metadata that maps str to str, not {key!r} to {value!r}")
    for name in arrays:
        if not isinstance(name, str):
            raise TypeError(f"safetensors names tensors by str, not {type(name).__name__}: {name!r}")
        if name == METADATA:
            raise ValueError(f"safetensors has another use for the name {METADATA!r}")
