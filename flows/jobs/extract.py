"""Media → feature stores."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from reelmill.flows.jobs import steps, texts
from reelmill.flows.progress import current
from reelmill.flows.serve import spread
from reelmill.flows.serve.retries import RETRIES
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.planning.select import Selection

if TYPE_CHECKING:
    from reelmill.extractors.text.fitted import Encoder


@task(task_run_name="{encoder.name}", cache_policy=NO_CACHE, **RETRIES)
def encode(settings: Settings, encoder: "Encoder", refit: bool) -> dict[str, Any]:
    """All texts through one encoder."""
    return texts.encode(settings, encoder, refit)


@flow(name="extract", validate_parameters=False)
def extract(settings: Settings, selection: Selection | None = None) -> dict[str, Any]:
    """Run every network on the videos that lack its features, in blocks that `spread` hands out; then every encoder of
    text.

    `selection`: which videos, and in which order; all, and in any order, if not given. Texts are not selected from."""
    spread.check_engine(settings.engine)
    steps.tidy(settings)
    encoders = texts.encoders(settings.extract)
    networks = steps.extractors(settings)
    todo, left = steps.selected(settings, steps.extract_plan(settings, networks), selection)
    if todo:
        seconds = sum(video.duration_ms for video, _ in todo) / 1000
        current().start("extract", seconds, items=len(todo), realtime=True)
    done = spread.extracted(settings, todo, networks, in_order=selection is not None and selection.order != "any")
    stores = steps.spec_names(settings, networks)
    videos = len(steps.media_videos(settings)) if networks else 0
    there = steps.complete(settings, stores) if networks else 0
    failed = sum((s.failed for s in done), Counter())
    fresh = sum(s.videos for s in done) - failed.total()
    read = {encoder.name: encode(settings, encoder, refit) for encoder, refit in encoders}
    return {
        "done": fresh,
        "skipped": there - fresh,
        "failed": dict(failed),
        "without": videos - there - failed.total() - left,
        "left": left,
        "segments": sum(s.segments for s in done),
        "video_seconds": round(sum(s.video_seconds for s in done), 3),
        "seconds": round(sum(s.seconds for s in done), 3),
        "stores": [*stores, *(store for figures in read.values() for store in figures["stores"])],
        "texts": read,
    }
