"""Files that mean harm, or were harmed: what `gradcore.load` must refuse, and in which words.

`corpus()` makes them, always the same; run as a script, this file loads all that are in a folder, within bounds of
memory and time, and prints what became of each.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MEMORY = 768 << 20  # beyond what the process has once gradcore is imported


class Case(NamedTuple):
    """A file, and what its error must say; None: it may as well load, which no check can tell from a good file."""

    name: str
    data: bytes
    text: str | None


# ---------------------------------------------------------------- safetensors
def framed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def safetensors(header: Any, data: bytes = b"") -> bytes:
    return framed(json.dumps(header).encode(), data)


def tensor(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "data_offsets": offsets,
        **more,
    }


def headers() -> Iterator[Case]:
    """Headers that are wrong in one way."""
    data = bytes(8)
    for length in (0, 1, 7, 8, 9, 15):
        yield Case(
            f"only {length} bytes", safetensors({"a": tensor()}, data)[:length], "empty|ends before|begins|header"
        )
    whole = safetensors({"a": tensor()}, data)
    for cut in range(16, len(whole), 5):
        yield Case(f"cut at {cut}", whole[:cut], "the header is said to have|the file has|ends before")
    yield Case("one byte more", whole + b"\0", "the file has 9 bytes of tensors, but its header tells of 8")
    for length in (10**8 + 1, 2**31, 2**63, 2**64 - 1):
        yield Case(f"a header of {length}", framed(b"{}", data, length), "at most 100000000 are allowed")
    yield Case("a header beyond the end", framed(b"{}", data, 10**8), "but the file has 18 in all")
    for name, header in {
        "no JSON": b"{hello}",
        "half JSON": b'{"a": {"dtype": "F32"',
        "two values": b"{}{}",
        "no UTF-8": b'{"\xff": 1}',
        "UTF-16": '{"a": 1}'.encode("utf-16-le"),
        "NaN": b'{"a": NaN}',
        "Infinity": b'{"a": -Infinity}',
        "long number": b'{"a": ' + b"9" * 10000 + b"}",
        "deep lists": b'{"a": ' + b"[" * 100000 + b"]" * 100000 + b"}",
        "deep objects": b'{"a": ' * 100000 + b"1" + b"}" * 100000,
    }.items():
        yield Case(name, framed(header, data), "the header is not JSON")
    one = json.dumps(tensor())
    yield Case("a name twice", framed(f'{{"a": {one}, "a": {one}}}'.encode(), data), "the name 'a' comes twice")
    yield Case("a field twice", framed(b'{"a": {"dtype": "F32", "dtype": "F32"}}', data), "comes twice")
    yield Case("metadata twice", framed(b'{"__metadata__": {}, "__metadata__": {}}', data), "comes twice")
    for metadata in (3, [], {"a": 1}, {"a": {}}, None, "a"):
        header = {"__metadata__": metadata, "a": tensor()}
        yield Case(f"metadata {metadata}", safetensors(header, data), "is not a dictionary of strings")
    for info in (3, None, [], "F32", {}, {"dtype": "F32"}, {"dtype": "F32", "shape": [2]}):
        yield Case(f"tensor {info}", safetensors({"a": info}, data), "it needs dtype, shape and data_offsets")
    for dtype in ("F31", "", "f32", None, 3, ["F32"], {"F32": 1}, "object", "O"):
        yield Case(f"dtype {dtype}", safetensors({"a": tensor(dtype)}, data), "there is no dtype")
    for shape in (None, 2, "2", [-2], [2.0], ["2"], [True, 2], [2**63], [[2]], {"2": 2}, [1] * 65):
        yield Case(f"shape {shape}", safetensors({"a": tensor(shape=shape)}, data), "its shape must be a list")
    for shape in ((2**62, 2), (2**32, 2**32), (2**62, 2**62, 2**62)):
        yield Case(f"shape {shape}", safetensors({"a": tensor(shape=shape)}, data), "there are no arrays of shape")
    for shape in ((0, 2**62), (2**62, 0)):
        yield Case(f"shape {shape}", safetensors({"a": tensor(shape=shape, offsets=[0, 0])}), "there are no arrays of")
    for shape in ((3,), (1,), (), (0,), (2, 2), (10**9,)):
        yield Case(
            f"shape {shape}", safetensors({"a": tensor(shape=shape)}, data), "have room for 8 bytes, but its shape"
        )
    for offsets in (None, 8, [], [0], [0, 8, 16], [-8, 0], [0.0, 8.0], ["0", "8"], [0, 2**63], [False, 8], {"0": 8}):
        yield Case(
            f"offsets {offsets}", safetensors({"a": tensor(offsets=offsets)}, data), "its data_offsets must be two"
        )
    for offsets in ([8, 0], [0, 7], [0, 9], [0, 2**62], [2**62, 2**63 - 1]):
        yield Case(
            f"offsets {offsets}", safetensors({"a": tensor(offsets=offsets)}, data), "have room for -?[0-9]+ bytes"
        )
    for offsets in ([8, 16], [4, 12], [2**40, 2**40 + 8]):
        yield Case(f"offsets {offsets}", safetensors({"a": tensor(offsets=offsets)}, data), "leaves a gap before it")
    for second in ([0, 8], [4, 12], [7, 15], [16, 24], [1, 9]):
        header = {"a": tensor(), "b": tensor(offsets=second)}
        yield Case(
            f"second at {second}", safetensors(header, bytes(24)), "overlaps the tensor before|leaves a gap before"
        )
    yield Case("a boolean of 2", safetensors({"a": tensor("BOOL", (2,), [0, 2])}, b"\1\2"), "bytes other than 0 and 1")
    for dtype, bits in (("F8_E4M3", 8), ("F4", 4), ("U64", 64), ("C64", 64)):
        header = {"a": tensor(dtype, (2,), [0, bits // 4])}
        yield Case(f"unknown {dtype}", safetensors(header, bytes(bits // 4)), "which (neither NumPy nor )?gradcore has")
    many = {str(i): tensor(shape=(0,), offsets=[0, 0]) for i in range(20000)}
    yield Case("many, and a gap", safetensors({**many, "z": tensor(offsets=[8, 16])}, data), "leaves a gap")


def structures() -> Iterator[Case]:
    """Headers that are right, and structures that are not."""
    entries = {"a": tensor(), "m": tensor("U8", (4,), [8, 12])}

    def case(name: str, value: Any, text: str | None, layouts: Any = None, **more: Any) -> Case:
        structure = {"version": 1, "value": value, **more} | ({} if layouts is None else {"layouts": layouts})
        content = structure if isinstance(name, bytes) else json.dumps(structure)
        return Case(
            f"structure {name}", safetensors({"__metadata__": {"gradcore": content}, **entries}, bytes(12)), text
        )

    for text in ("", "{", "null", "3", "[]", '{"version": 1}', '{"value": 1}', '{"version": "1", "value": 1}', "{}{}"):
        data = safetensors({"__metadata__": {"gradcore": text}, **entries}, bytes(12))
        yield Case(f"structure text {text}", data, "its structure is (not JSON|of version)")
    for version in (0, 2, None, "1", [1], 1e300):
        yield case(f"version {version}", 1, "its structure is of version", version=version)
    for name in ("b", "", None, 3, [], {}, ["a"], "__metadata__"):
        yield case(f"tensor {name}", {"$tensor": name}, "names an array|malformed name")
        yield case(f"array {name}", [{"$array": name}], "names an array|malformed name")
    for tag in ("eval", "object", "os.system", "Tensor", "$", "", "__import__", "type", "reduce", "same ", "partial"):
        yield case(f"tag {tag}", {f"${tag}": ["echo"]}, "its structure asks for")
    for tag, content in (
        *(("tuple", x) for x in (3, None, "ab", {"0": 1})),
        *(("set", x) for x in (3, [[1]], [{"a": 1}])),
        *(("dict", x) for x in (3, [1], [[1]], [[1, 2, 3]], [[[1], 2]], {"a": 1}, ["abc"])),
        *(("OrderedDict", x) for x in ([1], [[{}, 1]])),
        *(("Counter", x) for x in ([1], [[[], 1]])),
        *(("Size", x) for x in (["a"], [1.5], 3, [None])),
        *(("float", x) for x in ("one", None, [], {})),
        *(("int", x) for x in ("zz", None, 3, "0x" + "g")),
        *(("complex", x) for x in ("1j", [], ["a", "b"], ["1", "2", "3"], 3)),
        *(("bytes", x) for x in ("#", "abc", 3, None, ["YQ=="])),
        *(("dtype", x) for x in ("object", "float31", None, [], "O")),
        *(("device", x) for x in ("mars", "", 3.5, None, "cuda:x", [])),
        *(("same", x) for x in (0, 5, "a", None, 2**70)),
        *(
            ("numpy", x)
            for x in ("O", "|O8", "V4", "<f8", "<U999999999", "S0", "<f7", "M8[xx]", None, [], "a,b", "F32")
        ),
    ):
        yield case(f"{tag} {content}", {f"${tag}": content}, "its structure")
    for number in (
        {"$numpy": "F32", "bytes": "00"},
        {"$numpy": "BOOL", "bytes": "02"},
        {"$numpy": "<U1", "bytes": "ff" * 4},
    ):
        yield case(f"number {number}", number, "malformed \\$numpy|other than 0 and 1|no characters")
    for fields in (
        {"class": "Module"},
        {"class": None},
        {"class": []},
        {"requires_grad": 1},
        {"requires_grad": "yes"},
        {"attributes": {"backward": 1}},
        {"attributes": {"_array": 1}},
        {"attributes": {"__class__": 1}},
        {"attributes": {"__dict__": {}}},
        {"attributes": {"data": None}},
        {"attributes": [1]},
        {"attributes": 3},
    ):
        yield case(f"fields {fields}", {"$tensor": "a", **fields}, "malformed \\$tensor")
    yield case("grad of bytes", {"$tensor": "m", "requires_grad": True}, "can require gradients|require gradients")
    for fields in (
        {"dtype": "|O8", "shape": [1]},
        {"dtype": "<f4", "shape": [2]},
        {"dtype": "<f8", "shape": [1]},
        {"dtype": "<f4"},
        {"dtype": "<f4", "shape": [-3]},
        {"dtype": "<f4", "shape": "1"},
        {"dtype": "|b1", "shape": [2**62, 4]},
        {"dtype": 3, "shape": [1]},
    ):
        yield case(f"raw {fields}", {"$array": "m", **fields}, "its structure")
    for layouts in (3, [], {"a": 3}, {"a": {"order": 3}}, {"a": {"order": [1]}}, {"a": {"order": [0, 0]}}, {"a": []}):
        yield case(f"layouts {layouts}", {"$tensor": "a"}, "its structure has a malformed layout", layouts)
    for order in ([-1], [0.5], ["0"], [[0]], "0", [2**70]):
        yield case(f"order {order}", {"$tensor": "a"}, "its structure has a malformed layout", {"a": {"order": order}})
    for device in ("mars", "cuda:77", "cuda:", "", "meta", "cpu:x"):
        yield case(
            f"on {device}",
            {"$tensor": "a"},
            "restore data location|Attempting to deserialize",
            {"a": {"device": device}},
        )
    for device in (None, 3, [], {}):
        yield case(
            f"on {device}", {"$tensor": "a"}, "data location|Attempting to deserialize", {"a": {"device": device}}
        )
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    yield case("deep", deep, "nested deeper")
    for _ in range(200):
        deep = {"$tuple": [deep]}
    yield case("deeper", deep, "nested deeper|not JSON")
    wide: Any = {"$tensor": "a", "attributes": {}}
    for _ in range(120):
        wide: Any = {"$tensor": "a", "attributes": {"x": wide}}
    yield case("deep attributes", wide, "nested deeper|not JSON")
    yield case("the same a hundred thousand times", [{"$tensor": "a"}] * 100_000, None)


# ---------------------------------------------------------------- PyTorch's archives
def archive(files: dict[str, bytes], folder: str = "archive/", method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as target:
        for name, data in files.items():
            target.writestr(folder + name, data)
    return out.getvalue()


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ"


def number(n: int) -> bytes:
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sizes(values: Any) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def rebuilt(
    offset: Any = 0, size: Any = (2,), stride: Any = (1,), storage: bytes = STORAGE, more: bytes = b"\x89"
) -> bytes:
    """A pickle of one tensor."""
    head = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sizes(size) + sizes(stride)
    return head + more + b"ccollections\nOrderedDict\n)RtR."


def weights(pickled: bytes, data: bytes = bytes(8), **more: bytes) -> bytes:
    return archive({"data.pkl": pickled, "byteorder": b"little", "data/0": data, "version": b"3\n", **more})


def called(name: str, arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return b"\x80\x02c" + module.encode() + b"\n" + function.encode() + b"\n" + arguments + b"R."


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def programs(canary: str) -> Iterator[Case]:
    """Pickles that would run code, each of which would leave the canary."""

    touch = b"(" + text(f"touch {canary}") + b"t"
    python = b"(" + text(f"open({canary!r}, 'w')") + b"t"
    for name in ("os.system", "posix.system", "os.popen", "subprocess.getoutput", "commands.getoutput", "pty.spawn"):
        yield Case(name, weights(called(name, touch)), f"asks for '{name}', which is refused")
    for name in (
        "builtins.eval",
        "builtins.exec",
        "__builtin__.eval",
        "__builtin__.exec",
        "timeit.timeit",
        "cProfile.run",
    ):
        yield Case(name, weights(called(name, python)), "asks for '.*', which is refused")
    opened = b"(" + text(canary) + text("w") + b"t"
    for name in ("builtins.open", "io.open", "os.open", "pathlib.Path", "gradcore.save", "numpy.save", "shutil.copy"):
        yield Case(name, weights(called(name, opened)), "which is refused")
    for name in (
        "builtins.getattr",
        "builtins.__import__",
        "importlib.import_module",
        "operator.attrgetter",
        "functools.partial",
        "pickle.loads",
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
        "torch.storage._load_from_bytes",
        "torch._utils._rebuild_tensor_v2.__globals__",
        "torch._utils.__builtins__",
        "collections.namedtuple",
        "collections.OrderedDict.fromkeys",
        "types.CodeType",
        "types.FunctionType",
        "copyreg._reconstructor",
        "numpy.core.multiarray._reconstruct",
        "numpy.testing._private.utils.runstring",
        "gradcore.serialization.archive._find",
        "__main__.Net",
        "a\u00e9.b",
        ".",
        "x" * 5000 + ".y",
    ):
        yield Case(
            f"name {name[:40]}", weights(called(name, b"(" + text("os") + b"t")), "refused|damaged|kind of tensor"
        )
    protocol4 = b"\x80\x04\x8c\x02os\x8c\x06system\x93" + touch + b"R."
    yield Case("stack global", weights(protocol4), "asks for 'os.system', which is refused")
    yield Case("instance", weights(b"(" + text(f"touch {canary}") + b"ios\nsystem\n."), "uses the operation INST")
    yield Case("object", weights(b"(cos\nsystem\n" + text(f"touch {canary}") + b"o."), "asks for 'os.system'")
    yield Case("new object", weights(b"\x80\x02cos\nsystem\n)\x81."), "asks for 'os.system'")
    yield Case("extension", weights(b"\x80\x02\x82\x01."), "uses the operation EXT1")
    yield Case("buffer", weights(b"\x80\x05\x97."), "uses the operation NEXT_BUFFER")
    build = b"\x80\x02ccollections\nOrderedDict\n)R}" + text("items") + text(f"touch {canary}") + b"sb."
    yield Case("state", weights(build), "sets attributes of an OrderedDict")
    tensor_state = rebuilt()[:-1] + b"}" + text("__class__") + b"Nsb."
    yield Case("state of a tensor", weights(tensor_state), "damaged")
    inner = pickle.dumps({"a": 1}, 2)
    for target in ("data.pkl/../../x", "../data.pkl", "/etc/data.pkl"):
        yield Case(f"path {target}", archive({target: inner}, ""), None)


def bombs() -> Iterator[Case]:
    """Small files that want to be large."""
    lists = b"\x80\x02]q\x00" + b"".join(
        b"](" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1]) for i in range(60)
    )
    yield Case("lists of lists", weights(lists + b"."), None)
    tuples = b"\x80\x02)q\x00" + b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(100)
    )
    yield Case("a hash that never ends", weights(tuples + b"}h\x64K\x01s."), "has a key of type tuple")
    yield Case(
        "a set that never ends", weights(b"\x80\x04" + tuples[2:] + b"\x8f(h\x64\x90."), "has a key of type tuple"
    )
    yield Case("a long key", weights(b"\x80\x02}(" + b"K\x01" * 65 + b"tNs."), "has a key of type tuple")
    made = tuples + b"cbuiltins\nset\n](h\x64e\x85R."
    yield Case("a set of a list", weights(made), "has a key of type tuple")
    long = b"\x80\x02](" + text("x" * 200_000) + b"q\x00"
    copies = b"c_codecs\nencode\nq\x01" + (b"h\x01h\x00" + text("latin1") + b"\x86R") * 20_000
    yield Case("copies of a text", weights(long + copies + b"e."), "copies its values again and again")
    many = b"\x80\x02](](" + b"K\x01" * 20_000 + b"eq\x00" + b"cbuiltins\nset\nq\x01" + b"h\x01h\x00\x85R" * 20_000
    yield Case("copies of a list", weights(many + b"e."), "copies its values again and again")
    for name, start in {
        "text": b"\x8d" + struct.pack("<Q", 2**62),
        "short text": b"X" + struct.pack("<I", 2**32 - 1),
        "bytes": b"\x8e" + struct.pack("<Q", 2**40),
        "bytearray": b"\x96" + struct.pack("<Q", 2**40),
        "number": b"\x8b" + struct.pack("<i", 2**31 - 1),
        "negative number": b"\x8b" + struct.pack("<i", -1),
        "frame": b"\x95" + struct.pack("<Q", 2**60),
    }.items():
        yield Case(f"a long {name}", weights(b"\x80\x05" + start + b"."), "its pickle is damaged at byte")
    yield Case(
        "a number of a million digits",
        weights(b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b"."),
        "more than 8192",
    )
    yield Case(
        "a bytearray of many", weights(called("builtins.bytearray", b"(" + number(2**45) + b"t")), "bytearray of int"
    )
    yield Case("a memo far away", weights(b"\x80\x02Nr\xff\xff\xff\xff."), None)
    yield Case("deep lists in a pickle", weights(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."), None)
    yield Case("deep tuples", weights(b"\x80\x02N" + b"\x85" * 200_000 + b"."), None)
    yield Case("many marks", weights(b"\x80\x02" + b"(" * 300_000 + b"t" * 10 + b"."), None)
    yield Case("a list of itself", weights(b"\x80\x02]q\x00h\x00a."), None)
    zeros = bytes(20 << 20)
    yield Case(
        "a compressed record",
        archive({"data.pkl": rebuilt(), "data/0": zeros}, method=zipfile.ZIP_DEFLATED),
        "compressed or encrypted",
    )
    yield Case(
        "a compressed pickle",
        archive({"data.pkl": zeros[:100_000]}, method=zipfile.ZIP_BZIP2),
        "compressed or encrypted",
    )
    yield Case("LZMA", archive({"data.pkl": zeros[:100_000]}, method=zipfile.ZIP_LZMA), "compressed or encrypted")
    good = weights(rebuilt())
    start = good.index(b"PK\x01\x02")
    entries = good[start : good.index(b"PK\x05\x06")]
    for times in (2, 1000):
        # Many entries of the directory that mean the same bytes.
        directory = entries * times
        end = struct.pack(
            "<4s4H2IH", b"PK\x05\x06", 0, 0, min(4 * times, 65535), min(4 * times, 65535), len(directory), start, 0
        )
        yield Case(f"{times} directories", good[:start] + directory + end, "the same name")
    renamed = entries.replace(b"archive/data/0", b"archive/data/1")
    directory = entries + renamed[renamed.index(b"PK\x01\x02", renamed.index(b"byteorder")) :]
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 6, 6, len(directory), start, 0)
    yield Case("overlapping records", good[:start] + directory + end, "overlaps|the same name")
    for size in (2**31, 2**32 - 2):
        grown = good.replace(struct.pack("<II", 8, 8), struct.pack("<II", size, size))
        yield Case(f"a record of {size}", grown, "overlaps what comes after it|damaged")
    nested = weights(rebuilt())
    for _ in range(3):
        nested = archive({"data.pkl": nested})
    yield Case("archives in archives", nested, "damaged|operation")


def tensors() -> Iterator[Case]:
    """Tensors that do not fit their storages, and storages that do not fit their records."""
    for offset, size, stride in (
        (1, (2,), (1,)),
        (0, (3,), (1,)),
        (0, (2,), (2,)),
        (2, (1,), (1,)),
        (2**62, (1,), (1,)),
        (0, (2**40,), (1,)),
        (0, (2, 2), (2**40, 1)),
        (0, (2, 2), (2**62, 2**62)),
        (0, (), ()),
    ):
        case = rebuilt(offset, size, stride)
        yield Case(f"view {offset} {size} {stride}", weights(case), "that ends at element" if size else None)
    for offset, size, stride in (
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), ()),
        (0, (1,) * 65, (1,) * 65),
    ):
        yield Case(f"view {offset} {size[:3]} {stride[:3]}", weights(rebuilt(offset, size, stride)), "damaged")
    for size in ((2**40,), (2**62,), (2**31, 2**31, 2**31), (2**63 - 1,)):
        stride = (0,) * len(size)
        yield Case(f"expanded {size}", weights(rebuilt(0, size, stride)), None)
    for count in (0, 1, 3, 2**31, 2**62, -1):
        storage = STORAGE.replace(b"K\x02t", number(count) + b"t")
        yield Case(
            f"storage of {count}", weights(rebuilt(storage=storage)), "numbers of float32 are said|not a storage"
        )
    for key in ("1", "", "../0", "/etc/passwd", "0/../0", "0\u0000", "x" * 300):
        storage = STORAGE.replace(b"X\x01\0\0\x000", text(key))
        yield Case(f"key {key[:20]!r}", weights(rebuilt(storage=storage)), "the archive has no record|damaged")
    for location in ("mars", "cuda:77", "mps", "meta", "", "cuda:-1", "\u0000"):
        storage = STORAGE.replace(text("cpu"), text(location))
        yield Case(
            f"location {location!r}",
            weights(rebuilt(storage=storage)),
            "restore data location|Attempting to deserialize",
        )
    for name, storage in {
        "nothing": b"NQ",
        "text": text("0") + b"Q",
        "short": b"(" + text("storage") + b"tQ",
        "module": STORAGE.replace(text("storage"), text("module")),
        "type": STORAGE.replace(b"ctorch\nFloatStorage\n", b"ctorch\nfloat32\n"),
        "list": STORAGE[:-2] + b"l" + b"Q",
    }.items():
        yield Case(f"identifier {name}", weights(rebuilt(storage=storage)), "not a storage|uses the operation LIST")
    yield Case("no storage", weights(rebuilt(storage=b"N")), "damaged")
    yield Case("a list for a storage", weights(rebuilt(storage=b"]")), "damaged")
    for kind in ("ComplexFloat", "QInt8", "QUInt4x2", "ComplexDouble"):
        storage = STORAGE.replace(b"FloatStorage", kind.encode() + b"Storage")
        yield Case(f"{kind} storage", weights(rebuilt(storage=storage)), "a kind of tensor that gradcore has not")
    yield Case(
        "bytes as booleans", weights(rebuilt(storage=STORAGE.replace(b"Float", b"Bool")), b"\x02\x03"), "0 and 1"
    )
    integers = rebuilt(storage=STORAGE.replace(b"Float", b"Long"), more=b"\x88")
    yield Case("integers that require grad", weights(integers, bytes(16)), "damaged.*gradients")
    yield Case(
        "two types of one storage",
        weights(b"\x80\x02(" + rebuilt()[2:-1] + rebuilt(storage=STORAGE.replace(b"Float", b"Int"))[2:-1] + b"t."),
        "two things of the storage",
    )
    for name in ("_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_nested_tensor", "_rebuild_wrapper_subclass"):
        yield Case(name, weights(called(f"torch._utils.{name}", b")")), "a kind of tensor that gradcore has not")
    attribute = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n("
    attribute += rebuilt()[len(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(") : -2] + b"}"
    for name in ("backward", "_array", "__class__", "data"):
        yield Case(f"attribute {name}", weights(attribute + text(name) + b"NstR."), "not for a file to set")
    for order in (b"", b"middle", b"\xff", b"little\n", b"x" * 100_000):
        yield Case(f"byte order {order[:10]!r}", weights(rebuilt(), byteorder=order), "its byte order is")


def damaged_archives() -> Iterator[Case]:
    good = weights(rebuilt())
    for cut in [*range(4, len(good), 23), len(good) - 1]:
        yield Case(f"archive cut at {cut}", good[:cut], "damaged|not one of PyTorch's|neither safetensors")
    for name, files in {
        "empty": {},
        "no pickle": {"version": b"3"},
        "an empty pickle": {"data.pkl": b""},
        "a pickle without end": {"data.pkl": b"\x80\x02}"},
        "a pickle of nothing": {"data.pkl": b"."},
        "a pickle of text": {"data.pkl": b"hello"},
        "no storage": {"data.pkl": rebuilt()},
        "a short record": {"data.pkl": rebuilt(), "data/0": b"1234"},
        "a long record": {"data.pkl": rebuilt(), "data/0": bytes(12)},
        "a program": {"data.pkl": rebuilt(), "constants.pkl": b"", "code/a.py": b"print(1)"},
    }.items():
        yield Case(f"archive with {name}", archive(files), "damaged|no record|not one of PyTorch|are said|TorchScript")
    yield Case("two pickles", archive({"a/data.pkl": rebuilt(), "b/data.pkl": rebuilt()}, ""), "not one of PyTorch's")
    flag = bytearray(good)
    flag[good.index(b"PK\x01\x02") + 8] |= 1
    yield Case("encrypted", bytes(flag), "compressed or encrypted")
    rng = random.Random(1)
    for i in range(30):
        program = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 60)))
        yield Case(f"random pickle {i}", weights(b"\x80\x02" + program + b"."), None)


def flips() -> Iterator[Case]:
    """Good files with single bits, bytes and runs of bytes changed."""
    structure = json.dumps({"version": 1, "value": {"a": {"$tensor": "a"}, "t": {"$tuple": [1, {"$float": "nan"}]}}})
    good = {
        "safetensors": safetensors({"__metadata__": {"gradcore": structure}, "a": tensor()}, bytes(8)),
        "archive": weights(rebuilt()),
    }
    rng = random.Random(0)
    for kind, data in good.items():
        for i in range(120):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 1, 1, 2, 5))):
                changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            if i % 10 == 0:
                at = rng.randrange(len(data))
                changed[at : at + 8] = rng.randbytes(rng.randrange(16))
            yield Case(f"{kind} changed {i}", bytes(changed), None)


def corpus(canary: str) -> list[Case]:
    """All files. Those that run code would make a file `canary`."""
    groups = (headers(), structures(), programs(canary), bombs(), tensors(), damaged_archives(), flips())
    return [case for group in groups for case in group]


# ---------------------------------------------------------------- loading them
HARMFUL = (
    "os.",
    "subprocess.",
    "socket.",
    "pty.",
    "shutil.",
    "ctypes.",
    "webbrowser.",
    "exec",
    "compile",
    "pickle.",
    "marshal.",
)


def main(folder: Path) -> None:
    """Load every file of a folder, read and mapped; one line of JSON for each."""
    import resource
    import time

    import gradcore
    import gradcore.serialization.archive
    import gradcore.serialization.structure
    from gradcore.serialization import LoadError

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    harm: list[str] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(HARMFUL) or (event == "open" and Path(str(arguments[0])).parent != folder):
            harm.append(f"{event} {arguments}"[:200])

    for mapped in (False, True):
        for path in sorted(folder.iterdir()):
            harm.clear()
            started = time.process_time()
            try:
                gradcore.load(path, mmap=mapped)
                found: dict[str, Any] = {"error": None, "text": ""}
            except LoadError as error:
                found = {"error": "LoadError", "text": str(error)}
            except BaseException as error:
                found = {"error": type(error).__name__, "text": str(error)[:1000]}
            found |= {"name": path.name, "mapped": mapped, "harm": harm[:], "seconds": time.process_time() - started}
            print(json.dumps(found), flush=True)
        sys.addaudithook(audit)  # now that all modules are imported, which is reading and running files


if __name__ == "__main__":
    main(Path(sys.argv[1]))
