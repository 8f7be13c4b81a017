"""Settings of the emulated device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

MODES = ("fast", "check")


def _order_from_environment() -> str | int:
    text = os.environ.get("GRADCORE_EMULATOR_ORDER", "forward")
    return int(text) if text.isdigit() else text


@dataclass
class Config:
    """Settings of the emulated device, read at each launch.

    Attributes:
        mode: `"fast"`, or `"check"`, which checks every access to memory.
            Initially `$GRADCORE_EMULATOR_MODE`.
        order: in which blocks and threads run: `"forward"`, `"reverse"`, or an int, the seed of a random order.
            Initially `$GRADCORE_EMULATOR_ORDER`.
        strict: a thread that has left the kernel may not be awaited at a barrier or in a warp operation. On a GPU
            this is undefined behaviour, and often goes well.
        poison: fill shared memory with NaN before each block.
        time_limit: seconds of CPU time that a launch may take, 0 for no limit.
        edges: run only so many of the first and of the last blocks of a grid, 0 for all: enough to see how a kernel
            finds its way in arrays that are too large to go through.
    """

    mode: str = os.environ.get("GRADCORE_EMULATOR_MODE", "fast")
    order: str | int = _order_from_environment()
    strict: bool = True
    poison: bool = True
    time_limit: float = 60.0
    edges: int = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "mode" and value not in MODES:
            raise ValueError(f"mode is 'fast' or 'check', not {value!r}")
        if name == "order" and value not in ("forward", "reverse") and not isinstance(value, int):
            raise ValueError(f"order is 'forward', 'reverse' or an int, the seed of a random order, not {value!r}")
        if name not in _NAMES:
            raise AttributeError(f"no setting {name!r}: there are {', '.join(sorted(_NAMES))}")
        super().__setattr__(name, value)


_NAMES = {field.name for field in fields(Config)}

config = Config()


@contextlib.contextmanager
def using(**settings: Any) -> Iterator[Config]:
    """Changes settings for the time of a `with` block.

    >>> with using(mode="check", order=3):
    ...     config.mode
    'check'
    """
    old = {name: getattr(config, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(config, name, value)
        yield config
    finally:
        for name, value in old.items():
            setattr(config, name, value)
