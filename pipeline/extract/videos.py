"""Many videos through many extractors, each video decoded once.

Decoding processes cut videos into windows; here windows of all videos fill batches of one fixed shape, vectors are
averaged into segments as they come, and finished videos are sealed into the feature stores about once a minute. What is
to do is asked of the stores, so a first run, a resume and a backfill are the same call.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pyarrow.compute as pc

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.frames import FramePlan
from reelmill.pipeline.decode import Decoder, Limits, Tally, identity
from reelmill.pipeline.decode.sound import identity as sound_identity
from reelmill.pipeline.extract.ahead import decode_ahead
from reelmill.pipeline.extract.batch import Batch
from reelmill.pipeline.extract.cut import CutJob, CutSegment
from reelmill.pipeline.extract.gather import Gather
from reelmill.pipeline.planning.rates import Clock
from reelmill.storage import Outcome, Outcomes, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import FeatureStore, FeatureWriter, Format, features_folder


@dataclass(frozen=True)
class Video:
    """A media file to extract from; the measured facts are the probe's."""

    video_id: str
    path: str
    sha256: str
    start_ms: int
    duration_ms: int
    bytes: int | None = None
    """Size of the file, to notice that it is another one by now; None: not looked at."""


@dataclass(frozen=True)
class ExtractOptions:
    """How to extract; the first four change what is stored, the rest only how fast and how safely."""

    segment_ms: int = 5000
    rows: Literal["segment", "window"] = "segment"
    """One row a segment, its windows averaged, or one a window. Of sound: a segment or a video, by the extractor."""
    thumbnail_height: int = 180
    """Height of the key frame kept of each segment (table `frames`); 0 for none."""
    decoder: Decoder = "pyav"
    format: Format = "hdf5"
    workers: int = 1
    """Decoding processes."""
    seal_seconds: float = 60.0
    """Finished videos are committed at least this often."""
    limits: Limits = field(default_factory=Limits)


@dataclass
class ExtractSummary:
    """What a run did."""

    videos: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Failures by class; they count as videos too."""
    segments: int = 0
    video_seconds: float = 0.0
    seconds: float = 0.0
    windows: dict[str, int] = field(default_factory=dict)
    """Windows run through each extractor."""
    parts: list[tuple[str, float, float]] = field(default_factory=list)
    """Where the time went, for `rates`: (part, amount, seconds)."""


OnVideo: TypeAlias = Callable[[Video, Outcome], None]
"""Called once a video, with the outcome of its first store."""

Todo: TypeAlias = tuple[Video, dict[int, list[Spec]]]
"""A video and, for each extractor by its number, the specs that are missing of it."""

SEAL_BYTES = 256 << 20
"""Finished videos are committed when their vectors take this much."""


def specs_of(extractors: Sequence[Extractor], options: ExtractOptions) -> list[list[Spec]]:
    """The specs of each extractor's layers, under these options."""
    return [
        list(e.specs(segment_ms=options.segment_ms, decoder=_decoder(e, options), rows=options.rows).values())
        for e in extractors
    ]


def _decoder(extractor: Extractor, options: ExtractOptions) -> str:
    return identity(options.decoder) if isinstance(extractor.plan, FramePlan) else sound_identity()


def missing(
    root: str, videos: Sequence[Video], extractors: Sequence[Extractor], options: ExtractOptions, *, retry: bool = False
) -> list[Todo]:
    """Videos that lack a block made from today's file, each with {extractor's number: specs it lacks}.

    Cells whose last outcome was a permanent failure are left out unless `retry`.
    """
    failed = {} if retry else Outcomes(root).permanently_failed_by_spec("extract")
    media = {video.video_id: video.sha256 for video in videos}
    lacking: dict[str, dict[int, list[Spec]]] = {video.video_id: {} for video in videos}
    for number, specs in enumerate(specs_of(extractors, options)):
        for spec in specs:
            for video in lacking.keys() - _present(root, spec, media) - failed.get(spec.name, set()):
                lacking[video].setdefault(number, []).append(spec)
    return [(video, lacking[video.video_id]) for video in videos if lacking[video.video_id]]


def still_missing(root: str, todo: Sequence[Todo]) -> list[Todo]:
    """What of this nobody has done since: another process may work on the same root."""
    there = {spec.name: spec for _, lacking in todo for specs in lacking.values() for spec in specs}
    media = {video.video_id: video.sha256 for video, _ in todo}
    done = {name: _present(root, spec, media) for name, spec in there.items()}
    left = []
    for video, lacking in todo:
        rest = {n: [s for s in specs if video.video_id not in done[s.name]] for n, specs in lacking.items()}
        if rest := {n: specs for n, specs in rest.items() if specs}:
            left.append((video, rest))
    return left


