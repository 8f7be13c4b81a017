"""Nested Python values as JSON, with their arrays beside it.

JSON's own values stand for themselves. What it cannot tell is an object whose first key begins with `$`, such as
`{"$tuple": [1, 2]}`; docs/design/files.md lists them. Nothing but the types named here is made from a text, whatever it
says.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.variable import Variable
from ..backends import Array
from ..devices import device as Device
from ..nn.parameter import Buffer, Parameter
from ..tensor.size import Size
from ..tensor.tensor import Tensor
from .files import LoadError, Source, checked
from .safetensors_format import DTYPES, METADATA, NAMES, Entry, as_tensor
from .tensors import MapLocation, dressed

# Containers in each other, at most: far from where Python's own stack ends. Pairs of keys and values are lists, too.
DEEPEST = 64
# Larger integers do not survive every JSON reader, and decimal digits take quadratic time.
_LARGE = 2**63
_SEQUENCES = {"tuple": tuple, "set": set, "frozenset": frozenset, "Size": Size}
_MAPPINGS = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    **_SEQUENCES,
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": lambda pairs: Counter(dict(pairs)),
}
_CLASSES = {"Tensor": Tensor, "Parameter": Parameter, "Buffer": Buffer}
_DTYPES = {d.name: d for d in dtypes.ALL}
# Types of NumPy's that safetensors has no name for: numbers, dates and text, in either byte order.
_NUMPY = re.compile(r"[<>|]([biufcSU]\d{1,9}|[mM]8(\[\d{0,9}[A-Za-z]{1,2}\])?)")


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _complex(parts: list[str]) -> complex:
    real, imaginary = parts
    return complex(float(real), float(imaginary))


_SCALARS: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    float: (repr, float),
    int: (hex, lambda text: int(text, 16)),
    complex: (lambda value: [repr(value.real), repr(value.imag)], _complex),
    bytes: (_base64, lambda text: base64.b64decode(text, validate=True)),
    bytearray: (_base64, lambda text: bytearray(base64.b64decode(text, validate=True))),
    dtypes.dtype: (lambda value: value.name, lambda name: _DTYPES[name]),
    Device: (str, Device),
}
_SCALARS_BY_NAME = {kind.__name__: read for kind, (_, read) in _SCALARS.items()}


def _numpy_name(dtype: np.dtype[Any]) -> str | None:
    """What a NumPy dtype is called in a file; None if it is not saved."""
    return NAMES.get(dtype) or (dtype.str if _NUMPY.fullmatch(dtype.str) else None)


def _numpy_dtype(name: Any) -> np.dtype[Any]:
    """The NumPy dtype that is called so in a file."""
    if type(name) is str and (name in DTYPES or _NUMPY.fullmatch(name)):
        found = DTYPES.get(name) or np.dtype(name)
        if found.itemsize:
            return found
    raise LoadError(f"its structure names a NumPy dtype that does not exist: {name!r:.80}")


# ---------------------------------------------------------------- to JSON
class Encoder:
    """Makes JSON of values and collects their arrays.

    `arrays` has them by a name that tells where they are (`optimizer.state.0.exp_avg`), `layouts` by the same name
    what to know of those that are not in C order on the CPU.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.layouts: dict[str, dict[str, Any]] = {}
        self._seen: dict[int, int] = {}
        self._memory: dict[Any, str] = {}

    def encode(self, value: Any, path: tuple[Any, ...] = ()) -> Any:
        """The JSON of a value, which is at `path` of what is saved.

        Raises:
            TypeError: it is, or contains, something that is not saved.
            ValueError: containers are nested too deeply, or contain themselves.
        """
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if (kind is int and -_LARGE <= value < _LARGE) or (kind is float and math.isfinite(value)):
            return value
        if kind in _SCALARS:
            return {f"${kind.__name__}": _SCALARS[kind][0](value)}
        if isinstance(value, (Variable, np.ndarray)):
            return self._once(value, path)
        if isinstance(value, np.generic) and (name := _numpy_name(value.dtype)):
            return {"$numpy": name, "bytes": value.tobytes().hex()}
        return self._container(value, kind.__name__, path)

    def _container(self, value: Any, name: str, path: tuple[Any, ...]) -> Any:
        if len(path) > DEEPEST:
            raise ValueError(f"save(): more than {DEEPEST} containers in each other, or one that contains itself")
        if type(value) is list:
            return [self.encode(item, (*path, i)) for i, item in enumerate(value)]
        if type(value) is _SEQUENCES.get(name):
            return {f"${name}": [self.encode(item, (*path, i)) for i, item in enumerate(value)]}
        if type(value) is dict and all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.encode(item, (*path, key)) for key, item in value.items()}
        if type(value) is _MAPPINGS.get(name):
            return {f"${name}": [self._pair(key, item, path) for key, item in value.items()]}
        raise _refusal(value, path)

    def _pair(self, key: Any, item: Any, path: tuple[Any, ...]) -> list[Any]:
        return [self.encode(key, (*path, f"the key {key!r:.60}")), self.encode(item, (*path, key))]

    def _once(self, value: Any, path: tuple[Any, ...]) -> dict[str, Any]:
        """A tensor or a NumPy array; one that has come before is named by its number."""
        if id(value) in self._seen:
            return {"$same": self._seen[id(value)]}
        name = type(value).__name__
        if type(value) is _CLASSES.get(name):
            node = self._tensor(value, name, path)
        elif type(value) in (np.ndarray, np.memmap) and (dtype := _numpy_name(value.dtype)):
            if dtype in DTYPES:
                node = {"$array": self._keep(value, path)}
            else:
                data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                node = {"$array": self._keep(data, path), "dtype": dtype, "shape": list(value.shape)}
        else:
            raise _refusal(value, path)
        self._seen[id(value)] = len(self._seen)
        return node

    def _tensor(self, tensor: Any, name: str, path: tuple[Any, ...]) -> dict[str, Any]:
        array = tensor._array
        place = (tensor.data_ptr(), array.shape, array.strides, array.dtype, tensor.device)
        known = self._memory.get(place) if array.size else None
        if known is None:
            known = self._memory[place] = self._keep(array, path)
            if tensor.is_cuda:
                self.layouts.setdefault(known, {})["device"] = str(tensor.device)
        node: dict[str, Any] = {"$tensor": known}
        if name != "Tensor":
            node["class"] = name
        if tensor.requires_grad:
            node["requires_grad"] = True
        attributes = tensor._attributes()
        if attributes:
            node["attributes"] = self.encode(attributes, path)
        return node

    def _keep(self, array: Array, path: tuple[Any, ...]) -> str:
        """Take an array; returns its name."""
        wanted = ".".join(map(str, path)).encode(errors="replace").decode() or "value"
        name, number = wanted, 1
        while name in self.arrays or name == METADATA:
            number += 1
            name = f"{wanted}#{number}"
        self.arrays[name] = array
        order = sorted(range(array.ndim), key=lambda dim: -array.strides[dim])
        if not array.flags.c_contiguous and array.transpose(order).flags.c_contiguous:
            self.layouts[name] = {"order": order}
        return name


