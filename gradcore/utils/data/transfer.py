"""Batches from a worker process to the one that trains: large arrays through shared memory without a name.

A batch is pickled with its arrays out of band (protocol 5). Where they are large they go into a segment of memory of
their own, whose file descriptor is sent along. It has no name, so there is nothing to clean up: it is gone with the
last process that holds it, however that ends. What is small, and on Windows everything, goes through the connection.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

# Bytes below which a segment costs more than it saves, and on which arrays in it begin.
SMALL, ALIGNED = 1 << 16, 64
_SHARES = os.name == "posix"


class Packed:
    """A value made ready to be sent: what can go wrong with it goes wrong here."""

    def __init__(self, value: Any):
        buffers: list[pickle.PickleBuffer] = []
        self._text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        self._parts = [b.raw() for b in buffers]
        self._sizes = [p.nbytes for p in self._parts]
        self._descriptor = None
        if _SHARES and sum(self._sizes) >= SMALL:
            self._descriptor = _segment(sum(map(_padded, self._sizes)))
            with mmap.mmap(self._descriptor, 0) as memory:
                at = 0
                for part, size in zip(self._parts, self._sizes):
                    memory[at : at + size] = part
                    at += _padded(size)

    def send(self, conn: Connection, label: Any) -> None:
        """Send it, once, under a label that is small."""
        try:
            conn.send((label, self._sizes, self._descriptor is not None))
            conn.send_bytes(self._text)
            if self._descriptor is None:
                for part in self._parts:
                    conn.send_bytes(part)
            else:
                reduction.send_handle(conn, self._descriptor, 0)
        finally:
            if self._descriptor is not None:
                os.close(self._descriptor)


class Received:
    """A value on its way: its label, and what is needed to make it."""

    def __init__(self, conn: Connection):
        self.label, sizes, shared = conn.recv()
        self._text = conn.recv_bytes()
        self._buffers: list[Any] = []
        if not shared:
            self._buffers = [bytearray(conn.recv_bytes()) for _ in sizes]
            return
        descriptor = reduction.recv_handle(conn)
        try:
            # Arrays hold on to it, and so it lives as long as the last of them.
            memory = memoryview(mmap.mmap(descriptor, 0))
        finally:
            os.close(descriptor)
        at = 0
        for size in sizes:
            self._buffers.append(memory[at : at + size])
            at += _padded(size)

    def value(self) -> Any:
        """The value, whose arrays lie where they arrived."""
        return pickle.loads(self._text, buffers=self._buffers)


def _padded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _segment(size: int) -> int:
    """The descriptor of new memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("gradcore-batch")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor
