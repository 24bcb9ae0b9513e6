"""One decode pass cut into segments, and each segment into every extractor's windows. Runs in a child process.

A frame is scaled once for each distinct geometry, and only if some window wants it. Until a segment is complete its
frames wait: as decoded where that is small, else already scaled; what comes out is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from extractors.frames import Geometry, Windows
from pipeline.decode import Frame, Limits, Scaler, Tally, open_video, read_frames, thumbnail
from pipeline.errors import Changed, Corrupt

HELD_BYTES = 96 << 20
"""Decoded frames of one segment may wait as they are while they need less than this."""


@dataclass(frozen=True)
class Plan:
    """What one extractor wants."""

    geometry: Geometry
    windows: Windows


@dataclass(frozen=True)
class CutJob:
    """One video to cut."""

    path: str
    start_ms: int
    """Presentation time of the first frame, from the probe."""
    duration_ms: int
    segment_ms: int
    plans: tuple[Plan, ...]
    thumbnail_height: int = 0
    """Height of the key frame of each segment; 0 for none."""
    limits: Limits = field(default_factory=Limits)
    bytes: int | None = None
    """Size of the file when it was measured, to notice that it is another one now."""


@dataclass(frozen=True)
class CutWindows:
    """The windows of one segment for one plan."""

    pixels: np.ndarray
    """(windows, length, height, width, 3) uint8 RGB."""
    padded: np.ndarray
    """(windows,) bool: the last frame was repeated."""
    start_ms: np.ndarray
    """(windows,) int64: when the first frame is shown."""
    stop_ms: np.ndarray
    """(windows,) int64: when the frame after the last one is shown, or the segment ends."""


@dataclass(frozen=True)
class CutSegment:
    """One segment with at least one frame; segments without any are not sent."""

    index: int
    plans: tuple[CutWindows, ...]
    """In the order of the job's plans."""
    picture: tuple[int, int, int, bytes] | None
    """Key frame: time_ms, width, height, JPEG."""


def cut(job: CutJob) -> Iterator[CutSegment | Tally]:
    """Target for a child process: the segments in order, then the tally.

    Raises Corrupt if no frame can be decoded, Changed if the file is not the one that was measured.
    """
    tally = Tally()
    path = Path(job.path)
    if job.bytes is not None and path.is_file() and path.stat().st_size != job.bytes:
        raise Changed(f"{path} has {path.stat().st_size} bytes, {job.bytes} were measured; run `reelmill ingest` again")
    index, held = 0, _Held(job)
    with open_video(job.path, job.limits) as (container, stream):
        for time_ms, frame in read_frames(container, stream, job.start_ms / 1000, job.limits, tally):
            if time_ms >= job.duration_ms:
                break
            if time_ms // job.segment_ms != index:
                if held.times:
                    yield held.close(index)
                index, held = max(time_ms // job.segment_ms, 0), _Held(job, held.scalers)
            held.add(time_ms, frame)
    if held.times:
        yield held.close(index)
    if not tally.frames:
        raise Corrupt(f"{job.path}: no frame can be decoded ({tally.errors} packets failed)")
    yield tally


class _Held:
    """The frames of the segment that is being read."""

    def __init__(self, job: CutJob, scalers: dict[Geometry, Scaler] | None = None) -> None:
        self.job = job
        self.scalers = scalers or {plan.geometry: Scaler(plan.geometry) for plan in job.plans}
        self.times: list[int] = []
        self.frames: list[Frame | None] = []
        self.scaled: list[dict[Geometry, np.ndarray]] = []
        self.picture: tuple[int, int, int, bytes] | None = None
        self._bytes = 0

    def add(self, time_ms: int, frame: Frame) -> None:
        self.times.append(time_ms)
        self.frames.append(frame)
        self.scaled.append({})
        self._bytes += sum(plane.buffer_size for plane in frame.planes)
        if self._bytes > HELD_BYTES:
            self._let_go()

    def close(self, index: int) -> CutSegment:
        start = index * self.job.segment_ms
        stop = min(start + self.job.segment_ms, self.job.duration_ms)
        times = np.array(self.times, dtype=np.int64)
        cuts = tuple(self._windows(plan, times, start, stop) for plan in self.job.plans)
        if self.picture is None and self.job.thumbnail_height:
            self._take_picture(len(times) // 2)
        return CutSegment(index, cuts, self.picture)

    def _windows(self, plan: Plan, times: np.ndarray, start: int, stop: int) -> CutWindows:
        indices, padded = plan.windows.choose(times, start, stop)
        pixels = np.empty((*indices.shape, *plan.geometry.crop, 3), np.uint8)
        for i, row in enumerate(indices):
            for j, number in enumerate(row):
                pixels[i, j] = self._at(int(number), plan.geometry)
        after = np.append(times, stop)[indices[:, -1] + 1]
        return CutWindows(pixels, padded, times[indices[:, 0]], after)

    def _at(self, number: int, geometry: Geometry) -> np.ndarray:
        kept = self.scaled[number]
        if geometry not in kept:
            frame = self.frames[number]
            assert frame is not None  # let go only after it was scaled for every geometry
            kept[geometry] = self.scalers[geometry](frame)
        return kept[geometry]

    def _let_go(self) -> None:
        """Scale what waits for every geometry, and drop the decoded frames."""
        if self.picture is None and self.job.thumbnail_height:
            self._take_picture(len(self.times) // 2)
        for number, frame in enumerate(self.frames):
            if frame is not None:
                for geometry in self.scalers:
                    self._at(number, geometry)
                self.frames[number] = None
        self._bytes = 0

    def _take_picture(self, number: int) -> None:
        frame = self.frames[number]
        if frame is not None:
            self.picture = (self.times[number], *thumbnail(frame, self.job.thumbnail_height))
