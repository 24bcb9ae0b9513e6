"""A video cut into segments, and each segment into every extractor's windows. Runs in a child process.

One pass over the pictures, if an extractor needs frames, then one over the sound, if an extractor needs that. A frame
is scaled once for each distinct geometry, and only if a window uses it. Until a segment is complete its frames are kept
in memory: as decoded if that is small, else scaled; the result is the same. Of the sound one window per plan is kept.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from reelmill.extractors.core.frames import FramePlan, Geometry
from reelmill.extractors.core.sound import NO_SOUND, NO_TIME, SoundPlan
from reelmill.pipeline.decode import BY_RULE, SQUARE, Decoder, Frame, Limits, Scaler, Streams, Tally, frames, thumbnail
from reelmill.pipeline.decode.sound import read_sound
from reelmill.pipeline.errors import Changed, Corrupt

HELD_BYTES = 96 << 20
"""Decoded frames of a segment are kept as decoded up to this size, then scaled."""


@dataclass(frozen=True)
class CutJob:
    """One video to cut."""

    path: str
    start_ms: int
    """Presentation time of the first frame, from the probe."""
    duration_ms: int
    segment_ms: int
    plans: Mapping[int, FramePlan | SoundPlan]
    """The plan of each extractor, by its number."""
    thumbnail_height: int = 0
    """Height of the key frame of each segment; 0 for none."""
    limits: Limits = field(default_factory=Limits)
    bytes: int | None = None
    """Size of the file when it was measured, to detect that it has been replaced."""
    decoder: Decoder = "pyav"
    streams: Streams = BY_RULE
    aspect: Fraction = SQUARE
    """Width of a pixel of the upright frame divided by its height."""


@dataclass(frozen=True)
class CutWindows:
    """The windows of one segment for one plan."""

    values: np.ndarray
    """(windows, *plan.shape(segment_ms)): frames (uint8 RGB), or samples (float32)."""
    padded: np.ndarray
    """(windows,) bool: the last frame was repeated, or samples are missing."""
    start_ms: np.ndarray
    """(windows,) int64: when the first frame is shown, or the range of the sound begins."""
    stop_ms: np.ndarray
    """(windows,) int64: when the frame after the last one is shown, or the range ends."""


@dataclass(frozen=True)
class CutSegment:
    """The windows of one segment for some of the plans. A segment without frames has none for plans of frames, one
    without samples none for plans of sound; windows that span the whole video are in segment 0."""

    index: int
    cuts: Mapping[int, CutWindows]
    """By the extractor's number."""
    picture: tuple[int, int, int, bytes] | None = None
    """Key frame: time_ms, width, height, JPEG."""


def cut(job: CutJob) -> Iterator[CutSegment | Tally]:
    """Target for a child process: the segments, those of frames in order, then those of sound in order; then the tally.

    Raises Corrupt if a plan needs frames and none can be decoded, Changed if the file is not the one that was
    measured. Sound that cannot be decoded is treated as no sound.
    """
    tally, began = Tally(), time.process_time()
    path = Path(job.path)
    if job.bytes is not None and path.is_file() and path.stat().st_size != job.bytes:
        raise Changed(f"{path} has {path.stat().st_size} bytes, {job.bytes} were measured; run `reelmill ingest` again")
    plans = {number: plan for number, plan in job.plans.items() if isinstance(plan, FramePlan)}
    if plans or job.thumbnail_height:
        yield from _cut_frames(job, plans, tally)
    if plans and not tally.frames:
        raise Corrupt(f"{job.path}: no frame can be decoded ({tally.errors} packets failed)")
    sounds = {number: plan for number, plan in job.plans.items() if isinstance(plan, SoundPlan)}
    for rate in sorted({plan.rate for plan in sounds.values()}):
        yield from _cut_sound(job, {n: plan for n, plan in sounds.items() if plan.rate == rate}, tally)
    tally.cpu_seconds = time.process_time() - began
    yield tally