def _present(root: str, spec: Spec, media: dict[str, str]) -> set[str]:
    """Those of these videos, with their files' hashes, that have a block made from this very file."""
    store = FeatureStore(features_folder(root) / spec.name, spec)
    known = store.provenance(media)
    return {video for video, came in known.items() if came.get("media_sha256", media[video]) == media[video]}


def pictured(root: str, segment_ms: int) -> set[str]:
    """Videos whose key frames stand in the `frames` table and fit the grid of this segment length."""
    frames = Tables(root).read("frames", ["video_id", "segment_index", "time_ms"])
    fits = pc.equal(pc.divide(frames["time_ms"], segment_ms), pc.cast(frames["segment_index"], "int64"))
    misfits = set(frames.filter(pc.invert(fits))["video_id"].unique().to_pylist())
    return set(frames["video_id"].unique().to_pylist()) - misfits


def extract(
    root: str,
    videos: Sequence[Video],
    extractors: Sequence[Extractor],
    options: ExtractOptions | None = None,
    *,
    retry: bool = False,
    on_video: OnVideo | None = None,
) -> ExtractSummary:
    """Extract what is missing of these videos into the stores under `root`.

    A video that fails becomes an outcome and does not stop the others. `on_video` is called once a video. Leaving early
    (Ctrl-C, an error) commits every finished video.
    """
    options = options or ExtractOptions()
    todo = missing(root, videos, extractors, options, retry=retry)
    return extract_missing(root, todo, extractors, options, pictured(root, options.segment_ms), on_video)


def extract_missing(
    root: str,
    todo: Sequence[Todo],
    extractors: Sequence[Extractor],
    options: ExtractOptions,
    have_pictures: Container[str] = (),
    on_video: OnVideo | None = None,
) -> ExtractSummary:
    """Extract what `missing` listed; no key frames are kept of videos that have them."""
    began = time.monotonic()
    summary = ExtractSummary(windows={e.name: 0 for e in extractors})
    if not todo:
        return summary
    store = _Store(root, options, summary, on_video)
    batches = [Batch(extractor, options.segment_ms) for extractor in extractors]
    jobs = (_job(video, lacking, extractors, options, video.video_id in have_pictures) for video, lacking in todo)
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
    video: Video, lacking: dict[int, list[Spec]], extractors: Sequence[Extractor], options: ExtractOptions, seen: bool
) -> tuple[Gather, CutJob]:
    gather = Gather(video, lacking, extractors, options.segment_ms)
    plans = {number: extractors[number].plan for number in lacking}
    height = 0 if seen else options.thumbnail_height
    return gather, CutJob(video.path, video.start_ms, video.duration_ms, options.segment_ms, plans, height,
                          options.limits, video.bytes, options.decoder)  # fmt: skip


class _Store:
    """Finished videos on their way into the frames table, the stores and the outcomes."""

    def __init__(self, root: str, options: ExtractOptions, summary: ExtractSummary, on_video: OnVideo | None) -> None:
        self.root, self.options, self.summary, self.on_video = root, options, summary, on_video
        self.writers: dict[str, FeatureWriter] = {}
        self.open: list[Gather] = []
        self.outcomes: list[Outcome] = []
        self.frames: list[dict[str, object]] = []
        self.bytes = 0
        self.sealed = time.monotonic()

    def collect(self, gather: Gather | None = None) -> None:
        """Take in every video that is complete by now; commit if it is time, or much is together."""
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
        except InputError as error:  # the network gave NaN, say: this video's failure, in all of its stores
            done.fail(error)
            blocks = []
        for block, spec in blocks:
            self.bytes += block.features.nbytes
            self._writer(spec).add(block)
        outcomes = done.outcomes()
        self.outcomes += outcomes
        self.frames += done.pictures
        self.summary.videos += 1
        if outcomes[0].status == "done":
            self.summary.segments += done.segments
        else:
            self.summary.failed[str(outcomes[0].error_class)] += 1
        self.summary.video_seconds += done.video.duration_ms / 1000
        if self.on_video:
            self.on_video(done.video, outcomes[0])

    def _writer(self, spec: Spec) -> FeatureWriter:
        if spec.name not in self.writers:  # it must not seal by itself: `commit` keeps the order
            never = 1 << 62
            self.writers[spec.name] = FeatureWriter(self.root, spec, self.options.format, never, never)
        return self.writers[spec.name]

    def commit(self) -> None:
        """Pictures, blocks, outcomes, in this order: a block says that all of its video is there, so it comes after the
        pictures, which replace themselves if they are made again; outcomes speak of what stands."""
        Tables(self.root).write("frames", self.frames)
        for writer in self.writers.values():
            writer.seal()
        Outcomes(self.root).write(self.outcomes)
        self.frames, self.outcomes, self.bytes = [], [], 0
        self.sealed = time.monotonic()
