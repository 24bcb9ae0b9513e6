"""Folders of immutable part files: a part is visible when it is complete, and nothing else is.

A writer fills `.part-….tmp-<host>-<pid>` in the same folder, fsyncs it, renames it to
`part-<sequence>-<random>.<suffix>` and fsyncs the folder. A reader lists `part-*`: no lock, no server. The sequence is
microseconds since 1970, or one more than the newest part's if the clock was set back, so parts sort by name from the
oldest to the newest.
"""

import contextlib
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from storage.errors import CorruptPart

STALE_SECONDS = 24 * 3600
"""A temporary file of another machine is swept when it was not written to for this long."""

_NAME = re.compile(r"part-(\d{16})-[0-9a-f]{8}(\.\w+)")


def list_parts(folder: Path, suffix: str = "") -> list[Path]:
    """Complete parts of a folder, oldest first; none if there is no folder. Raises CorruptPart for a stranger."""
    found = []
    for name in _names(folder):
        if not _NAME.fullmatch(name):
            raise CorruptPart(f"{folder / name} is not a part that reelmill wrote; move it out of this folder")
        if name.endswith(suffix):
            found.append(folder / name)
    return sorted(found)


def sequence(part: Path) -> int:
    """Age of a part: a higher number is newer."""
    return int(part.name.split("-")[1])


class new_part:
    """Context that gives a temporary path to fill. On a clean exit it becomes the newest part, whose path is then
    `committed`; on an error it is removed."""

    committed: Path

    def __init__(self, folder: Path, suffix: str, number: int = 0) -> None:
        """`number`: the sequence to take in place of a new one, for a part that stands for older ones."""
        self.folder, self.suffix, self.number = folder, suffix, number
        self.tag = uuid.uuid4().hex[:8]
        self.temporary = _temporary(folder, self.tag)

    def __enter__(self) -> Path:
        _make(self.folder)
        return self.temporary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(self.folder)  # Arrow says that a disk is full, and not which
        try:
            if error is None:
                sync(self.temporary)
                number = self.number or max(time.time_ns() // 1000, newest(self.folder) + 1)
                self.committed = self.temporary.rename(self.folder / f"part-{number:016d}-{self.tag}{self.suffix}")
                sync(self.folder)
        finally:
            self.temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to fill. On a clean exit it takes the place of `path`, which so has its old
    content or the new one at any moment; on an error it is removed."""
    _make(path.parent)
    temporary = _temporary(path.parent, uuid.uuid4().hex[:8])
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> Path:
    """Replace a small file as a whole; return its path."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def sweep(folder: Path) -> list[Path]:
    """Remove temporaries that no living writer owns; return them. Those of this machine go by its processes, not by its
    clock, which may jump."""
    swept = []
    for path in folder.glob(".part-*.tmp-*"):
        host, _, pid = path.name.split(".tmp-", 1)[1].rpartition("-")
        try:
            if host == socket.gethostname() and pid.isdigit():
                dead = not _alive(int(pid))
            else:
                dead = time.time() - path.stat().st_mtime > STALE_SECONDS
            if dead:
                path.unlink()
                swept.append(path)
        except FileNotFoundError:
            continue  # its writer was alive, or another sweeper was faster
    return swept


def _names(folder: Path) -> list[str]:
    """Names of the files `part-*`, as they stood at one moment: were the folder changed while it is read, a part and
    those that it replaces could all be missed."""
    names: list[str] = []
    for _ in range(100):  # a folder under heavy writing may never stand still
        try:
            before = folder.stat().st_mtime_ns
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if e.name.startswith("part-") and e.is_file()]
            if folder.stat().st_mtime_ns == before:
                break
        except (FileNotFoundError, NotADirectoryError):
            return []
    return names


def newest(folder: Path) -> int:
    """Sequence of the newest part; 0 if there is none."""
    matches = (_NAME.fullmatch(name) for name in _names(folder))
    return max((int(match[1]) for match in matches if match), default=0)


def _temporary(folder: Path, tag: str) -> Path:
    """A name that `sweep` knows."""
    return folder / f".part-{tag}.tmp-{socket.gethostname()}-{os.getpid()}"


def _make(folder: Path) -> None:
    """Make a folder that a power cut does not take away again."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """Have what was written to a file or folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