def _cut_frames(job: CutJob, plans: Mapping[int, FramePlan], tally: Tally) -> Iterator[CutSegment]:
    index, held = 0, _Held(job, plans)
    for time_ms, frame in frames(job.path, job.decoder, job.start_ms / 1000, job.limits, tally, job.streams):
        if time_ms >= job.duration_ms:
            break
        if time_ms // job.segment_ms != index:
            if held.times:
                yield held.close(index)
            index, held = max(time_ms // job.segment_ms, 0), _Held(job, plans, held.scalers)
        held.add(time_ms, frame)
    if held.times:
        yield held.close(index)


def _cut_sound(job: CutJob, plans: Mapping[int, SoundPlan], tally: Tally) -> Iterator[CutSegment]:
    """Extractors with equal plans share their windows. `plans` have one rate."""
    asked = {plan: [number for number, other in plans.items() if other == plan] for plan in plans.values()}
    listening = [_Listening(plan, numbers, job) for plan, numbers in asked.items()]
    for first, samples in read_sound(job.path, job.start_ms, next(iter(asked)).rate, job.limits, tally, job.streams):
        for one in listening:
            yield from one.take(first, samples)
        if all(one.cell is None for one in listening):
            return
    for one in listening:
        yield from one.close()


class _Listening:
    """One plan of sound: the window that is being filled, and the cells after it."""

    def __init__(self, plan: SoundPlan, numbers: list[int], job: CutJob) -> None:
        self.plan, self.numbers = plan, numbers
        self.shape = plan.shape(job.segment_ms)
        self.cells = plan.cells(job.duration_ms, job.segment_ms)
        self._next()

    def take(self, first: int, samples: np.ndarray) -> Iterator[CutSegment]:
        """Copy samples into the windows; `first` is the number of the first sample."""
        while self.cell is not None:
            for row, (start, stop) in zip(self.rows, self.cell.samples, strict=True):
                begin, end = max(start, first), min(stop, first + len(samples))
                if begin < end:
                    row[begin - start : end - start] = samples[begin - first : end - first]
            if first + len(samples) < self.cell.samples[-1][1]:
                return
            yield from self.close()

    def close(self) -> Iterator[CutSegment]:
        """Yield the window as it is, if it has any sample; then begin the next one."""
        if self.cell is None:
            return
        heard = np.isfinite(self.rows).sum(axis=1)
        if heard.any():
            lasting = np.array([stop - start for start, stop in self.cell.samples])
            padded = np.array([bool((heard < np.maximum(lasting, self.plan.least)).any())])
            start, stop = np.array([self.cell.start_ms]), np.array([self.cell.stop_ms])
            cut = CutWindows(self.rows.reshape(1, *self.shape), padded, start, stop)
            yield CutSegment(self.cell.segment, dict.fromkeys(self.numbers, cut))
        self._next()

    def _next(self) -> None:
        self.cell = next(self.cells, None)
        if self.cell is not None:
            self.rows = np.full((len(self.cell.samples), self.shape[-1]), NO_TIME)
            for row, (start, stop) in zip(self.rows, self.cell.samples, strict=True):
                row[: stop - start] = NO_SOUND


class _Held:
    """The frames of the current segment."""

    def __init__(
        self, job: CutJob, plans: Mapping[int, FramePlan], scalers: dict[Geometry, Scaler] | None = None
    ) -> None:
        self.job, self.plans = job, plans
        self.scalers = scalers or {plan.geometry: Scaler(plan.geometry, job.aspect) for plan in plans.values()}
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
        cuts = {number: self._windows(plan, times, start, stop) for number, plan in self.plans.items()}
        if self.picture is None and self.job.thumbnail_height:
            self._take_picture(len(times) // 2)
        return CutSegment(index, cuts, self.picture)

    def _windows(self, plan: FramePlan, times: np.ndarray, start: int, stop: int) -> CutWindows:
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
            assert frame is not None  # freed only after it was scaled for every geometry
            kept[geometry] = self.scalers[geometry](frame)
        return kept[geometry]

    def _let_go(self) -> None:
        """Scale the kept frames for every geometry, and free the decoded ones."""
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
            self.picture = (self.times[number], *thumbnail(frame, self.job.thumbnail_height, self.job.aspect))