def _refusal(value: Any, path: tuple[Any, ...]) -> TypeError:
    where = "obj" + "".join(f"[{key!r:.60}]" for key in path)
    kind = type(value)
    if hasattr(value, "state_dict"):
        advice = f"Save its state: {where}.state_dict()"
    elif isinstance(value, tuple):
        advice = "Save a tuple or, of a named one, its _asdict()"
    elif isinstance(value, Variable):
        advice = f"Save it as a plain one: {where}.detach()"
    elif isinstance(value, (np.ndarray, np.generic)):
        advice = f"Of NumPy, numbers, dates and text are saved, but not {value.dtype}"
    elif isinstance(value, Mapping):
        advice = f"Save dict({where})"
    else:
        advice = "Save what it is made of: vars(...), str(...), or numbers"
    return TypeError(
        f"save(): {where} is of type {kind.__module__}.{kind.__qualname__}, which cannot be saved: files hold tensors, "
        f"arrays, numbers, text, and dictionaries, lists, tuples and sets of them, so that nothing is run. {advice}"
    )


# ---------------------------------------------------------------- from JSON
@contextmanager
def _complaining(of: str) -> Iterator[None]:
    """LoadError for what Python and NumPy have to say about malformed values."""
    try:
        yield
    except LoadError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise LoadError(f"its structure has a malformed {of}: {type(error).__name__}: {error!s:.200}") from None


