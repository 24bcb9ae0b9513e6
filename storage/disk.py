"""Local files, for `parts` and `cache`: made to survive a power cut, temporary ones recognised as stale."""

import os
import re
from pathlib import Path

STALE_SECONDS = 24 * 3600
"""A temporary file of another machine is removed when it was not written to for this long."""

NAME = re.compile(r"part-(\d{16})-[0-9a-f]{8}(\.\w+)")
"""Name of a part. A file with such a name never changes."""


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
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
