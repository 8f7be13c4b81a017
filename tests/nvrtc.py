"""NVRTC by itself, through ctypes: compiles kernels for any architecture without a driver or a GPU.

Comes with the wheels nvidia-cuda-nvrtc-cu12 and nvidia-cuda-runtime-cu12 (CUDA's headers), or, for CUDA 13,
nvidia-cuda-nvrtc and nvidia-cuda-runtime. `$GRADCORE_NVRTC` (12 or 13) chooses between them.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple


class _Toolkit(NamedTuple):
    """Where the wheels of one CUDA put NVRTC and its headers, and how they are installed."""

    package: str
    library: str
    headers: str
    wheels: str


_TOOLKITS = {
    12: _Toolkit(
        "nvidia.cuda_nvrtc",
        "lib/libnvrtc.so.12",
        "nvidia.cuda_runtime",
        "nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12",
    ),
    13: _Toolkit(
        "nvidia.cu13",
        "lib/libnvrtc.so.13",
        "nvidia.cu13",
        "'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cuda-runtime>=13,<14'",
    ),
}
_SPILL = re.compile(r"Function properties for (\S+)\s.*?(\d+) bytes spill stores", re.DOTALL)


class NvrtcError(Exception):
    """A source that NVRTC refuses, or a kernel that spills registers."""


def _locate(package: str, path: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    places = spec.submodule_search_locations or () if spec else ()
    return next((found for place in places if (found := Path(place) / path).exists()), None)


def _located(major: int) -> tuple[Path, Path] | None:
    """NVRTC and the headers that belong to it."""
    toolkit = _TOOLKITS[major]
    library, header = _locate(toolkit.package, toolkit.library), _locate(toolkit.headers, "include/cuda_fp16.h")
    return (library, header.parent) if library and header else None


def default() -> int:
    """The CUDA whose NVRTC is used: the one that `$GRADCORE_NVRTC` asks for, or the first that is installed."""
    asked = os.environ.get("GRADCORE_NVRTC")
    if asked is None:
        return next((major for major in _TOOLKITS if _located(major)), 12)
    if asked not in map(str, _TOOLKITS):
        raise ValueError(f"GRADCORE_NVRTC: expected 12 or 13, got {asked!r}")
    return int(asked)


def available(major: int | None = None) -> bool:
    """Whether NVRTC and CUDA's headers are installed, of one CUDA or of the default one."""
    return _located(major or default()) is not None


def missing(major: int | None = None) -> str:
    """What to install where `available` says no."""
    return f"NVRTC is missing: pip install {_TOOLKITS[major or default()].wheels}"


class Nvrtc:
    """The loaded library of CUDA 12 or 13."""

    def __init__(self, major: int) -> None:
        located = _located(major)
        if located is None:
            raise NvrtcError(missing(major))
        library, include = located
        self._nvrtc = ctypes.CDLL(str(library))
        self._nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        version = (ctypes.c_int(), ctypes.c_int())
        self._check(self._nvrtc.nvrtcVersion(*map(ctypes.byref, version)))
        self.version = tuple(number.value for number in version)
        self._include = f"-I{include}"

    def compile(self, source: str, architecture: str, options: Sequence[str] = ()) -> tuple[bytes, str]:
        """Machine code for `"sm_90"`, or PTX for `"compute_90"`, and the compiler's log."""
        program = ctypes.c_void_p()
        self._check(self._nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
        try:
            texts = [f"--gpu-architecture={architecture}", self._include, *options]
            array = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
            status = self._nvrtc.nvrtcCompileProgram(program, len(texts), array)
            log = self._text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if status:
                raise NvrtcError(f"{architecture}: {log}")
            return self._text(program, "CUBIN" if architecture.startswith("sm_") else "PTX"), log
        finally:
            self._nvrtc.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._nvrtc, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def _check(self, status: int) -> None:
        if status:
            raise NvrtcError(self._nvrtc.nvrtcGetErrorString(status).decode())


@cache
def nvrtc(major: int | None = None) -> Nvrtc:
    """The library of one CUDA, or of the default one, loaded once."""
    return Nvrtc(major or default())


def spills(log: str) -> dict[str, int]:
    """The kernels that keep registers in memory, and how many bytes of them: from the log of a verbose compilation."""
    return {name: int(size) for name, size in _SPILL.findall(log) if int(size)}


def verify(
    source: str, options: Sequence[str], architectures: Sequence[str] = ("sm_80", "sm_90"), cache: Path | None = None
) -> None:
    """Compile for every architecture; what has passed once is remembered on disk.

    Raises:
        NvrtcError: if the source does not compile, warns, or a kernel spills.
    """
    compiler = nvrtc()
    cache = cache or Path(tempfile.gettempdir()) / f"gradcore-nvrtc-{os.getuid()}"
    for architecture in architectures:
        identity = repr((source, tuple(options), architecture, compiler.version))
        passed = cache / hashlib.sha256(identity.encode()).hexdigest()
        if passed.exists():
            continue
        _, log = compiler.compile(source, architecture, [*options, "--ptxas-options=--verbose"])
        spilled = spills(log)
        if spilled:
            raise NvrtcError(f"{architecture}: registers spill: {spilled}")
        if "warning" in log:
            raise NvrtcError(f"{architecture}: {log}")
        cache.mkdir(parents=True, exist_ok=True)
        passed.touch()
