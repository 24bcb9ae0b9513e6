"""Source table → events, media, segments, labels."""

import threading
from collections.abc import Collection
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from reelmill.flows.jobs import steps
from reelmill.flows.progress import current
from reelmill.flows.serve.retries import RETRIES
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.download.ingest import Wanted
from reelmill.storage import Outcome

BLOCK = 32
"""Most videos in one download task."""

read_source = task(cache_policy=NO_CACHE, **RETRIES)(steps.read_source)
label = task(cache_policy=NO_CACHE, **RETRIES)(steps.label)


tidy = task(cache_policy=NO_CACHE, **RETRIES)(steps.tidy)


@task(task_run_name="fetch-{number}", cache_policy=NO_CACHE)
def fetch_block(number: int, settings: Settings, wanted: list[Wanted], stop: threading.Event) -> list[Outcome]:
    """One block of downloads."""
    return steps.fetch_block(settings, wanted, stop)


def ingest(settings: Settings, videos: Collection[str] | None = None) -> dict[str, Any]:
    """Read the source, bring in the media that is missing (so many at a time as the settings say; of these videos only,
    if they are given), build segments and labels."""
    runner: Any = ThreadPoolTaskRunner(max_workers=settings.download.workers)
    return _ingest.with_options(task_runner=runner)(settings, videos)


@flow(name="ingest", validate_parameters=False)
def _ingest(settings: Settings, videos: Collection[str] | None = None) -> dict[str, Any]:
    tidy(settings)
    source = read_source(settings)
    wanted = [one for one in steps.download_plan(settings) if videos is None or one.video_id in videos]
    outcomes = _fetch(settings, wanted)
    done = sum(outcome.status == "done" for outcome in outcomes)
    if done:
        before = source  # durations are measured now: rows may fit that did not, and the reverse
        source = read_source(settings)
        source |= {key: before[key] or source[key] for key in source if key.endswith("written")}
    return {
        "source": source,
        "download": {
            "done": done,
            "skipped": len(steps.media_videos(settings)) - done,
            "failed": steps.by_class(outcomes),
        },
        "labels": label(settings),
    }


def _fetch(settings: Settings, wanted: list[Wanted]) -> list[Outcome]:
    """Blocks of downloads side by side; Ctrl-C stops those that run within a second."""
    if not wanted:
        return []
    current().start("download", len(wanted), items=len(wanted))
    size = min(BLOCK, -(-len(wanted) // settings.download.workers))
    blocks = [wanted[i : i + size] for i in range(0, len(wanted), size)]
    stop = threading.Event()
    futures = [fetch_block.submit(number, settings, block, stop) for number, block in enumerate(blocks)]
    try:
        return [outcome for future in futures for outcome in future.result()]
    except BaseException:
        stop.set()
        raise
