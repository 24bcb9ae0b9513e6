"""Write a highlight of a media file as a small GIF or MP4 of a few seconds, for people to look at.

The file is read in a child process (`reelmill.pipeline.process.child`), as all foreign files are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reelmill.extractors.core.frames import Geometry
from reelmill.pipeline.decode import BY_RULE, SQUARE, Frame, Limits, Scaler, Streams, Tally, shown_size
from reelmill.pipeline.decode.excerpt import excerpt
from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.errors import Changed, Corrupt
from reelmill.pipeline.media import at_hand
from reelmill.pipeline.probe import COLUMNS, aspect_of, streams_of
from reelmill.pipeline.process.child import Child
from reelmill.storage import Tables, parts
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.place import AnyRoot, below

FPS = {".gif": 10, ".mp4": 25}
"""{suffix: pictures per second}. A GIF counts in hundredths of a second."""
SIDE = 320
"""Longest side in pixels; smaller videos keep their size."""
SHORTEST_MS, LONGEST_MS = 2_000, 15_000
"""A shorter range is extended on both sides, of a longer one the beginning is taken."""


@dataclass(frozen=True)
class HighlightJob:
    """Which range to read from which file."""

    path: str
    start_ms: int
    """Presentation time of the first frame, from the probe."""
    begin_ms: int
    end_ms: int
    fps: int
    limits: Limits = field(default_factory=Limits)
    bytes: int | None = None
    """Size of the file when it was measured, to detect that it has been replaced."""
    streams: Streams = BY_RULE
    aspect: Fraction = SQUARE
    """Width of a pixel of the upright frame divided by its height."""


def write_highlight(root: AnyRoot, video_id: str, start_ms: int, stop_ms: int, path: str | Path) -> dict[str, Any]:
    """Cut [start_ms, stop_ms) of a video of the root; return the file, and its actual start and stop.

    The file appears under its name when it is complete. Raises InputError for another suffix than .gif or .mp4, or a
    video without media; NotFound, Corrupt, Changed and other VideoErrors if its file cannot be read.
    """
    path = Path(path)
    check_name(path)
    media = _media(root, video_id)
    begin, end = bounded(start_ms, stop_ms, media["duration_ms"])
    fps, limits = FPS[path.suffix.lower()], Limits()
    with (
        at_hand(below(root, media["uri"])) as source,
        Child("reelmill.pipeline.highlight:read", memory_bytes=limits.memory_bytes) as child,
    ):
        job = HighlightJob(
            str(source), media["start_ms"], begin, end, fps, limits, media["bytes"], streams_of(media), aspect_of(media)
        )
        pictures = child.run(job, limit_s=job.limits.wall_seconds)
        write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
        count, (height, width) = write(path, pictures, fps)
    return {
        "file": str(path), "video_id": video_id, "start_ms": begin, "stop_ms": end,
        "pictures": count, "width": width, "height": height,
    }  # fmt: skip


def check_name(path: Path) -> None:
    """Raise InputError unless the name ends in the suffix of a format."""
    if path.suffix.lower() not in FPS:
        raise InputError(f"highlight {str(path)!r}: the name must end in {' or '.join(FPS)}")


def span(rows: Sequence[Mapping[str, Any]]) -> tuple[str, int, int]:
    """Video, start and stop of the first of these ranges, with those among the others that touch it, one after another:
    steps shorter than a second form a highlight together. Raises InputError if there is no range."""
    first = next(iter(rows), None)
    if first is None or first.get("start_ms") is None:
        raise InputError("whole videos are recommended here, which have no highlight to cut; name a run of segments, "
                         "steps or key frames, such as transgrec, prnet or jifr")  # fmt: skip
    ranges = {
        (row["start_ms"], row["stop_ms"])
        for row in rows
        if row["video_id"] == first["video_id"] and row.get("start_ms") is not None
    }
    start, stop = first["start_ms"], first["stop_ms"]
    while touching := [r for r in ranges if r[0] <= stop and start <= r[1] and not start <= r[0] <= r[1] <= stop]:
        start, stop = min(start, *(r[0] for r in touching)), max(stop, *(r[1] for r in touching))
        if stop - start >= LONGEST_MS:
            break
    return first["video_id"], start, stop


def bounded(start_ms: int, stop_ms: int, duration_ms: int) -> tuple[int, int]:
    """The range, limited to the video, neither too short nor too long. Raises InputError if it is outside the video."""
    if not 0 <= start_ms < min(stop_ms, duration_ms):
        raise InputError(f"range {start_ms}–{stop_ms} ms: not within a video of {duration_ms} ms; extract it again")
    stop_ms = min(stop_ms, duration_ms)
    if (lacks := SHORTEST_MS - (stop_ms - start_ms)) > 0:
        start_ms = max(0, min(start_ms - lacks // 2, duration_ms - SHORTEST_MS))
        stop_ms = min(duration_ms, start_ms + SHORTEST_MS)
    return start_ms, min(stop_ms, start_ms + LONGEST_MS)


def read(job: HighlightJob) -> Iterator[np.ndarray]:
    """Target for a child process: (height, width, 3) uint8 RGB at each tick of the range, upright and scaled, even
    sizes. The picture at a tick is the last frame that began by then; the first frame of all, if none did.

    Raises Changed if the file is not the one that was measured, Corrupt if the range holds no frame.
    """
    size = Path(job.path).stat().st_size if Path(job.path).is_file() else None
    if None not in (job.bytes, size) and size != job.bytes:
        raise Changed(f"{job.path} has {size} bytes, {job.bytes} were measured; run `reelmill ingest` again")
    ticks = iter(np.arange(job.begin_ms, job.end_ms, 1000 / job.fps).tolist())
    tick, held, scaler = next(ticks, None), None, None
    for time_ms, frame in excerpt(job.path, job.start_ms / 1000, job.begin_ms, job.limits, Tally(), job.streams):
        scaler = scaler or _scaler(frame, job.aspect)
        while held is not None and tick is not None and time_ms > tick:
            yield scaler(held)
            tick = next(ticks, None)
        if tick is None:
            return
        held = frame
    if held is None or scaler is None:
        raise Corrupt(f"{job.path}: no frame of it can be decoded")
    last = scaler(held)
    while tick is not None:
        yield last
        tick = next(ticks, None)


def _scaler(frame: Frame, aspect: Fraction) -> Scaler:
    """Scales to at most SIDE pixels, to even numbers, as H.264 requires."""
    height, width = shown_size(frame, aspect)
    share = min(1.0, SIDE / max(height, width))
    to = max(2, round(height * share / 2) * 2), max(2, round(width * share / 2) * 2)
    return Scaler(Geometry(crop=to, scale_to=to, filter="area"))


def _write_gif(path: Path, pictures: Iterator[np.ndarray], fps: int) -> tuple[int, tuple[int, int]]:
    """Each picture has its own palette. Returns the number of pictures, and (height, width)."""
    drawn = [Image.fromarray(picture).quantize(dither=Image.Dither.NONE) for picture in pictures]
    with parts.replacing(path) as temporary, temporary.open("wb") as file:
        drawn[0].save(file, "GIF", save_all=True, append_images=drawn[1:], duration=1000 // fps, loop=0)
    return len(drawn), (drawn[0].height, drawn[0].width)


def _write_mp4(path: Path, pictures: Iterator[np.ndarray], fps: int) -> tuple[int, tuple[int, int]]:
    """The same for H.264."""
    shapes = []

    def counted() -> Iterator[np.ndarray]:
        for picture in pictures:
            shapes.append(picture.shape[:2])
            yield picture

    write_video(path, counted(), fps, None, 0)
    return len(shapes), shapes[0]


def _media(root: AnyRoot, video_id: str) -> dict[str, Any]:
    """The row of a video in the table `media`. Raises InputError."""
    table = Tables(root).read("media", ["video_id", "uri", *COLUMNS])
    rows = {row["video_id"]: row for row in table.to_pylist()}
    if video_id not in rows:
        why = nearest(video_id, sorted(rows)) if 0 < len(rows) <= 20 else f"{len(rows):,} others have some"
        raise InputError(f"video {video_id!r} has no media file to cut ({why}); download it first (reelmill ingest)")
    return rows[video_id]
