"""Media → feature stores."""

from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import steps
from flows.progress import current
from flows.settings import Settings
from pipeline.extract import ExtractSummary, Video

if TYPE_CHECKING:
    from extractors.base import Extractor


@task(task_run_name="extract-{number}", cache_policy=NO_CACHE)
def extract_block(number: int, settings: Settings, videos: list[Video], networks: "list[Extractor]") -> ExtractSummary:
    """One block of videos through every network."""
    return steps.extract_block(settings, videos, networks)


@flow(name="extract", validate_parameters=False)
def extract(settings: Settings) -> dict[str, Any]:
    """Run every network on the videos that lack its features; blocks one after another, since they share the device."""
    networks = steps.extractors(settings)
    videos = steps.extract_plan(settings, networks)
    size = settings.extract.block
    if videos:
        seconds = sum(v.duration_ms for v in videos) / 1000
        current().start("extract", seconds, items=len(videos), realtime=True)
    blocks = [videos[i : i + size] for i in range(0, len(videos), size)]
    done = [extract_block(number, settings, block, networks) for number, block in enumerate(blocks)]
    return {
        "done": sum(s.videos - s.failed for s in done),
        "skipped": len(steps.media_videos(settings)) - len(videos),
        "failed": sum(s.failed for s in done),
        "segments": sum(s.segments for s in done),
        "video_seconds": round(sum(s.video_seconds for s in done), 3),
        "seconds": round(sum(s.seconds for s in done), 3),
        "stores": steps.spec_names(settings, networks),
    }
