"""The main job: ingest → extract → train → report, resumable at every point."""

from typing import Any

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.extract import extract
from reelmill.flows.jobs.ingest import ingest
from reelmill.flows.jobs.report import report
from reelmill.flows.jobs.train import train
from reelmill.flows.settings.sections import Settings

NOTHING: dict[str, Any] = {"fits": {}, "unfitted": {}, "reason": "no events: the source says of nobody what they like"}
"""Figures of `train` where there is nothing to fit."""


def run(settings: Settings, executor: Executor = IN_THIS_PROCESS) -> dict[str, Any]:
    """Everything, in order. What is done already is looked up in the stores and left alone."""
    check(settings)
    figures = {"ingest": executor.job(ingest, settings), "extract": executor.job(extract, settings)}
    figures["train"] = NOTHING
    if steps.has_events(settings):
        figures["train"] = executor.job(train, settings, figures["extract"]["stores"], keep_going=True)
    page = executor.step(report, settings)
    return {**figures, "report": page.report, "report_written": page.report_written}
