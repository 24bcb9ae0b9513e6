"""Media files of a root: copied to this machine while they are read, where they are on an object store; and hashes."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from reelmill.pipeline.errors import NotFound, VideoError
from reelmill.storage import cache
from reelmill.storage.place import AnyPath, place


@contextlib.contextmanager
def at_hand(path: str | AnyPath) -> Iterator[Path]:
    """A media file as a file of this machine, as long as the block lasts. Raises NotFound; a VideoError of the block
    names the object, not its copy."""
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
