"""A video cut into segments, and each segment into every extractor's windows. Runs in a child process.

One pass over the pictures, if an extractor needs frames, then one over the sound, if an extractor needs that. A frame
belongs to every segment in which it is on screen, also where it is held for minutes. It is scaled once for each
distinct geometry, and only if a window uses it. Until a segment is complete its frames are kept in memory: as decoded
if that is small, else scaled; the result is the same. Of the sound one window per plan is kept.
"""

import math
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
    """(windows,) bool: a frame was repeated (`Windows`), or samples are missing."""
    start_ms: np.ndarray
    """(windows,) int64: since when the first frame is on screen in the segment, or the range of the sound begins."""
    stop_ms: np.ndarray
    """(windows,) int64: until when the last frame is on screen in the segment, or the range ends."""


@dataclass(frozen=True)
class CutSegment:
    """The windows of one segment for some of the plans. A segment in which no frame is on screen has none for plans of
    frames, one without samples none for plans of sound; windows that span the whole video are in segment 0."""

    index: int
    cuts: Mapping[int, CutWindows]
    """By the extractor's number."""
    picture: tuple[int, int, int, bytes] | None = None
    """Key frame, the one on screen in the middle of the segment: since when it is on screen in the segment (ms), width,
    height, JPEG."""


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
    held = _Held(job, plans, 0)
    for picture in frames(job.path, job.decoder, job.start_ms / 1000, job.limits, tally, job.streams):
        if picture.time_ms >= job.duration_ms:
            break
        shown, stop = _Shown(*picture), min(picture.stop_ms, job.duration_ms)
        for index in range(max(int(shown.time_ms // job.segment_ms), 0), math.ceil(stop / job.segment_ms)):
            if index != held.index:
                if held.shown:
                    yield held.close()
                held = _Held(job, plans, index, held.scalers)
            held.add(shown)
    if held.shown:
        yield held.close()


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


@dataclass
class _Shown:
    """A frame that is on screen, and what became of it in each geometry so far."""

    time_ms: float
    stop_ms: float
    frame: Frame | None
    """As decoded; None once it was scaled for every geometry and freed."""
    scaled: dict[Geometry, np.ndarray] = field(default_factory=dict)


class _Held:
    """The frames on screen in the current segment."""

    def __init__(
        self,
        job: CutJob,
        plans: Mapping[int, FramePlan],
        index: int,
        scalers: dict[Geometry, Scaler] | None = None,
    ) -> None:
        self.job, self.plans, self.index = job, plans, index
        self.start = index * job.segment_ms
        self.stop = min(self.start + job.segment_ms, job.duration_ms)
        self.scalers = scalers or {plan.geometry: Scaler(plan.geometry, job.aspect) for plan in plans.values()}
        self.shown: list[_Shown] = []
        self._key: _Shown | None = None
        self._bytes = 0

    def add(self, shown: _Shown) -> None:
        self.shown.append(shown)
        if self._key is None or shown.time_ms <= (self.start + self.stop) // 2:
            self._key = shown
        if shown.frame is not None:
            self._bytes += sum(plane.buffer_size for plane in shown.frame.planes)
        if self._bytes > HELD_BYTES:
            self._let_go()

    def close(self) -> CutSegment:
        times = np.array([shown.time_ms for shown in self.shown])
        ends = np.array([shown.stop_ms for shown in self.shown])
        cuts = {number: self._windows(plan, times, ends) for number, plan in self.plans.items()}
        return CutSegment(self.index, {n: cut for n, cut in cuts.items() if len(cut.values)}, self._picture())

    def _windows(self, plan: FramePlan, times: np.ndarray, ends: np.ndarray) -> CutWindows:
        indices, padded = plan.windows.choose(times, self.start, self.stop, ends)
        pixels = np.empty((*indices.shape, *plan.geometry.crop, 3), np.uint8)
        for i, row in enumerate(indices):
            for j, number in enumerate(row):
                pixels[i, j] = self._at(self.shown[number], plan.geometry)
        since = np.maximum(times, self.start)[indices[:, 0]].round().astype(np.int64)
        until = np.minimum(ends, self.stop)[indices[:, -1]].round().astype(np.int64)
        return CutWindows(pixels, padded, since, until)

    def _at(self, shown: _Shown, geometry: Geometry) -> np.ndarray:
        if geometry not in shown.scaled:
            assert shown.frame is not None  # freed only after it was scaled for every geometry
            shown.scaled[geometry] = self.scalers[geometry](shown.frame)
        return shown.scaled[geometry]

    def _let_go(self) -> None:
        """Scale the frames for every geometry, and free the decoded ones; not the newest, which may be held in the next
        segments, nor the key frame."""
        for shown in self.shown[:-1]:
            if shown.frame is not None and shown is not self._key:
                for geometry in self.scalers:
                    self._at(shown, geometry)
                shown.frame = None
        self._bytes = 0

    def _picture(self) -> tuple[int, int, int, bytes] | None:
        if self._key is None or self._key.frame is None or not self.job.thumbnail_height:
            return None
        since = min(round(max(self._key.time_ms, self.start)), self.stop - 1)
        return since, *thumbnail(self._key.frame, self.job.thumbnail_height, self.job.aspect)
