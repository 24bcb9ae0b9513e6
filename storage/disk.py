"""Local files, for `parts` and `cache`: made to survive a power cut, temporary ones recognised as stale."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from reelmill.storage.place import AnyPath

STALE_SECONDS = 24 * 3600
"""A temporary file of another machine is removed when it was not written to for this long."""

NAME = re.compile(r"part-(\d{16})-[0-9a-f]{8}(\.\w+)")
"""Name of a part. A file with such a name never changes."""


@contextlib.contextmanager
def named(path: AnyPath) -> Iterator[None]:
    """Have an error of the file system name this path, unless it names another: `write`, `read` and `fsync` know only
    the number of an open file, and Arrow only the words."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, durable over a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
