"""Folders of immutable part files: a part is visible when it is complete, and nothing else is.

A writer fills `.part-….tmp-<host>-<pid>` in the same folder, fsyncs it, renames it to `part-<sequence>-<random>.<suffix>`
and fsyncs the folder. A reader lists `part-*`: no lock, no server. The sequence is microseconds since 1970, or one more
than the newest part's if the clock was set back, so sorting by name is sorting by age.
"""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

STALE_SECONDS = 24 * 3600
"""A temporary file of another machine is swept when it was not written to for this long."""


def list_parts(folder: Path, suffix: str = "") -> list[Path]:
    """Complete parts of a folder, oldest first; none if the folder does not exist."""
    return sorted(p for p in folder.glob(f"part-*{suffix}") if p.is_file())


def sequence(part: Path) -> int:
    """Age of a part: a higher number is newer."""
    return int(part.name.split("-")[1])


@contextlib.contextmanager
def new_part(folder: Path, suffix: str) -> Iterator[Path]:
    """Give a temporary path to fill; on a clean exit it becomes the newest part, on an error it is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    tag = uuid.uuid4().hex[:8]
    temporary = folder / f".part-{tag}.tmp-{socket.gethostname()}-{os.getpid()}"
    try:
        yield temporary
        _sync(temporary)
        newest = max((sequence(p) for p in list_parts(folder)), default=0)
        number = max(time.time_ns() // 1000, newest + 1)
        temporary.rename(folder / f"part-{number:016d}-{tag}{suffix}")
        _sync(folder)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> list[Path]:
    """Remove temporaries that no living writer owns; return them."""
    swept = []
    for path in folder.glob(".part-*.tmp-*"):
        host, _, pid = path.name.split(".tmp-", 1)[1].rpartition("-")
        if host == socket.gethostname():
            stale = not _alive(int(pid))
        else:
            stale = time.time() - path.stat().st_mtime > STALE_SECONDS
        if stale:
            path.unlink(missing_ok=True)
            swept.append(path)
    return swept


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
