"""Sends objects over a pipe, large arrays at memory speed.

Both ends are this program and trust each other: an object is a pickle. Arrays are sent beside it (pickle protocol 5)
and copied only by the kernel: arrays of 10 MB pass at more than 1 GB/s.
"""

import contextlib
import fcntl
import os
import pickle
import select
import struct
from collections.abc import Callable
from typing import Any

PIPE_BYTES = 1 << 20
"""Requested capacity of a pipe, the most that Linux gives an ordinary user: fewer switches between the processes."""

Wait = Callable[[int, int], None]
"""`wait(fd, events)` returns when a non-blocking descriptor may be ready, or raises."""


def pipe() -> tuple[int, int]:
    """Two descriptors: the end to read from, the end to write to."""
    read_end, write_end = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # all pipes of the user together may be at their limit
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def write(fd: int, content: object, wait: Wait | None = None) -> None:
    """Send one object: the number of its parts, their sizes (uint64 each), the pickle, then each buffer as it is in
    memory. Nothing is sent if it cannot be pickled."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    head = struct.pack(f"<{len(parts) + 1}Q", len(parts), *(part.nbytes for part in parts))
    for part in (memoryview(head), *parts):
        rest = part
        while rest.nbytes:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                assert wait is not None
                wait(fd, select.POLLOUT)


def read(fd: int, wait: Wait | None = None) -> Any:
    """Receive one object; its arrays are writable and own their memory. EOFError if the other side is gone."""

    def exactly(size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest.nbytes:
            try:
                count = os.readv(fd, [rest])
            except BlockingIOError:
                assert wait is not None
                wait(fd, select.POLLIN)
                continue
            if not count:
                raise EOFError
            rest = rest[count:]
        return data

    (count,) = struct.unpack("<Q", exactly(8))
    pickled, *buffers = [exactly(size) for size in struct.unpack(f"<{count}Q", exactly(8 * count))]
    return pickle.loads(pickled, buffers=buffers)