class Decoder:
    """Makes values of what `Encoder.encode` returned, and of the arrays that a file has under the names used there.

    Each array is read once and given to all that name it. LoadError for what an encoder does not write.
    """

    def __init__(self, source: Source, entries: Mapping[str, Entry], layouts: Any, map_location: MapLocation):
        with _complaining("layout"):
            self._orders = {name: layout.get("order") for name, layout in layouts.items()}
            self._locations = {name: str(layout.get("device", "cpu")) for name, layout in layouts.items()}
        self._source, self._entries, self._map_location = source, entries, map_location
        self._arrays: dict[str, np.ndarray] = {}
        self._memory: dict[str, Tensor] = {}
        self._seen: list[Any] = []

    def decode(self, node: Any, depth: int = 0) -> Any:
        """The value of a JSON value."""
        if type(node) is list:
            return self._items(node, depth)
        if type(node) is not dict:
            return node
        tag = next(iter(node), "")
        if not tag.startswith("$"):
            return dict(zip(node, self._items(list(node.values()), depth)))
        if tag in _READERS:
            return _READERS[tag](self, node[tag], node, depth)
        name, content = tag[1:], node[tag]
        if name in _CONTAINERS:
            content = self._items(content, depth)
        elif name not in _SCALARS_BY_NAME:
            raise LoadError(f"its structure asks for {name!r:.80}, which no file of gradcore holds")
        with _complaining(tag):
            return {**_SCALARS_BY_NAME, **_CONTAINERS}[name](content)

    def _items(self, nodes: Any, depth: int) -> list[Any]:
        if type(nodes) is not list:
            raise LoadError(f"its structure is malformed: {type(nodes).__name__} stands where a list was expected")
        if depth > 2 * DEEPEST:
            raise LoadError(f"its structure is nested deeper than {DEEPEST}")
        return [self.decode(item, depth + 1) for item in nodes]

    def _same(self, number: Any, node: Any, depth: int) -> Any:
        with _complaining("$same"):
            return self._seen[number]

    def _numpy(self, name: Any, node: Any, depth: int) -> Any:
        with _complaining("$numpy"):
            (value,) = checked(np.frombuffer(bytes.fromhex(node["bytes"]), _numpy_dtype(name)), "of a number")
            return value

    def _array(self, name: Any, node: Any, depth: int) -> np.ndarray:
        array = self._read(name)
        if "dtype" in node:
            with _complaining("$array"):
                if min(node["shape"], default=0) < 0:
                    raise ValueError(f"a shape of {node['shape']}")
                array = array.view(_numpy_dtype(node["dtype"])).reshape(node["shape"])
                array = checked(array if array.flags.aligned else array.copy(), name)
        self._seen.append(array)
        return array

    def _tensor(self, name: Any, node: Any, depth: int) -> Tensor:
        array = self._read(name)
        if name not in self._memory:
            # What is copied to a device is in C order there: dimensions are permuted afterwards.
            order, location = self._orders.get(name), self._locations.get(name, "cpu")
            laid = array if order is None else array.transpose(order)
            tensor = as_tensor(laid, name, location, self._map_location)
            self._memory[name] = tensor if order is None else tensor.permute(np.argsort(order).tolist()).detach()
        attributes = self.decode(node.get("attributes", {}), depth + 1)
        with _complaining("$tensor"):
            kind = _CLASSES[node.get("class", "Tensor")]
            tensor = dressed(self._memory[name].detach(), kind, node.get("requires_grad", False), attributes)
        self._seen.append(tensor)
        return tensor

    def _read(self, name: Any) -> np.ndarray:
        with _complaining("name of an array"):
            if name in self._arrays:
                return self._arrays[name]
            if name not in self._entries:
                raise LoadError(
                    f"its structure names an array {name!r:.80}, which the file does not have; "
                    "gradcore.utils.safetensors.load_file loads those that it has"
                )
        array = self._entries[name].read(self._source, name)
        with _complaining("layout"):
            order = self._orders.get(name)
            if order is not None:
                if sorted(order) != list(range(array.ndim)):
                    raise ValueError(f"{order!r:.80} is no order of {array.ndim} dimensions")
                array = np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
        self._arrays[name] = array
        return array


_READERS: dict[str, Callable[[Decoder, Any, dict[str, Any], int], Any]] = {
    "$array": Decoder._array,
    "$numpy": Decoder._numpy,
    "$same": Decoder._same,
    "$tensor": Decoder._tensor,
}
