"""Many videos through many extractors, each video decoded once.

Decoding processes cut videos into windows; here windows of all videos fill batches of one fixed shape, vectors are
averaged into segments as they come, and finished videos are sealed into the feature stores about once a minute. What is
to do is asked of the stores, so a first run, a resume and a backfill are the same call.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from extractors.base import Extractor
from pipeline.child import Child
from pipeline.cut import CutJob, CutSegment, CutWindows, Plan
from pipeline.decode import DECODER, Limits, Tally
from pipeline.gather import Gather
from storage import Outcome, Outcomes, Spec, Tables
from storage.features import FeatureWriter, Format, present


@dataclass(frozen=True)
class Video:
    """A media file to extract from; the measured facts are the probe's."""

    video_id: str
    path: str
    sha256: str
    start_ms: int
    duration_ms: int


@dataclass(frozen=True)
class ExtractOptions:
    """How to extract; the first three change what is stored, the rest only how fast and how safely."""

    segment_ms: int = 5000
    rows: Literal["segment", "window"] = "segment"
    thumbnail_height: int = 180
    """Height of the key frame kept of each segment (table `frames`); 0 for none."""
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
    failed: int = 0
    segments: int = 0
    video_seconds: float = 0.0
    seconds: float = 0.0
    windows: dict[str, int] = field(default_factory=dict)
    """Windows run through each extractor."""


def specs_of(extractors: Sequence[Extractor], options: ExtractOptions) -> list[list[Spec]]:
    """The specs of each extractor's layers, under these options."""
    return [
        list(e.specs(segment_ms=options.segment_ms, decoder=DECODER, rows=options.rows).values()) for e in extractors
    ]


def missing(
    root: str, videos: Sequence[Video], extractors: Sequence[Extractor], options: ExtractOptions, *, retry: bool = False
) -> list[tuple[Video, dict[int, list[Spec]]]]:
    """Videos that lack a block, each with {extractor's number: specs it lacks}.

    Cells whose last outcome was a permanent failure are left out unless `retry`.
    """
    outcomes = Outcomes(root)
    lacking: dict[str, dict[int, list[Spec]]] = {video.video_id: {} for video in videos}
    for number, specs in enumerate(specs_of(extractors, options)):
        for spec in specs:
            done = present(root, spec)
            if not retry:
                done |= outcomes.permanently_failed("extract", spec.name)
            for video in lacking.keys() - done:
                lacking[video].setdefault(number, []).append(spec)
    return [(video, lacking[video.video_id]) for video in videos if lacking[video.video_id]]


def extract(
    root: str,
    videos: Sequence[Video],
    extractors: Sequence[Extractor],
    options: ExtractOptions | None = None,
    *,
    retry: bool = False,
    on_video: Callable[[Video, Outcome], None] | None = None,
) -> ExtractSummary:
    """Extract what is missing of these videos into the stores under `root`.

    A video that fails becomes an outcome and does not stop the others. `on_video` is called once a video. Leaving early
    (Ctrl-C, an error) commits every finished video.
    """
    options = options or ExtractOptions()
    began = time.monotonic()
    todo = missing(root, videos, extractors, options, retry=retry)
    summary = ExtractSummary(windows={e.name: 0 for e in extractors})
    if not todo:
        return summary
    store = _Store(root, options)
    batches = [_Batch(extractor, summary) for extractor in extractors]
    try:
        for gather, message in _decode(todo, extractors, options, Tables(root).units("frames")):
            if isinstance(message, CutSegment):
                for number, cut in zip(gather.numbers, message.plans, strict=True):
                    gather.expect(number, message.index, cut)
                    batches[number].push(gather, message.index, cut)
                gather.take_picture(message)
            elif isinstance(message, Tally):
                gather.finish_decoding(message)
            else:
                gather.fail(message)
            store.collect(gather, summary, on_video)
        for batch in batches:
            batch.flush()
        store.collect(None, summary, on_video)
    finally:
        store.commit()
        summary.seconds = time.monotonic() - began
    return summary


