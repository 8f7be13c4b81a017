"""What gradcore finds on this machine: the text of `python -m gradcore info`.

A report is wanted most where something is broken, so no probe may end it: whatever one raises becomes its line.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import __version__

Rows = Iterator[tuple[str, str]]
_MEANINGS = {
    None: "not set: 'cuda' is the GPU, through CuPy",
    "cpu": "cpu: 'cuda' is the CPU",
    "emulate": "emulate: 'cuda' is the emulated device",
}


def report() -> str:
    """Versions, devices, kernels and their caches, settings, and what is missing, as text. Imports CuPy."""
    lines = [f"gradcore {__version__}"]
    for title, probes in _SECTIONS.items():
        rows = [row for probe in probes for row in _rows(probe)]
        if rows:
            width = max(len(name) for name, _ in rows)
            lines += ["", title, *(f"  {name:{width}}  {value}" for name, value in rows)]
    return "\n".join(lines)


def _rows(probe: Callable[[], Rows]) -> Rows:
    try:
        yield from probe()
    except Exception as error:
        yield probe.__name__.strip("_").replace("_", " "), f"could not be read: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- versions


def _python() -> Rows:
    yield "Python", f"{platform.python_version()} ({sys.executable})"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"


def _packages() -> Rows:
    for name in ("numpy", "ml_dtypes"):
        yield name, _installed(name) or "not installed"
    for name in ("nvmath-python", "nvidia-cudnn-frontend", "torch"):
        if version := _installed(name):
            yield name, version


def _blas() -> Rows:
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    yield "BLAS", f"{blas['name']} {blas.get('version', '')}".strip()


def _cupy() -> Rows:
    cupy, problem = _load_cupy()
    if cupy is None:
        yield "CuPy", problem
        return
    yield "CuPy", cupy.__version__
    runtime = cupy.cuda.runtime
    yield "CUDA", f"runtime {_cuda_version(runtime.runtimeGetVersion())}"
    yield "CUDA driver", f"supports up to {_cuda_version(runtime.driverGetVersion())}"
    yield "NVRTC", ".".join(map(str, cupy.cuda.nvrtc.getVersion()))


def _load_cupy() -> tuple[Any, str]:
    """The module, or None and why."""
    try:
        return importlib.import_module("cupy"), ""
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return None, "not installed"
        return None, f"does not load: {_one_line(error)}"
    except Exception as error:
        return None, f"does not load: {_one_line(error)}"


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


# ---------------------------------------------------------------- devices


def _cpu() -> Rows:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cpu", f"{_cpu_name()}, {cores} core{'s' if cores != 1 else ''} usable"


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> Rows:
    cupy, _ = _load_cupy()
    if cupy is None:
        for i, name in enumerate(_gpus_of_driver()):
            yield f"cuda:{i}", f"{name}, not usable without CuPy"
        return
    for i in range(cupy.cuda.runtime.getDeviceCount()):
        properties = cupy.cuda.runtime.getDeviceProperties(i)
        yield (
            f"cuda:{i}",
            f"{properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.1f} GiB, "
            f"sm_{properties['major']}{properties['minor']}",
        )


def _gpus_of_driver() -> list[str]:
    """The names of the GPUs that NVIDIA's driver knows."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if done.returncode else [line.replace(", ", ", driver ", 1) for line in done.stdout.splitlines() if line]


def _emulated_device() -> Rows:
    from .backends.emulator import is_supported

    supported, reason = is_supported()
    yield "emulated", "supported (GRADCORE_CUDA=emulate)" if supported else f"not supported: {reason}"


# ---------------------------------------------------------------- kernels


def _sources() -> Rows:
    from .backends.cpp import sources

    folder = sources.directory()
    count = sum(path.suffix in (".cu", ".cuh", ".h") for path in folder.rglob("*"))
    yield "sources", f"{folder} ({count} files)"


def _host_compilers() -> Rows:
    from .backends import hostcc

    for name, language in (("C compiler", "c"), ("C++ compiler", "c++")):
        try:
            yield name, hostcc.find_compiler(language).version
        except hostcc.HostCompilerError:
            yield name, "not found"


def _cpu_kernels() -> Rows:
    if os.environ.get("GRADCORE_CPU") == "numpy":
        yield "CPU kernels", "NumPy: native ones are switched off by GRADCORE_CPU=numpy"
        return
    from .backends import hostcc
    from .backends.cpu.native import library

    if problem := library.problem():
        yield "CPU kernels", f"NumPy: {' '.join(problem.split())}"
        return
    built = len(list(hostcc.cache_dir().glob(f"{library.PREFIX}*")))
    yield "CPU kernels", f"native: {built} built in {hostcc.cache_dir()} by {hostcc.find_compiler('c++').version}"
    yield "  flags", " ".join(library.flags())


def _built_for_the_host() -> Rows:
    from .backends import hostcc

    yield "host cache", _folder(hostcc.cache_dir())


def _cupys_cache() -> Rows:
    yield "CuPy's cache", _folder(Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"))


def _folder(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} (not there yet)"
    count = size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue  # another process tidied up meanwhile
            count += 1
    return f"{folder} ({count} files, {size / 1e6:.1f} MB)"


# ---------------------------------------------------------------- settings and advice


def _settings() -> Rows:
    value = os.environ.get("GRADCORE_CUDA")
    yield "GRADCORE_CUDA", _MEANINGS.get(value, f"{value!r}: unknown, treated as not set; use 'cpu' or 'emulate'")
    for name in sorted(os.environ):
        if name in ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "CUPY_CACHE_DIR", "OMP_NUM_THREADS") or (
            name.startswith("GRADCORE_") and name != "GRADCORE_CUDA"
        ):
            yield name, os.environ[name]


def _missing_for_gpus() -> Rows:
    install = "pip install 'gradcore[cuda12]', or 'gradcore[cuda13]' for CUDA 13"
    cupy, problem = _load_cupy()
    count = 0
    if cupy is not None:
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except Exception as error:
            problem = _one_line(error)
        if not count:
            yield "GPU", f"CuPy finds none ({problem or 'no device'}): check nvidia-smi and CUDA_VISIBLE_DEVICES"
        if not _installed("nvmath-python"):
            yield "nvmath-python", f"for matrix products with fused epilogues: {install}"
        if not _installed("nvidia-cudnn-frontend"):
            cudnn = install.replace("cuda1", "cudnn1")
            yield "nvidia-cudnn-frontend", f"for convolution and attention by cuDNN: {cudnn}"
    elif problem != "not installed":
        yield "CuPy", f"{problem}. Install the build for your CUDA version: {install}"
    elif _gpus_of_driver():
        yield "CuPy", f"needed to use the GPU: {install}"
    else:
        yield "GPU", f"nvidia-smi shows none; for a machine with one: {install}"
    if not count:
        yield "without", "GRADCORE_CUDA=cpu runs scripts written for 'cuda' on the CPU"
        yield "a GPU", "GRADCORE_CUDA=emulate runs the CUDA kernels themselves, on an emulated device"


def _missing_compilers() -> Rows:
    from .backends import hostcc

    try:
        hostcc.find_compiler("c++")
    except hostcc.HostCompilerError as error:
        yield "C++ compiler", _one_line(error).partition(": ")[2]


_SECTIONS: dict[str, list[Callable[[], Rows]]] = {
    "Versions": [_python, _packages, _blas, _cupy],
    "Devices": [_cpu, _gpus, _emulated_device],
    "Kernels": [_sources, _host_compilers, _cpu_kernels, _built_for_the_host, _cupys_cache],
    "Settings": [_settings],
    "Missing": [_missing_for_gpus, _missing_compilers],
}
