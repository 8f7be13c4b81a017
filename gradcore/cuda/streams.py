"""Streams and events: CuPy's, with PyTorch's names.

Kernels and copies go to the current stream, which is each thread's own. As in PyTorch, the streams made here do not
wait for the default stream, nor it for them: `wait_stream` and `wait_event` say who waits for whom.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..devices import device as Device
from .devices import backend, index_of, library

__all__ = ["Event", "ExternalStream", "Stream", "current_stream", "default_stream", "set_stream", "stream"]


class Stream:
    """A queue of work on a CUDA device: done in order, beside the work of other streams.

    `with gradcore.cuda.stream(s):`, or `with s:`, gives the work of the block to the stream. `priority` is lower for
    more urgent work. Memory that is made in one stream and used in another must be kept until that is done.
    """

    def __init__(self, device: Any = None, priority: int = 0):
        index = index_of(device)
        with library().cuda.Device(index):
            self._hold(library().cuda.Stream(non_blocking=True, priority=priority), index)

    def _hold(self, stream: Any, index: int) -> None:
        self._stream = stream
        self._entered: list[Any] = []
        self.device = Device("cuda", index)

    @classmethod
    def _around(cls, stream: Any, index: int) -> Stream:
        """The stream around one of CuPy's."""
        made = cls.__new__(cls)
        made._hold(stream, index)
        return made

    @property
    def cuda_stream(self) -> int:
        """The address of the `cudaStream_t`."""
        return int(self._stream.ptr)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream

    @property
    def priority(self) -> int:
        return int(self._stream.priority)

    def wait_event(self, event: Event) -> None:
        """What is given to this stream from now on waits for the event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What is given to this stream from now on waits for all that `stream` has been given."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Record an event, by default a new one, after all that the stream has been given."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self) -> bool:
        """Whether all that the stream was given is done."""
        return bool(self._stream.done)

    def synchronize(self) -> None:
        """Wait until all that the stream was given is done; raises what was found, as `cuda.synchronize`."""
        self._stream.synchronize()
        backend(self.device).errors.raise_pending()

    def __enter__(self) -> Stream:
        context = stream(self)
        context.__enter__()
        self._entered.append(context)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._entered.pop().__exit__(*exc)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.cuda_stream, self.device) == (other.cuda_stream, other.device)

    def __hash__(self) -> int:
        return hash((self.cuda_stream, self.device))

    def __repr__(self) -> str:
        return f"<gradcore.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class ExternalStream(Stream):
    """A stream of another library, given by its address; the library must keep it."""

    def __init__(self, stream_ptr: int, device: Any = None):
        index = index_of(device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its successor would destroy the stream in the end
            self._hold(library().cuda.ExternalStream(stream_ptr, index), index)


class Event:
    """A point in the work of a stream, to wait for or to measure time between. It exists from the first `record` on.

    Args:
        enable_timing: whether `elapsed_time` can be asked for.
        blocking: whether the processor sleeps while it waits.
        interprocess: whether other processes may wait; not with `enable_timing`.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        library()
        self._options = {"block": blocking, "disable_timing": not enable_timing, "interprocess": interprocess}
        self._event: Any = None
        self.device: Device | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Stand after all that the stream (None: the current one) has been given until now."""
        stream = current_stream() if stream is None else stream
        if self.device not in (None, stream.device):
            raise RuntimeError(f"Event device {self.device} does not match recording stream's device {stream.device}.")
        with library().cuda.Device(stream.device.index):
            if self._event is None:
                self._event, self.device = library().cuda.Event(**self._options), stream.device
            self._event.record(stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """What is given to the stream (None: the current one) from now on waits for the event."""
        if self._event is not None:
            (current_stream() if stream is None else stream)._stream.wait_event(self._event)

    def query(self) -> bool:
        """Whether the work before the event is done."""
        return self._event is None or bool(self._event.done)

    def synchronize(self) -> None:
        """Wait until the work before the event is done."""
        if self._event is not None:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """The milliseconds from this event to another one.

        Raises:
            ValueError: one of them was made without `enable_timing`, or has not been recorded.
            RuntimeError: one of them is still to come.
        """
        both = self, end_event
        if any(event._options["disable_timing"] for event in both):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if any(event._event is None for event in both):
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not all(event.query() for event in both):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return float(library().cuda.get_elapsed_time(self._event, end_event._event))

    def __repr__(self) -> str:
        return (
            f"<gradcore.cuda.Event {self._event.ptr:#x}>"
            if self._event is not None
            else "<gradcore.cuda.Event uninitialized>"
        )


def current_stream(device: Any = None) -> Stream:
    """The stream that work is given to, of the current device or another one."""
    index = index_of(device)
    return Stream._around(library().cuda.get_current_stream(index), index)


def default_stream(device: Any = None) -> Stream:
    """The stream that is current at first."""
    return Stream._around(library().cuda.Stream.null, index_of(device))


def set_stream(stream: Stream | None) -> None:
    """Make a stream the current one, and its device; None changes nothing. `stream` does so for a block alone."""
    if stream is not None:
        library().cuda.runtime.setDevice(stream.device.index)
        stream._stream.use()


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """`with stream(s):` gives the work of the block to a stream, on the stream's device; None changes nothing."""
    if stream is None:
        yield
    else:
        with library().cuda.Device(stream.device.index), stream._stream:
            yield
