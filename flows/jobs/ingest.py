"""Source table → events, media, segments, labels."""

import threading
from collections.abc import Collection
from typing import Any

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.progress import current
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.download.ingest import KnownVideos, Wanted
from reelmill.storage import Outcome

BLOCK = 32
"""Most videos in one download task."""


def ingest(
    settings: Settings, executor: Executor = IN_THIS_PROCESS, videos: Collection[str] | None = None
) -> dict[str, Any]:
    """Read the source, download the missing media (so many at a time as the settings say; of these videos only, if they
    are given), build segments and labels."""
    executor.step(steps.tidy, settings)
    source = executor.step(steps.read_source, settings)
    wanted = [one for one in steps.download_plan(settings) if videos is None or one.video_id in videos]
    outcomes = _fetch(settings, executor, wanted)
    done = sum(outcome.status == "done" for outcome in outcomes)
    if done:
        before = source  # durations are measured now: rows may fit that did not, and the reverse
        source = executor.step(steps.read_source, settings)
        source |= {key: before[key] or source[key] for key in source if key.endswith("written")}
    return {
        "source": source,
        "download": {
            "done": done,
            "skipped": len(steps.media_videos(settings)) - done,
            "failed": steps.by_class(outcomes),
        },
        "labels": executor.step(steps.label, settings),
    }


def _fetch(settings: Settings, executor: Executor, wanted: list[Wanted]) -> list[Outcome]:
    """Blocks of downloads side by side; Ctrl-C stops those that run within a second."""
    if not wanted:
        return []
    current().start("download", len(wanted), items=len(wanted))
    threads = settings.download.workers
    size = min(BLOCK, -(-len(wanted) // threads))
    stop, known = threading.Event(), KnownVideos(steps.root_of(settings))
    blocks = [(settings, wanted[start : start + size], stop, known) for start in range(0, len(wanted), size)]
    fetched = executor.side_by_side(steps.fetch_block, blocks, name="fetch", threads=threads, stop=stop)
    return [outcome for block in fetched for outcome in block]
