"""A folder of media files, or one file, as a source of videos: no events, nothing to download."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelmill.pipeline.sources.rows import SourceResult
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS

SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""Suffixes of media files, in upper or lower case. Whether it really is one, the probe finds out."""


def read_folder(path: str | Path, name: str | None = None) -> SourceResult:
    """Each regular file with a media suffix below the folder is a video, sorted by path.

    `video_id` is the path relative to the folder, with `/` and the suffix; `url` is the absolute path. Links to files
    are followed, links to folders are not. A name that is not UTF-8 is a reject.
    """
    top = Path(path).absolute()
    if top.is_file():
        files, base = [top], top.parent
    elif top.is_dir():
        found = (Path(folder, file) for folder, _, names in os.walk(top) for file in names)
        files, base = sorted(f for f in found if f.suffix.lower() in SUFFIXES and f.is_file()), top
    else:
        raise InputError(f"{path} is neither a file nor a folder; give the path of your videos")
    if not files:
        raise InputError(f"{path} holds no media file; those end in {', '.join(SUFFIXES)}")
    source = name or top.name
    good = np.array([_is_text(str(file)) for file in files])
    videos = [
        {"video_id": file.relative_to(base).as_posix(), "url": str(file)}
        for file, ok in zip(files, good, strict=True)
        if ok
    ]
    rejects = [
        {"source": source, "source_row": int(row) + 1, "reason": "malformed_row", "detail": ascii(str(files[row]))}
        for row in np.flatnonzero(~good)
    ]
    return SourceResult(
        source,
        SCHEMAS["events"].empty_table(),
        pa.Table.from_pylist(rejects, SCHEMAS["rejects"]),
        pa.Table.from_pylist(videos, SCHEMAS["videos"]),
        len(files),
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
