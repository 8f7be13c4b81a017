"""Where a step is built and timed: one subject's module, its device and its clock. Used inside a worker process."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .case import Step

FLUSH_BYTES = 256 << 20  # more than any GPU's second-level cache
COPY_BYTES = 1 << 30


class Lab:
    """A module on a device.

    `module` looks like PyTorch for the subjects that do (`torchlike`); the others bring steps of their own.
    """

    torchlike = True

    def __init__(self, name: str, module: Any, device: str = "cpu"):
        self.name, self.module, self.device = name, module, device

    def tensor(self, array: np.ndarray, grad: bool = False) -> Any:
        """A tensor of the array on the device."""
        made = self.module.tensor(array, device=self.device)
        return made.requires_grad_() if grad else made

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function (or `nn.Module`) as the subject runs it best; only a compiler returns another one."""
        return function

    def array(self, value: Any) -> np.ndarray:
        """The values on the host."""
        if isinstance(value, np.ndarray):
            return value
        if hasattr(value, "detach"):
            value = value.detach()
            if str(value.dtype).endswith("bfloat16"):
                value = value.float()
            return np.array(value.cpu().numpy())
        return np.asarray(value)

    def arrays(self, values: Any) -> list[np.ndarray]:
        """What a step returned, on the host."""
        return [self.array(v) for v in (values if isinstance(values, (list, tuple)) else [values])]

    # -- time
    def wait(self) -> None:
        """Return when the device has done everything."""

    def finish(self, result: Any) -> None:
        """Return when `result` is computed; most subjects compute at once, or wait for the whole device."""
        self.wait()

    def seconds(self, step: Step, repetitions: int, device_clock: bool, extra: bool = True) -> float:
        """The time that `repetitions` steps take, with `extra` after one that is not counted."""
        if extra:
            self.finish(step())
        start = time.perf_counter()
        result = None
        for _ in range(repetitions):
            result = step()
        self.finish(result)
        return time.perf_counter() - start

    # -- memory
    def reset_peak(self) -> None:
        """Forget the peak so far; what is in use now is where `peak` counts from."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.baseline = _status("VmRSS")

    def peak(self) -> int:
        """The most bytes in use since `reset_peak`, above what was in use then."""
        return max(0, _status("VmHWM") - self.baseline)


def _status(field: str) -> int:
    """Bytes: the resident set (VmRSS) or its peak (VmHWM).

    Not `getrusage`: its peak survives `exec`, so that a worker would report its parent's.
    """
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)


class CudaLab(Lab):
    """A module that looks like PyTorch, on a GPU."""

    _flush: Any = None

    def wait(self) -> None:
        self.module.cuda.synchronize()

    def event(self) -> Any:
        """An event recorded now."""
        event = self.module.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """The seconds between two events."""
        return start.elapsed_time(end) / 1e3

    def bytes(self, count: int) -> Any:
        """A new buffer on the device."""
        return self.module.empty(count, dtype=self.module.uint8, device=self.device)

    def copy(self, to: Any, source: Any) -> None:
        """Copy one buffer to another of the same size."""
        to.copy_(source)

    def reset_peak(self) -> None:
        self.module.cuda.reset_peak_memory_stats()
        self.baseline = self.module.cuda.memory_allocated()

    def peak(self) -> int:
        return self.module.cuda.max_memory_allocated() - self.baseline

    def seconds(self, step: Step, repetitions: int, device_clock: bool, extra: bool = True) -> float:
        """With `device_clock` the device's own time, each repetition after a flush of the cache."""
        if not device_clock:
            return super().seconds(step, repetitions, device_clock, extra)
        if self._flush is None:
            self._flush = self.bytes(FLUSH_BYTES), self.bytes(FLUSH_BYTES)
        if extra:
            step()
        events = []
        for _ in range(repetitions):
            self.copy(*self._flush)
            start = self.event()
            step()
            events.append((start, self.event()))
        self.wait()
        return sum(self.between(a, b) for a, b in events)

    def copy_bandwidth(self) -> float:
        """Bytes read and written a second by a copy on the device, the best of ten."""
        to, source = self.bytes(COPY_BYTES), self.bytes(COPY_BYTES)
        times = []
        for _ in range(10):
            start = self.event()
            self.copy(to, source)
            end = self.event()
            self.wait()
            times.append(self.between(start, end))
        return 2 * COPY_BYTES / min(times)


class CupyLab(CudaLab):
    """gradcore on a GPU, through CuPy."""

    def copy(self, to: Any, source: Any) -> None:
        # The driver's own copy, to which gradcore's kernels are compared.
        to._array.data.copy_from_device_async(source._array.data, to.nbytes)
