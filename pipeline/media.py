"""Media files of a root: from an object store they are copied to this machine while they are read. Hashes of files."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from reelmill.pipeline.errors import NotFound, VideoError
from reelmill.storage import cache
from reelmill.storage.disk import named
from reelmill.storage.place import AnyPath, place


@contextlib.contextmanager
def at_hand(path: str | AnyPath) -> Iterator[Path]:
    """Context manager that gives a media file as a local file. Raises NotFound; a VideoError raised inside names the
    object, not its copy."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(cache.pinned(place(path)))
        except FileNotFoundError:
            raise NotFound(f"{path} is not a file") from None
        try:
            yield file
        except VideoError as error:
            error.args = (str(error).replace(str(file), str(path)),)
            raise


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size of a file."""
    with named(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
