"""Source table → events, media, segments, labels."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows import steps
from flows.progress import current
from flows.settings import Settings
from pipeline.ingest import Wanted
from storage import Outcome

BLOCK = 32
"""Most videos in one download task."""

read_source = task(cache_policy=NO_CACHE)(steps.read_source)
label = task(cache_policy=NO_CACHE)(steps.label)


@task(task_run_name="fetch-{number}", cache_policy=NO_CACHE)
def fetch_block(number: int, settings: Settings, wanted: list[Wanted]) -> list[Outcome]:
    """One block of downloads."""
    return steps.fetch_block(settings, wanted)


def ingest(settings: Settings) -> dict[str, Any]:
    """Read the source, bring in the media that is missing (so many at a time as the settings say), build segments
    and labels."""
    runner: Any = ThreadPoolTaskRunner(max_workers=settings.download.workers)
    return _ingest.with_options(task_runner=runner)(settings)


@flow(name="ingest", validate_parameters=False)
def _ingest(settings: Settings) -> dict[str, Any]:
    source = read_source(settings)
    wanted = steps.download_plan(settings)
    outcomes: list[Outcome] = []
    if wanted:
        current().start("download", len(wanted), items=len(wanted))
        size = min(BLOCK, -(-len(wanted) // settings.download.workers))
        blocks = [wanted[i : i + size] for i in range(0, len(wanted), size)]
        futures = [fetch_block.submit(number, settings, block) for number, block in enumerate(blocks)]
        outcomes = [outcome for future in futures for outcome in future.result()]
    if source.get("reasons", {}).get("unknown_duration") and outcomes:
        source = read_source(settings)  # durations are measured now: rows that waited for one become events
    return {
        "source": source,
        "download": {
            "done": sum(o.status == "done" for o in outcomes),
            "skipped": len(steps.media_videos(settings)) - sum(o.status == "done" for o in outcomes),
            "failed": steps.by_class(outcomes),
        },
        "labels": label(settings),
    }
