"""`reelmill verify`: reads each part of stores, tables and encoders, and moves damaged ones into quarantine.

    ROOT/quarantine/features/c3d-fc6-1f0c22ab/part-….h5

Then the store opens again; what only the damaged part held is missing, and the next run makes it again.
"""

import errno
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from reelmill.storage import cache, parts
from reelmill.storage.arrays import load_arrays
from reelmill.storage.blocks import NO_DATA
from reelmill.storage.errors import CorruptPart
from reelmill.storage.formats import read_shard
from reelmill.storage.place import AnyPath, AnyRoot, place
from reelmill.storage.schema import SCHEMAS
from reelmill.storage.shards import SUFFIXES, Shard, readable
from reelmill.storage.tables import Tables
from reelmill.storage.writer import features_folder

ROWS = 1024
"""Vectors that are checked at once."""


@dataclass
class Found:
    """What was found in one store, or one table."""

    name: str
    parts: int = 0
    wrong: list[tuple[AnyPath, str]] = field(default_factory=list)
    """Parts that are damaged, each with what is wrong."""
    lost: set[str] = field(default_factory=set)
    """Videos (or users) of damaged parts that no sound part holds, as far as those can still be read."""
    strays: list[str] = field(default_factory=list)
    """Names of files that are no parts; they are skipped by every reader."""
    constant: int = 0
    """Rows of which all numbers are equal: nothing was seen, or a network is broken."""
    constant_videos: list[str] = field(default_factory=list)


def stores(root: AnyRoot) -> Iterator[Found]:
    """Every feature store: checksums, the index against the content, numbers against the mask."""
    home = features_folder(root)
    for name in parts.folders(home):
        found = _store(home / name)
        if found.parts or found.strays:
            yield found


def tables(root: AnyRoot) -> Iterator[Found]:
    """Every table that has parts: each can be read, with the checksums of its pages, and fits its schema."""
    for name in SCHEMAS:
        found = Found(name)
        paths = parts.list_parts(Tables(root).folder / name, ".parquet")
        found.strays = parts.strays(Tables(root).folder / name, ".parquet")
        found.parts = len(paths)
        for path in paths:
            try:
                cache.drop(path)  # check the file in the root, not a copy
                Tables(root).read_part(name, path)
            except CorruptPart as error:
                found.wrong.append((path, str(error)))
        if found.parts or found.strays:
            yield found


def encoders(root: AnyRoot) -> Iterator[Found]:
    """Every fitted text encoder: each file is a whole zip of plain arrays, with the checksums of its members."""
    home = place(root) / "encoders"
    for name in parts.folders(home):
        found = Found(name, strays=parts.strays(home / name, ".npz"))
        for path in parts.list_parts(home / name, ".npz"):
            found.parts += 1
            try:
                cache.drop(path)
                cache.reading(path, load_arrays)
            except FileNotFoundError:
                continue
            except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
                if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of an offset that is wrong
                    raise  # an error of the system: the file may be sound
                found.wrong.append((path, f"{path} is damaged ({error})"))
        if found.parts:
            yield found


def quarantine(root: AnyRoot, part: AnyPath) -> AnyPath:
    """Move a damaged part into `ROOT/quarantine`, where no reader looks; return its new path."""
    home = place(root)
    inside = str(part).removeprefix(str(home)).lstrip("/")
    return parts.move(part, home / "quarantine" / inside)


def _store(folder: AnyPath) -> Found:
    found = Found(folder.name, strays=parts.strays(folder, SUFFIXES))
    sound: set[str] = set()
    for path in parts.list_parts(folder, SUFFIXES):
        found.parts += 1
        shard = None
        try:
            shard = read_shard(path)
            shard.verify()
            _content(shard, found)
            sound |= set(shard.video_ids)
        except CorruptPart as error:
            found.wrong.append((path, str(error)))
            found.lost |= set(shard.video_ids) if shard is not None else set()
        except FileNotFoundError:
            continue  # removed by compaction meanwhile
    found.lost -= sound
    return found


def _content(shard: Shard, found: Found) -> None:
    """Check what a checksum cannot show: content that was wrong when it was written. Raises CorruptPart."""
    with readable(shard.path):
        if shard.spec.name != found.name:
            raise ValueError(f"it holds {shard.spec.name}, not {found.name}")
        if len(set(shard.video_ids)) < len(shard.video_ids):
            raise ValueError("its index names a video twice")
        valid = shard.mask > NO_DATA
        edges, numbers = shard.index.row_start, shard.column("segment_index")
        inside = np.ones(max(shard.rows - 1, 0), bool)
        inside[edges[(edges > 0) & (edges < shard.rows)] - 1] = False  # from one video to the next
        if (np.diff(numbers)[inside] < (0 if shard.spec.rows == "window" else 1)).any():
            raise ValueError("segments of a video are not in order")
        if (shard.column("stop_ms") < shard.column("start_ms")).any():
            raise ValueError("a row stops before it starts")
        for start in range(0, shard.rows, ROWS):
            vectors = shard.slice(start, min(start + ROWS, shard.rows))
            usable = valid[start : start + ROWS]
            for rule, rows in (
                ("is NaN or infinite where its mask says that it is valid", usable & ~np.isfinite(vectors).all(1)),
                ("holds numbers where its mask says that there is no data", ~usable & ~np.isnan(vectors).all(1)),
            ):
                if rows.any():
                    raise ValueError(f"a row of video {_video(shard, start + int(np.argmax(rows)))!r} {rule}")
            if shard.spec.dim > 1:
                _constant(shard, found, start, np.flatnonzero(usable & (vectors == vectors[:, :1]).all(1)))


def _constant(shard: Shard, found: Found, start: int, rows: np.ndarray) -> None:
    found.constant += len(rows)
    for video in dict.fromkeys(_video(shard, start + int(row)) for row in rows):
        if video not in found.constant_videos:
            found.constant_videos.append(video)


def _video(shard: Shard, row: int) -> str:
    return shard.video_ids[int(np.searchsorted(shard.index.row_stop, row, side="right"))]
