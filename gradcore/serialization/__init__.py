"""Saving and loading: safetensors and JSON, never pickle; PyTorch's files of weights, read without running anything.

`docs/checkpoints.md` shows how to save and resume training.
"""

from __future__ import annotations

from typing import Any

from .files import FileLike, LoadError, SafetensorError, Source, opened, writing
from .tensors import MapLocation

__all__ = ["LoadError", "SafetensorError", "load", "save"]

_VERSION = 1
# Where the structure is in the metadata of a safetensors file.
_KEY = "gradcore"


def save(obj: Any, f: FileLike) -> None:
    """Save tensors and plain values, nested as they are, into one safetensors file.

    The tensors are what any reader of safetensors sees, under names such as `model.0.weight`; the rest is JSON in the
    file's metadata. Saved and loaded again unchanged are dictionaries (`OrderedDict` and `Counter` too) with any keys,
    lists, tuples, sets, `Size`, numbers of any size, NaN and infinities, text, bytes, None, dtypes, devices, tensors,
    parameters and buffers with their `requires_grad`, NumPy's arrays and numbers. Tensors that are the same, or show
    the same elements of one memory, are so again when loaded; other views are saved as tensors of their own.

    A path holds the old file or the new one at any time, also if the process is killed meanwhile.

    Args:
        obj: what to save.
        f: a path, or a binary file to write to.

    Raises:
        TypeError: something in `obj` cannot be saved; the message says where it is. Nothing is written then.
        ValueError: a container that contains itself.
        RuntimeError: the folder of the path does not exist.
        OSError: the file cannot be written; the old one is still there.

    >>> import io
    >>> import gradcore
    >>> file = io.BytesIO()
    >>> gradcore.save({"weight": gradcore.ones(2), "epoch": 3, "betas": (0.9, 0.999)}, file)
    >>> _ = file.seek(0)
    >>> gradcore.load(file)
    {'weight': tensor([1., 1.]), 'epoch': 3, 'betas': (0.9, 0.999)}
    """
    # Imported here: most programs that import gradcore neither save nor load.
    import json

    from .safetensors_format import write
    from .structure import Encoder

    encoder = Encoder()
    structure: dict[str, Any] = {"version": _VERSION, "value": encoder.encode(obj)}
    if encoder.layouts:
        structure["layouts"] = encoder.layouts
    # Names and shapes are PyTorch's, which "pt" tells other readers.
    metadata = {"format": "pt", _KEY: json.dumps(structure, separators=(",", ":"), allow_nan=False)}
    with writing(f) as file:
        write(file, encoder.arrays, metadata)


def load(
    f: FileLike, map_location: MapLocation = None, *, weights_only: bool | None = None, mmap: bool | None = None
) -> Any:
    """Load what `gradcore.save` saved, any safetensors file, or a file of weights that PyTorch saved.

    Of a safetensors file that another library wrote the result is a dictionary of its tensors. Of PyTorch's files
    (`.pt`, `.pth`, as `torch.save` writes them since PyTorch 1.6) those are read that hold tensors, parameters and the
    containers and values that `torch.load(weights_only=True)` takes; a file that asks for anything else is refused.
    Nothing in a file is ever run.

    Args:
        f: a path, or a seekable binary file.
        map_location: where the tensors are to be: a device; a dictionary from the devices they were on to others; a
            function of a tensor on the CPU and the device it was on, which returns the tensor where it is to be, or
            None to leave that to `load`. By default they go where they were.
        weights_only: taken as PyTorch takes it, and without effect: nothing else is ever loaded.
        mmap: map the file into memory instead of reading it: tensors on the CPU are read when they are first used, and
            changes of them are kept from the file. The file must be a path, and not be changed in place meanwhile.

    Raises:
        LoadError: the file is damaged, of another format, or holds what cannot be loaded.
        OSError: it cannot be opened or read.
        AttributeError, ValueError, TypeError: arguments that are none.
    """
    with opened(f, bool(mmap)) as source:
        start = source.read(0, 24)
        if start.startswith(b"PK"):
            from .archive import load_archive

            return load_archive(source, map_location)
        if start[8:9] != b"{":
            raise LoadError(_unknown(start))
        return _load_safetensors(source, map_location)


def _load_safetensors(source: Source, map_location: MapLocation) -> Any:
    from .safetensors_format import parse_json, read_header, read_tensor
    from .structure import Decoder

    entries, metadata = read_header(source)
    if _KEY not in metadata:
        return {name: read_tensor(source, name, entry, map_location) for name, entry in entries.items()}
    structure = parse_json(metadata[_KEY], "its structure")
    version = structure.get("version") if type(structure) is dict else None
    if version != _VERSION or "value" not in structure:
        raise LoadError(f"its structure is of version {version!r:.40}; this gradcore reads version {_VERSION}")
    return Decoder(source, entries, structure.get("layouts", {}), map_location).decode(structure["value"])


_KINDS = (
    (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "it is in the format of PyTorch before version 1.6; PyTorch converts it: "
        "torch.save(torch.load(f, weights_only=True), f)",
    ),
    (
        b"\x80",
        "it is a pickle, which can run code when it is loaded: save its tensors with gradcore.save or torch.save",
    ),
    (b"\x93NUMPY", "it is an array of NumPy's: gradcore.from_numpy(numpy.load(f)) loads it"),
    (b"\x89HDF\r\n", "it is an HDF5 file: read it with h5py, and make tensors of its arrays"),
    (b"\x1f\x8b", "it is compressed by gzip: decompress it first"),
    (b"GGUF", "it is a GGUF file: save its tensors as safetensors"),
)


def _unknown(start: bytes) -> str:
    """What is wrong with a file that begins so."""
    if not start:
        return "it is empty"
    for magic, text in _KINDS:
        if start.startswith(magic):
            return text
    return f"it is neither safetensors nor PyTorch's: it begins with {start[:12]!r}"
