"""NVRTC by itself, through ctypes: compiles kernels for any architecture without a driver or a GPU.

Comes with the wheels nvidia-cuda-nvrtc-cu12 and nvidia-cuda-runtime-cu12 (CUDA's headers).
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

_LIBRARIES = (("nvidia.cuda_nvrtc", "lib/libnvrtc.so.12"), ("nvidia.cu13", "lib/libnvrtc.so.13"))
_INCLUDES = (("nvidia.cuda_runtime", "include"), ("nvidia.cu13", "include"))
_SPILL = re.compile(r"Function properties for (\S+)\s.*?(\d+) bytes spill stores", re.DOTALL)


# ptxas keeps a register or two in memory where that lets one more block run beside the others.
TOLERATED_SPILL = 16


class NvrtcError(Exception):
    """A source that NVRTC refuses, or a kernel that spills registers."""


def _locate(candidates: Sequence[tuple[str, str]], marker: str = "") -> Path | None:
    for module, path in candidates:
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            continue
        for place in spec.submodule_search_locations or () if spec else ():
            found = Path(place) / path
            if (found / marker).exists():
                return found
    return None


def available() -> bool:
    """Whether NVRTC and CUDA's headers are installed."""
    return _locate(_LIBRARIES) is not None and _locate(_INCLUDES, "cuda_fp16.h") is not None


class Nvrtc:
    """The loaded library."""

    def __init__(self) -> None:
        library = _locate(_LIBRARIES)
        if library is None:
            raise NvrtcError("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12")
        self._nvrtc = ctypes.CDLL(str(library))
        self._nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = (major.value, minor.value)
        self._include = f"-I{_locate(_INCLUDES, 'cuda_fp16.h')}"

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
def nvrtc() -> Nvrtc:
    """The library, loaded once."""
    return Nvrtc()


def spills(log: str) -> dict[str, int]:
    """The kernels that keep registers in memory, and how many bytes of them: from the log of a verbose compilation."""
    return {name: int(size) for name, size in _SPILL.findall(log) if int(size) > TOLERATED_SPILL}


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
