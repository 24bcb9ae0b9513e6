"""Checks media files against their measured size and hash."""

from collections.abc import Callable

from reelmill.pipeline.errors import NotFound
from reelmill.pipeline.media import at_hand, digest
from reelmill.storage import Root
from reelmill.storage.place import AnyRoot


def media(root: AnyRoot, on_file: Callable[[str], None] = lambda video: None) -> dict[str, str]:
    """{video: what is wrong} for files that are gone or have changed since they were measured. Reads every file
    whole."""
    here, wrong = Root(root), {}
    for row in here.tables.read("media", ["video_id", "uri", "sha256", "bytes"]).sort_by("video_id").to_pylist():
        path = here.file(row["uri"])
        try:
            with at_hand(path) as file:
                sha256, size = digest(file)
            if size != row["bytes"]:
                wrong[row["video_id"]] = f"{path} has {size:,} bytes, {row['bytes']:,} were measured"
            elif sha256 != row["sha256"]:
                wrong[row["video_id"]] = f"{path} does not have the SHA-256 that was measured"
        except (NotFound, FileNotFoundError):
            wrong[row["video_id"]] = f"{path} is gone"
        on_file(row["video_id"])
    return wrong
