"""Files as loading and saving see them: bytes at a place, and a replacement that appears all at once or not at all."""

from __future__ import annotations

import io
import math
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

FileLike: TypeAlias = "str | os.PathLike[str] | IO[bytes]"


class LoadError(RuntimeError):
    """A file cannot be loaded: it is damaged, malicious, of another format, or holds what gradcore has no place for."""


class SafetensorError(LoadError):
    """A file or its bytes are not what the safetensors format asks for."""


class Source:
    """The bytes of a binary file from where it stands, read into memory of their own, or mapped.

    Nothing is allocated for bytes that the file does not have.
    """

    def __init__(self, file: IO[bytes], mapped: bool = False):
        whole = hasattr(file, "readinto") and file.tell() == 0
        self.file: Any = file if whole else io.BytesIO(file.read())
        self.size = self.file.seek(0, os.SEEK_END)
        self._map: Any = None
        if mapped and self.size:
            import mmap

            # Pages are read when they are first used, and copied when they are first written to.
            self._map = np.frombuffer(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)

    @property
    def mapped(self) -> bool:
        return self._map is not None

    def read(self, start: int, count: int) -> bytes:
        """`count` bytes from `start`, or as many as there are."""
        if not 0 <= start < self.size:
            return b""
        self.file.seek(start)
        data: bytes = self.file.read(min(count, self.size - start))
        return data

    def array(self, start: int, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray:
        """A writable array of the bytes from `start`.

        LoadError if there are fewer, or NumPy has no such arrays.
        """
        count = math.prod(shape) * dtype.itemsize
        if start < 0 or start + count > self.size:
            raise LoadError(f"the file ends before the {count} bytes at {start}")
        try:
            if self._map is None:
                out = np.empty(shape, dtype)
                self._fill(start, out.reshape(-1).view(np.uint8).data)
            else:
                out = self._map[start : start + count].view(dtype).reshape(shape)
                out = out if out.flags.aligned else out.copy()
        except ValueError as error:
            raise LoadError(f"there are no arrays of shape {tuple(shape)}: {error}") from None
        return out

    def _fill(self, start: int, buffer: memoryview) -> None:
        self.file.seek(start)
        while buffer:
            count = self.file.readinto(buffer)
            if not count:
                raise LoadError("the file got shorter while it was read")
            buffer = buffer[count:]


def native(array: np.ndarray, order: str) -> np.ndarray:
    """An array of its own whose bytes were written in the byte order `order`, with those of this machine."""
    return array if order == sys.byteorder else array.byteswap(inplace=True)


def checked(array: np.ndarray, name: str) -> np.ndarray:
    """`array`, unless it is one of booleans or text whose bytes NumPy would trust to be such, and are not."""
    if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise LoadError(f"{name!r:.80} is of type bool, but holds bytes other than 0 and 1")
    if array.dtype.kind == "U" and array.reshape(-1).view(f"{array.dtype.str[0]}u4").max(initial=0) > sys.maxunicode:
        raise LoadError(f"{name!r:.80} is text, but holds numbers that are no characters")
    return array


@contextmanager
def opened(f: FileLike, mapped: bool = False) -> Iterator[Source]:
    """A path or a seekable binary file to read from.

    What is raised as LoadError meanwhile gets the file's name.
    """
    try:
        if isinstance(f, (str, os.PathLike)):
            with open(f, "rb") as file:
                yield Source(file, mapped)
        else:
            if not all(hasattr(f, name) for name in ("read", "seek", "tell")):
                raise AttributeError(
                    f"{type(f).__name__!r} object has no attribute 'seek'. You can only gradcore.load from a file that "
                    "is seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it "
                    "instead."
                )
            if mapped:
                raise ValueError("f must be a file path in order to use the mmap argument")
            yield Source(f)
    except LoadError as error:
        name = f if isinstance(f, (str, os.PathLike)) else getattr(f, "name", type(f).__name__)
        error.args = (f"cannot load {os.fspath(name) if isinstance(name, os.PathLike) else name}: {error}",)
        raise


@contextmanager
def writing(f: FileLike) -> Iterator[IO[bytes]]:
    """A path or a binary file to write to.

    What is at a path stays until all is written, and on the disk; then the new file takes its place at once. If
    writing fails, nothing is left of it.

    Raises:
        RuntimeError: the folder of the path does not exist.
        AttributeError: neither a path nor a file.
    """
    if not isinstance(f, (str, os.PathLike)):
        if not hasattr(f, "write"):
            raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
        yield f
        return
    path = Path(os.path.realpath(f))  # of a link, that which it leads to
    if not path.parent.is_dir():
        raise RuntimeError(f"Parent directory {path.parent} does not exist.")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device; a folder cannot be opened
        with open(path, "wb") as file:
            yield file
        return
    _remove_leftovers(path)
    with _temporary(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        if os.name == "nt":  # which does not rename what is open
            file.close()
        os.replace(file.name, path)
    _sync_folder(path.parent)


@contextmanager
def _temporary(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path`, locked while it is written; removed if that fails."""
    while True:
        name = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
        file = open(name, "xb")
        # Whoever removes what is left over may have had the lock before.
        _lock(file, wait=True)
        if os.name == "nt" or os.fstat(file.fileno()).st_nlink:
            break
        file.close()
    try:
        with file:
            with suppress(OSError):
                os.chmod(name, stat.S_IMODE(path.stat().st_mode))
            yield file
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` have left."""
    temporary = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}\.tmp")
    for entry in os.scandir(path.parent):
        if temporary.fullmatch(entry.name):
            with suppress(OSError), open(entry.path, "rb") as file:
                if _lock(file):
                    os.unlink(entry.path)


def _lock(file: IO[bytes], wait: bool = False) -> bool:
    """Lock a file until it is closed, or the process ends; False where nothing can be locked or, unless it shall
    `wait`, the file is already."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too, where a folder can be asked for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
