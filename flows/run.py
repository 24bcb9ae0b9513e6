"""The main job: ingest → extract → train → report, resumable at every point."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import steps
from flows.check import check
from flows.extract import extract
from flows.ingest import ingest
from flows.settings import Settings
from flows.train import train

report = task(cache_policy=NO_CACHE)(steps.report)

UNLABELLED: dict[str, Any] = {
    "skipped": True, "reason": "no labels: no record of the source covers a segment of a video with a known duration",
    "metrics": [], "counts": {}, "store": None, "folder": None,
}  # fmt: skip
"""What stands in the place of a fit's figures."""


@flow(name="run", validate_parameters=False)
def run(settings: Settings) -> dict[str, Any]:
    """Everything, in order. What is done already is asked of the stores and left alone."""
    check(settings)
    figures = {"ingest": ingest(settings), "extract": extract(settings)}
    figures["train"] = train(settings, figures["extract"]["stores"]) if steps.has_labels(settings) else UNLABELLED
    return {**figures, "report": str(report(settings))}
