"""Kernel calls shared out among threads that do without the interpreter: see kernels/host/pool.cpp."""

from __future__ import annotations

import ctypes
import warnings
from functools import cache
from typing import Any

from ... import hostcc
from .. import threads
from ..memory import keep_freed
from .calls import GRAIN
from .library import load

# Pieces for each thread, at most: when one is held up, the others take what it would have done.
_PIECES = 16


def run(kernel: Any, arguments: bytes, count: int, size: int) -> None:
    """`kernel(arguments, begin, end)` for all of `count` items, which have about `size` elements each.

    How the items are cut depends on the number of threads, so what a kernel computes for one must not depend on others.
    """
    keep_freed()
    helpers = min(threads.get_num_threads(), count, count * size // GRAIN) - 1
    share = _share() if helpers > 0 else None
    if share is None:
        kernel(arguments, 0, count)
    else:
        share(kernel, arguments, count, min(count, _PIECES * (helpers + 1)), helpers)


@cache
def _share() -> Any:
    try:
        share = load('#include "host/pool.cpp"\n').share
    except (hostcc.HostCompilerError, OSError) as error:
        warnings.warn(f"the threads of native kernels could not be built, one is used: {error}", stacklevel=2)
        return None
    numbers = (ctypes.c_longlong, ctypes.c_longlong, ctypes.c_int)
    share.argtypes, share.restype = (ctypes.c_void_p, ctypes.c_char_p, *numbers), None
    return share
