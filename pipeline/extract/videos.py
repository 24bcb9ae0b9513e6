"""Many videos through many extractors, each video decoded once.

Decoding processes cut videos into windows; here windows of all videos fill batches of one fixed shape, vectors are
averaged into segments as they arrive, and finished videos are sealed into the feature stores about once a minute.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from reelmill.extractors.core.base import Extractor
from reelmill.pipeline.decode import SQUARE, Tally
from reelmill.pipeline.extract.ahead import decode_ahead
from reelmill.pipeline.extract.batch import Batch
from reelmill.pipeline.extract.cut import CutJob, CutSegment
from reelmill.pipeline.extract.gather import Gather
from reelmill.pipeline.extract.missing import ExtractOptions, Todo, Video, missing, pictured
from reelmill.pipeline.planning.rates import Clock
from reelmill.storage import FeatureWriter, Outcome, Outcomes, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot
from reelmill.storage.shield import shielded


@dataclass
class ExtractSummary:
    """Figures of an extraction."""

    videos: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Failures by class; failed videos are counted in `videos`, too."""
    segments: int = 0
    video_seconds: float = 0.0
    seconds: float = 0.0
    windows: dict[str, int] = field(default_factory=dict)
    """Number of windows of each extractor."""
    pictures: int = 0
    """Videos of which key frames alone were missing and were made again; they are counted nowhere else."""
    parts: list[tuple[str, float, float]] = field(default_factory=list)
    """What the time was spent on, for `rates`: (part, amount, seconds)."""


OnVideo: TypeAlias = Callable[[Video, Outcome], None]
"""Called once per video, with the outcome of its first store."""

SEAL_BYTES = 256 << 20
"""Finished videos are committed when their vectors have this many bytes."""


def extract(
    root: AnyRoot,
    videos: Sequence[Video],
    extractors: Sequence[Extractor],
    options: ExtractOptions | None = None,
    *,
    retry: bool = False,
    on_video: OnVideo | None = None,
) -> ExtractSummary:
    """Extract the missing features of these videos into the stores under `root`.

    A failure becomes an outcome and does not stop the other videos. `on_video` is called once per video. Leaving early
    (Ctrl-C, an error) commits every finished video.
    """
    options = options or ExtractOptions()
    todo = missing(root, videos, extractors, options, retry=retry)
    return extract_missing(root, todo, extractors, options, pictured(root, options.segment_ms), on_video)


def extract_missing(
    root: AnyRoot,
    todo: Sequence[Todo],
    extractors: Sequence[Extractor],
    options: ExtractOptions,
    have_pictures: Container[str] = (),
    on_video: OnVideo | None = None,
) -> ExtractSummary:
    """Extract what `missing` has listed; no key frames are stored for videos that have them."""
    began = time.monotonic()
    summary = ExtractSummary(windows={e.name: 0 for e in extractors})
    if not todo:
        return summary
    store = _Store(root, options, summary, on_video)
    batches = [Batch(extractor, options.segment_ms) for extractor in extractors]
    jobs = (_job(video, needed, extractors, options, video.video_id in have_pictures) for video, needed in todo)
    clock = Clock()
    try:
        for gather, message in clock.waiting(decode_ahead(jobs, options.workers, options.limits, options.decoder)):
            if gather.closed:
                continue
            if isinstance(message, CutSegment):
                for number, cut in message.cuts.items():
                    gather.expect(number, message.index, cut)
                    batches[number].push(gather, message.index, cut)
                gather.take_picture(message)
            elif isinstance(message, Tally):
                clock.decoded(message)
                gather.finish_decoding(message)
            else:
                gather.fail(message)
            store.collect(gather)
        for batch in batches:
            batch.flush()
        store.collect()
    finally:
        with clock.beginning():
            store.commit()
        summary.windows = {batch.extractor.name: batch.done for batch in batches}
        summary.seconds = time.monotonic() - began
        summary.parts = clock.parts(batches, summary.video_seconds, summary.seconds)
    return summary


def _job(
    video: Video, needed: dict[int, list[Spec]], extractors: Sequence[Extractor], options: ExtractOptions, seen: bool
) -> tuple[Gather, CutJob]:
    gather = Gather(video, needed, extractors, options.segment_ms)
    plans = {number: extractors[number].plan for number in needed}
    height = 0 if seen else options.thumbnail_height
    return gather, CutJob(video.path, video.start_ms, video.duration_ms, options.segment_ms, plans, height,
                          options.limits, video.bytes, options.decoder, video.streams,
                          video.aspect if options.pixels == "display" else SQUARE)  # fmt: skip


class _Store:
    """Collects finished videos and commits them to the table `frames`, the stores and the outcomes."""

    def __init__(
        self, root: AnyRoot, options: ExtractOptions, summary: ExtractSummary, on_video: OnVideo | None
    ) -> None:
        self.root, self.options, self.summary, self.on_video = root, options, summary, on_video
        self.writers: dict[str, FeatureWriter] = {}
        self.open: list[Gather] = []
        self.outcomes: list[Outcome] = []
        self.frames: list[dict[str, object]] = []
        self.bytes = 0
        self.sealed = time.monotonic()

    def collect(self, gather: Gather | None = None) -> None:
        """Take every video that is complete by now; commit if it is time, or enough bytes are collected."""
        if gather is not None and gather not in self.open:
            self.open.append(gather)
        for done in [g for g in self.open if g.complete]:
            self.open.remove(done)
            done.closed = True
            self._take(done)
        if self.bytes >= SEAL_BYTES or time.monotonic() - self.sealed > self.options.seal_seconds:
            self.commit()

    def _take(self, done: Gather) -> None:
        try:
            blocks = [(block.packed(spec), spec) for block, spec in done.blocks()]
        except InputError as error:  # such as NaN from the network: the video has failed in all of its stores
            done.fail(error)
            blocks = []
        for block, spec in blocks:
            self.bytes += block.features.nbytes
            self._writer(spec).add(block)
        outcomes = done.outcomes()
        self.outcomes += outcomes
        self.frames += done.pictures
        if not done.lanes:
            self.summary.pictures += outcomes[0].status == "done"
        else:
            self.summary.videos += 1
            if outcomes[0].status == "done":
                self.summary.segments += done.segments
            else:
                self.summary.failed[str(outcomes[0].error_class)] += 1
        self.summary.video_seconds += done.video.duration_ms / 1000
        if self.on_video:
            self.on_video(done.video, outcomes[0])

    def _writer(self, spec: Spec) -> FeatureWriter:
        if spec.name not in self.writers:  # it must not seal by itself: `commit` decides the order
            never = 1 << 62
            self.writers[spec.name] = FeatureWriter(self.root, spec, self.options.format, never, never)
        return self.writers[spec.name]

    def commit(self) -> None:
        """Commit pictures, blocks and outcomes, in this order: a block means that its video is done, so it comes after
        the pictures, which replace the old ones if they are made again; outcomes report what is stored."""
        with shielded():
            Tables(self.root).write("frames", self.frames)
            for writer in self.writers.values():
                writer.seal()
            Outcomes(self.root).write(self.outcomes)
            self.frames, self.outcomes, self.bytes = [], [], 0
            self.sealed = time.monotonic()
