"""Keeps the memory of freed arrays with the process.

glibc gives large blocks back to the system as soon as they are freed, and a training step allocates the same ones
again: the system then clears every page anew, which takes longer than most kernels take to fill it. So before the first
large operation the thresholds above which memory is given back are raised, up to an eighth of the machine's memory.
Who has set them, by `MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_` or `GLIBC_TUNABLES`, keeps what was set; other C
libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import functools
import os

_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 2**31 - 1  # what mallopt takes
_SHARE = 8


@functools.cache
def keep_freed() -> bool:
    """Raise the thresholds, once; whether that was done."""
    if any(name in os.environ for name in _SETTINGS) or not _is_glibc():
        return False
    limit = min(_LARGEST, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _SHARE)
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, limit) and mallopt(_M_TRIM_THRESHOLD, limit))


def _is_glibc() -> bool:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") is not None
    except (AttributeError, OSError, ValueError):  # not known to this system
        return False
