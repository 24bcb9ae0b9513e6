"""The main job: ingest → extract → train → report, resumable at every point."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import steps
from flows.extract import extract
from flows.ingest import ingest
from flows.settings import Settings
from flows.train import train

report = task(cache_policy=NO_CACHE)(steps.report)


@flow(name="run", validate_parameters=False)
def run(settings: Settings) -> dict[str, Any]:
    """Everything, in order. What is done already is asked of the stores and left alone."""
    figures = {"ingest": ingest(settings), "extract": extract(settings), "train": train(settings)}
    return {**figures, "report": str(report(settings))}
