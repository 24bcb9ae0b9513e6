"""Media → feature stores."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reelmill.extractors.registry import reads_text
from reelmill.flows.jobs import known_specs, steps, texts
from reelmill.flows.jobs.check import check, check_space
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Block, Executor
from reelmill.flows.jobs.plan import extract_bytes
from reelmill.flows.progress import current
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.extract.missing import Todo
from reelmill.pipeline.extract.texts import TextSummary
from reelmill.pipeline.planning.select import Selection
from reelmill.storage import Spec


@dataclass(frozen=True)
class ExtractResult:
    """What was extracted. Counts are of videos; `texts` has its own."""

    done: int
    skipped: int
    """Every feature was present."""
    failed: dict[str, int]
    """By class."""
    without: int
    """Failed permanently before."""
    left: int
    """Features are missing, but the video was not selected."""
    segments: int
    video_seconds: float
    seconds: float
    stores: list[str]
    """Names of the stores that these settings write."""
    texts: dict[str, TextSummary]
    """By extractor."""
    pictures: int = 0
    """Key frames of so many videos were missing, and were made again; their features were present."""


def extract(
    settings: Settings, executor: Executor = IN_THIS_PROCESS, selection: Selection | None = None
) -> ExtractResult:
    """Run every network on the videos whose features are missing, in blocks; then every encoder of text.

    `selection`: which videos, and in which order; all, and in any order, if not given. Texts are not selected from."""
    check(settings, ("extract",))
    executor.step(steps.tidy, settings)
    try:
        specs, missing = _missing(settings)
        todo, left = steps.selected(settings, missing, selection)
        if todo:
            needed = extract_bytes(settings, steps.networks_of_process(settings), todo)
            check_space(settings.root, needed, f"extracting {len(todo):,} videos")
            seconds = sum(video.duration_ms for video, _ in todo) / 1000
            current().start("extract", seconds, items=len(todo), realtime=True)
        in_order = selection is not None and selection.order != "any"
        blocks = blocks_of(todo, settings.extract.block, in_order)
        done = executor.extract(settings, blocks, steps.have_pictures(settings)) if blocks else []
        stores = [spec.name for of_one in specs for spec in of_one]
        videos = len(steps.media_videos(settings)) if specs else 0
        there = steps.complete(settings, specs) if specs else 0
    finally:
        steps.release_networks()
    failed = sum((s.failed for s in done), Counter())
    fresh = sum(s.videos for s in done) - failed.total()
    read = {
        name: executor.step(texts.extract_text, settings, name, name=name)
        for name in settings.extract.extractors
        if reads_text(name)
    }
    return ExtractResult(
        done=fresh,
        skipped=there - fresh,
        failed=dict(failed),
        without=videos - there - failed.total() - left,
        left=left,
        segments=sum(s.segments for s in done),
        video_seconds=round(sum(s.video_seconds for s in done), 3),
        seconds=round(sum(s.seconds for s in done), 3),
        stores=[*stores, *(store for summary in read.values() for store in summary.stores)],
        texts=read,
        pictures=sum(s.pictures for s in done),
    )


def _missing(settings: Settings) -> tuple[list[list[Spec]], list[Todo]]:
    """The specs of each network, and the videos whose features are missing. The networks are built only if features
    are missing, or it is not known which they would be."""
    specs = known_specs.recall(settings)
    if specs is None or (missing := steps.missing_features(settings, specs)):
        specs = steps.specs(settings, steps.networks_of_process(settings))
        known_specs.remember(settings, specs)
        missing = steps.missing_features(settings, specs)
    return specs, missing


def blocks_of(todo: Sequence[Todo], size: int, in_order: bool = False) -> list[Block]:
    """Blocks of `size` videos, in a random order unless `in_order`: so several processes on one root seldom meet at
    the same block, and what one of them has done the others leave out."""
    blocks = [(number, list(todo[start : start + size])) for number, start in enumerate(range(0, len(todo), size))]
    if not in_order:
        random.shuffle(blocks)
    return blocks
