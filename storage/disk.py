"""What both `parts` and `cache` need of this machine: files that survive a power cut, and names that mean something."""

import os
import re
from pathlib import Path

STALE_SECONDS = 24 * 3600
"""A temporary file of another machine is swept when it was not written to for this long."""

NAME = re.compile(r"part-(\d{16})-[0-9a-f]{8}(\.\w+)")
"""Name of a part. What has such a name never changes."""


def make_folder(folder: Path) -> None:
    """Make a folder that a power cut does not take away again."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def alive(pid: int) -> bool:
    """Whether there is a process of this number."""
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
