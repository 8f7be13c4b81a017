"""How much memory of a CUDA device is used: CuPy's memory pool, with PyTorch's names.

*Allocated* is what arrays hold, in the pool's blocks of 512 bytes; *reserved* also what the pool keeps to hand out
again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..backends.out_of_memory import OutOfMemoryError, text_of
from .devices import index_of, is_available, library

if TYPE_CHECKING:
    from ..backends.cuda.memory import Memory

__all__ = [
    "OutOfMemoryError",
    "empty_cache",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
]


def _on(device: Any, ask: Callable[[Memory], Any]) -> Any:
    from ..backends.cuda.memory import device_memory

    with library().cuda.Device(index_of(device)):
        return ask(device_memory())


def memory_stats(device: Any = None) -> dict[str, int]:
    """The bytes allocated and reserved, now and at most, by PyTorch's names; empty where there is no device."""
    if not is_available():
        return {}

    def stats(memory: Memory) -> dict[str, int]:
        use = memory.use()
        use.count()
        return {
            "allocated_bytes.all.current": use.bound,
            "allocated_bytes.all.peak": use.peak,
            "reserved_bytes.all.current": memory.pool.total_bytes(),
            "reserved_bytes.all.peak": use.reserved,
        }

    found: dict[str, int] = _on(device, stats)
    return found


def memory_allocated(device: Any = None) -> int:
    """The bytes that arrays hold on a device; 0 where there is none."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that arrays held at once, since the start or `reset_peak_memory_stats`; exact."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Any = None) -> int:
    """The bytes that the memory pool has taken from a device."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that the memory pool had taken, since the start or `reset_peak_memory_stats`."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peaks begin anew with what is in use now."""
    if is_available():
        _on(device, lambda memory: memory.reset_peaks())


def empty_cache() -> None:
    """Give the memory that the pool keeps to hand out again back to the current device, for others to use."""
    if is_available():
        _on(None, lambda memory: memory.empty_cache())


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The free and the total bytes of a device, whoever uses them."""
    found: tuple[int, int] = _on(device, lambda _: library().cuda.runtime.memGetInfo())
    return found


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let this process take at most this part of a device's memory; more is an OutOfMemoryError."""
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    _on(device, lambda memory: memory.pool.set_limit(fraction=fraction))


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """What `memory_stats` tells, as a table; `abbreviated` changes nothing."""
    stats = memory_stats(device)
    rows = [["", "now", "at most"]]
    for name in ("allocated", "reserved"):
        rows.append([name, *(text_of(stats.get(f"{name}_bytes.all.{when}", 0)) for when in ("current", "peak"))])
    return "\n".join(f"{name:<12}{now:>14}{most:>14}" for name, now, most in rows)
