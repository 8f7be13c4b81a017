"""Libraries of native kernels: built at first use, kept on disk, loaded with ctypes, whose calls release the GIL."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
import warnings
from collections.abc import Callable, Hashable
from typing import Any

from ... import hostcc
from ...cpp.sources import assemble

# The name of a built library starts with this.
PREFIX = "cpu-"

# No -ffast-math: NaN, infinities and signed zeros keep their meaning, and sums their order. Nothing reads errno or the
# floating-point status, and without these loops with calls and selections are vectorised. No products are fused with
# sums, so that arithmetic gives the bits that NumPy gives.
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fvisibility=hidden")

_PROBE = '#include "host/host.h"\nGC_EXPORT double probe(double x) { return exp(x); }\n'


@functools.cache
def flags() -> tuple[str, ...]:
    """What the compiler is called with."""
    machine = platform.machine()
    target = "-mcpu=native" if machine in ("aarch64", "arm64") else "-march=native"
    if hostcc.find_compiler("c++").family == "gcc":
        # Alignment differs from run to run, and with it would the elements that a vectorised loop takes one by one.
        return (*_FLAGS, target, "--param=vect-max-peeling-for-alignment=0")
    # GCC finds the vector functions by their declarations in kernels/host/host.h.
    return (*_FLAGS, target, *(["-fveclib=libmvec"] if sys.platform == "linux" and machine == "x86_64" else []))


@functools.cache
def load(text: str, fused: bool = False) -> ctypes.CDLL:
    """The library built from C++ text; `#include "..."` names files of kernels/.

    If `fused`, products and sums may be.

    Raises:
        hostcc.HostCompilerError: if there is no compiler, or it refuses the text.
        OSError: if the cache cannot be written, or the built library does not load.
    """
    given = (*flags(), "-ffp-contract=fast") if fused else flags()
    path = hostcc.build_shared(assemble(text), language="c++", flags=given, link_flags=("-lm",), name_prefix=PREFIX)
    return ctypes.CDLL(str(path))


@functools.cache
def problem() -> str | None:
    """Why no native kernels can be built here; None if they can."""
    try:
        load(_PROBE)
    except (hostcc.HostCompilerError, OSError) as error:
        return str(error)
    return None


class Kernels:
    """The kernels of one kind, by what their text depends on; built when they are first asked for."""

    def __init__(self) -> None:
        self._kernels: dict[Hashable, Any] = {}

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The kernel that `build` makes; None where it makes none, or the compiler fails: NumPy does it then."""
        try:
            return self._kernels[key]
        except KeyError:
            pass
        try:
            kernel = build()
        except (hostcc.HostCompilerError, OSError) as error:
            warnings.warn(f"a native kernel could not be built, NumPy is used instead: {error}", stacklevel=2)
            kernel = None
        self._kernels[key] = kernel
        return kernel
