"""Builds the emulator's runtime, its precompiled headers and the kernel modules."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from .. import hostcc
from .errors import CompileError

NATIVE = Path(__file__).parent / "native"
_RUNTIME_SOURCES = ("scheduler.cpp", "warp.cpp", "checker.cpp", "sanitizer.cpp", "launch.cpp")
_HEADER = "emu_cuda.h"
_OLDEST_GCC = 11

_COMMON = (
    "-std=c++17",
    "-g1",
    "-gdwarf-4",  # addr2line mixes up the files of DWARF 5
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-fno-strict-aliasing",
    "-w",
    "-pipe",
)
_MODE_FLAGS = {
    "fast": ("-O1", "-fwrapv", "-fsanitize=bounds", "-ffp-contract=fast"),
    "check": (
        "-O1",
        "-fsanitize=thread,bounds,alignment,shift,integer-divide-by-zero,signed-integer-overflow",
        "--param=tsan-instrument-func-entry-exit=0",
        "-ffp-contract=off",
    ),
}
# -nodefaultlibs keeps the compiler's own sanitizer libraries out.
_LINK_FLAGS = ("-nodefaultlibs", "-lm", "-lc", "-lgcc")


@functools.cache
def is_supported() -> tuple[bool, str]:
    """Whether the emulator can run here, and if not, why."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False, f"the emulated CUDA device needs Linux on x86-64, this is {sys.platform} on {platform.machine()}"
    try:
        version = _compiler().version
    except hostcc.HostCompilerError as error:
        return False, str(error)
    major = re.search(r"\) (\d+)\.", version)
    if major and int(major[1]) < _OLDEST_GCC:
        return False, f"the emulated CUDA device needs GCC {_OLDEST_GCC} or later, this is {version}; name one in $CXX"
    return True, ""


def _compiler() -> hostcc.HostCompiler:
    return hostcc.find_compiler("c++", "gcc")


@functools.cache
def cuda_include() -> Path:
    """The directory of `cuda_fp16.h`, of a pip wheel or a CUDA toolkit.

    Raises:
        CompileError: if there is none; the message says what to install.
    """
    roots: list[Path] = []
    for module in ("nvidia.cuda_runtime", "nvidia.cu13"):
        with contextlib.suppress(ModuleNotFoundError):
            spec = importlib.util.find_spec(module)
            roots += [Path(root) for root in (spec and spec.submodule_search_locations) or ()]
    roots += [Path(os.environ[name]) for name in ("CUDA_PATH", "CUDA_HOME") if name in os.environ]
    roots.append(Path("/usr/local/cuda"))
    for root in roots:
        if (root / "include" / "cuda_fp16.h").exists():
            return root / "include"
    raise CompileError(
        "the kernel includes cuda_fp16.h or cuda_bf16.h, which were not found: "
        "pip install nvidia-cuda-runtime-cu12 (or install a CUDA toolkit and set CUDA_PATH)"
    )


@functools.cache
def _native_text() -> str:
    return "".join(path.read_text() for path in sorted(NATIVE.rglob("*")) if path.is_file())


@functools.cache
def runtime_path() -> Path:
    compiler = _compiler()
    flags = ["-std=c++17", "-O2", "-g1", "-fPIC", "-shared", "-fvisibility=hidden"]

    def make(path: Path) -> None:
        sources = [str(NATIVE / name) for name in _RUNTIME_SOURCES]
        compiler.run([*flags, f"-Wl,-soname,{path.name}", *sources, "-o", str(path), "-lrt"])

    return hostcc.cached(["emulator runtime", compiler.version, *flags, _native_text()], ".so", make)


@functools.cache
def runtime() -> ctypes.CDLL:
    """The scheduler and checker, built on first use."""
    supported, reason = is_supported()
    if not supported:
        raise CompileError(reason)
    library = ctypes.CDLL(str(runtime_path()))
    library.emu_open_image.restype = ctypes.c_void_p
    library.emu_open_image.argtypes = [ctypes.c_void_p]
    return library


@functools.cache
def _flags(mode: str, half: bool) -> tuple[str, ...]:
    flags = [*_COMMON, *_MODE_FLAGS[mode]]
    if mode == "fast":
        flags += [f"-m{name}" for name in ("avx2", "fma") if name in hostcc.cpu_features()]
    if half:
        flags += ["-DEMU_HALF", f"-I{NATIVE / 'include'}", f"-I{cuda_include()}"]
    return tuple(flags)


@functools.cache
def _precompiled_header(mode: str, half: bool) -> Path:
    """A header that includes the emulator's, with its precompiled form beside it."""
    compiler = _compiler()
    flags = _flags(mode, half)
    key = ["emulator header", *compiler.command, compiler.version, *flags, _native_text()]

    def write(path: Path) -> None:
        path.write_text(f'#include "{NATIVE / "include" / _HEADER}"\n')

    header = hostcc.cached([*key, str(NATIVE)], ".h", write)

    def precompile(path: Path) -> None:
        compiler.run([*flags, "-x", "c++-header", str(header), "-o", str(path)])

    # GCC looks for HEADER.gch, so its name follows from the header's, not from a key.
    compiled = header.with_name(header.name + ".gch")
    if not compiled.exists():
        built = hostcc.cached([*key, str(NATIVE), "precompiled"], ".gch", precompile)
        os.replace(built, compiled)
    return header


def build_module(text: str, mode: str, half: bool) -> Path:
    """The shared library of a translated kernel source.

    Raises:
        CompileError: with the compiler's messages, which name lines of `kernel.cu`, the kernel's source.
    """
    compiler = _compiler()
    flags = _flags(mode, half)
    path = runtime_path()

    try:
        return hostcc.build_shared(
            text,
            language="c++",
            compiler=compiler,
            flags=[*flags, "-include", str(_precompiled_header(mode, half))],
            link_flags=[str(path), *_LINK_FLAGS],
            depends_on=[_native_text()],
        )
    except hostcc.HostCompilerError as error:
        raise CompileError(f"the kernel could not be compiled for the host:\n{error}") from None


def source_line(library: Path, offset: int) -> int | None:
    """The line of the kernel's source at a code offset of its module, if it can be found out."""
    if not offset:
        return None
    command = ["addr2line", "-i", "-e", str(library), hex(offset - 1)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"kernel\.cu:(\d+)", done.stdout)
    return int(found[1]) if found else None
