"""The main job: ingest → extract → train → report, resumable at every point."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check
from reelmill.flows.jobs.extract import extract
from reelmill.flows.jobs.ingest import ingest
from reelmill.flows.jobs.train import train
from reelmill.flows.serve.retries import RETRIES
from reelmill.flows.settings.sections import Settings

report = task(cache_policy=NO_CACHE, **RETRIES)(steps.report)

NOTHING: dict[str, Any] = {"fits": {}, "unfitted": {}, "reason": "no events: the source says of nobody what they like"}
"""What stands in the place of the fits' figures."""


@flow(name="run", validate_parameters=False)
def run(settings: Settings) -> dict[str, Any]:
    """Everything, in order. What is done already is asked of the stores and left alone."""
    check(settings)
    figures = {"ingest": ingest(settings), "extract": extract(settings)}
    figures["train"] = NOTHING
    if steps.has_events(settings):
        figures["train"] = train(settings, figures["extract"]["stores"], keep_going=True)
    return {**figures, "report": str(report(settings))}
