"""A folder of media files, or one file, as a source of videos: no events, nothing to download."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelmill.pipeline.containers import SUFFIXES, not_a_video
from reelmill.pipeline.sources.rows import SourceResult
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS


def read_folder(path: str | Path, name: str | None = None) -> SourceResult:
    """Each file below the folder whose suffix is that of a container on the list is a video, sorted by path.

    `video_id` is the path relative to the folder, with `/` and the suffix; `url` is the absolute path. Links to files
    are followed. A name that is not UTF-8 is a reject. Everything else is counted in `skipped`: other suffixes, hidden
    files and folders, AppleDouble files (`._a.mp4`), links to nothing and to folders.
    """
    top = Path(path).absolute()
    skipped: Counter[str] = Counter()
    if top.is_file():
        files, base = [top], top.parent
    elif top.is_dir():
        files, base = sorted(_videos(top, skipped)), top
    else:
        raise InputError(f"{path} is neither a file nor a folder; give the path of your videos")
    if not files:
        others = ", ".join(f"{count:,} {kind}" for kind, count in skipped.most_common())
        raise InputError(
            f"{path} holds no media file; those end in {', '.join(SUFFIXES)}"
            + (f"; it holds {others}" if others else "")
        )
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
        skipped=dict(skipped.most_common()),
    )


def _videos(top: Path, skipped: Counter[str]) -> Iterator[Path]:
    """The videos below a folder; what else is there is counted, by kind."""
    for folder, inside, names in os.walk(top):
        for name in list(inside):
            if name.startswith(".") or Path(folder, name).is_symlink():
                inside.remove(name)  # it is not walked into
                skipped["hidden folders" if name.startswith(".") else "links to folders"] += 1
        for name in names:
            file = Path(folder, name)
            if (why := not_a_video(file)) is None:
                yield file
            else:
                skipped[why] += 1


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