class _Batch:
    """Windows of one extractor from many videos, until the batch is full. The array is filled in place and never
    changes its shape: what stands in unused places is old windows, which touch no other row."""

    def __init__(self, extractor: Extractor, summary: ExtractSummary) -> None:
        height, width = extractor.geometry.crop
        self.extractor, self.summary = extractor, summary
        self.pixels = np.zeros((extractor.batch_size, extractor.windows.length, height, width, 3), np.uint8)
        self.owners: list[tuple[Gather, int, int, int]] = []  # gather, segment, from row, to row
        self.filled = 0

    def push(self, gather: Gather, segment: int, cut: CutWindows) -> None:
        """Take windows in; run the network whenever the batch is full."""
        done = 0
        while done < len(cut.pixels):
            n = min(len(cut.pixels) - done, len(self.pixels) - self.filled)
            self.pixels[self.filled : self.filled + n] = cut.pixels[done : done + n]
            self.owners.append((gather, segment, self.filled, self.filled + n))
            self.filled += n
            done += n
            if self.filled == len(self.pixels):
                self.flush()

    def flush(self) -> None:
        """Run the network on what is there and hand the vectors to their videos."""
        if not self.filled:
            return
        vectors = self.extractor.forward(self.pixels)
        for gather, segment, start, stop in self.owners:
            gather.add(self.extractor.name, segment, {layer: v[start:stop] for layer, v in vectors.items()})
        self.summary.windows[self.extractor.name] += self.filled
        self.owners, self.filled = [], 0


class _Store:
    """Finished videos on their way into the stores, the frames table and the outcomes."""

    def __init__(self, root: str, options: ExtractOptions) -> None:
        self.root, self.options = root, options
        self.writers: dict[str, FeatureWriter] = {}
        self.open: list[Gather] = []
        self.outcomes: list[Outcome] = []
        self.frames: list[dict[str, object]] = []
        self.sealed = time.monotonic()

    def collect(
        self, gather: Gather | None, summary: ExtractSummary, on_video: Callable[[Video, Outcome], None] | None
    ) -> None:
        """Take in every video that is complete by now; commit if it is time."""
        if gather is not None and gather not in self.open:
            self.open.append(gather)
        for done in [g for g in self.open if g.complete]:
            self.open.remove(done)
            for block, spec in done.blocks():
                if spec.name not in self.writers:
                    self.writers[spec.name] = FeatureWriter(self.root, spec, self.options.format)
                self.writers[spec.name].add(block)
            outcomes = done.outcomes()
            self.outcomes += outcomes
            self.frames += done.pictures
            summary.videos += 1
            summary.failed += outcomes[0].status == "failed"
            summary.segments += done.segments if outcomes[0].status == "done" else 0
            summary.video_seconds += done.video.duration_ms / 1000
            if on_video:
                on_video(done.video, outcomes[0])
        if time.monotonic() - self.sealed > self.options.seal_seconds:
            self.commit()

    def commit(self) -> None:
        """Seal the blocks first, then say so: a crash in between repeats nothing and hides nothing."""
        for writer in self.writers.values():
            writer.seal()
        Tables(self.root).write("frames", self.frames)
        Outcomes(self.root).write(self.outcomes)
        self.frames, self.outcomes = [], []
        self.sealed = time.monotonic()


def _decode(
    todo: Sequence[tuple[Video, dict[int, list[Spec]]]],
    extractors: Sequence[Extractor],
    options: ExtractOptions,
    pictured: set[str],
) -> Iterator[tuple[Gather, CutSegment | Tally | Exception]]:
    """Cut videos in `options.workers` processes, ahead of the networks by a bounded number of segments."""
    ready: queue.Queue[tuple[Gather, CutSegment | Tally | Exception] | None] = queue.Queue(maxsize=8 * options.workers)
    waiting = iter(todo)
    lock, stop = threading.Lock(), threading.Event()

    def put(item: tuple[Gather, CutSegment | Tally | Exception] | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.2)
                return

    def work() -> None:
        with Child("pipeline.cut:cut", memory_bytes=options.limits.memory_bytes) as child:
            while not stop.is_set():
                with lock:
                    entry = next(waiting, None)
                if entry is None:
                    break
                video, lacking = entry
                gather = Gather(video, lacking, extractors, options.segment_ms, options.rows)
                height = 0 if video.video_id in pictured else options.thumbnail_height
                plans = tuple(Plan(extractors[n].geometry, extractors[n].windows) for n in gather.numbers)
                job = CutJob(video.path, video.start_ms, video.duration_ms, options.segment_ms, plans,
                             height, options.limits)  # fmt: skip
                try:
                    for message in child.run(job, options.limits.wall_seconds):
                        put((gather, message))
                        if stop.is_set():
                            return
                except Exception as error:
                    put((gather, error))
        put(None)

    threads = [threading.Thread(target=work, name=f"decode-{i}", daemon=True) for i in range(options.workers)]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            item = ready.get()
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=10)
