"""Source table → events, media, segments, labels."""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check, check_space
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.plan import download_plan
from reelmill.flows.jobs.results import OPTIONAL
from reelmill.flows.progress import current
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.download.ingest import KnownVideos, Wanted
from reelmill.pipeline.labels import LabelCounts
from reelmill.storage import Outcome

BLOCK = 32
"""Most videos in one download task."""


@dataclass(frozen=True)
class DownloadResult:
    """Videos."""

    done: int
    skipped: int
    """Their media was there."""
    failed: dict[str, int]
    """By class."""


@dataclass(frozen=True)
class IngestResult:
    """Result of each stage."""

    source: steps.SourceResult
    download: DownloadResult | None = field(default=None, metadata=OPTIONAL)
    labels: LabelCounts | None = None


def ingest(
    settings: Settings, executor: Executor = IN_THIS_PROCESS, videos: Collection[str] | None = None
) -> IngestResult:
    """Read the source, download the missing media (as many at a time as the settings say; of these videos only, if they
    are given), build segments and labels."""
    check(settings, ("ingest",))
    executor.step(steps.tidy, settings)
    source = executor.step(steps.read_source, settings)
    wanted = [one for one in steps.download_plan(settings) if videos is None or one.video_id in videos]
    outcomes = _fetch(settings, executor, wanted)
    done = sum(outcome.status == "done" for outcome in outcomes)
    if done:
        # durations are measured now: rows may fit that did not, and the reverse
        source = _both(source, executor.step(steps.read_source, settings))
    downloaded = DownloadResult(done, steps.count_media(settings) - done, steps.by_class(outcomes))
    return IngestResult(source, downloaded, executor.step(steps.label, settings))


def _both(first: steps.SourceResult, second: steps.SourceResult) -> steps.SourceResult:
    """The counts of the second reading, with what either of them wrote."""
    if first.counts is None or second.counts is None:
        return second
    before, now = first.counts, second.counts
    return replace(
        second,
        counts=replace(
            now,
            videos_written=before.videos_written or now.videos_written,
            users_written=before.users_written or now.users_written,
            events_written=before.events_written or now.events_written,
            written=before.written or now.written,
        ),
    )


def _fetch(settings: Settings, executor: Executor, wanted: list[Wanted]) -> list[Outcome]:
    """Blocks of downloads side by side; Ctrl-C stops those that run within a second."""
    if not wanted:
        return []
    check_space(settings.root, download_plan(settings).bytes or 0, f"downloading {len(wanted):,} videos")
    current().start("download", len(wanted), items=len(wanted))
    threads = settings.download.workers
    size = min(BLOCK, -(-len(wanted) // threads))
    stop, known = threading.Event(), KnownVideos(steps.root_of(settings))
    blocks = [(settings, wanted[start : start + size], stop, known) for start in range(0, len(wanted), size)]
    fetched = executor.side_by_side(steps.fetch_block, blocks, name="fetch", threads=threads, stop=stop)
    return [outcome for block in fetched for outcome in block]
