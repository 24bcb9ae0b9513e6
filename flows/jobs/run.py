"""The main job: ingest → extract → train → report, resumable at every point."""

from dataclasses import dataclass, field

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check, check_sources
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.extract import ExtractResult, extract
from reelmill.flows.jobs.ingest import IngestResult, ingest
from reelmill.flows.jobs.report import ReportResult, report
from reelmill.flows.jobs.results import INLINE
from reelmill.flows.jobs.train import TrainResult, train
from reelmill.flows.settings.sections import Settings

NOTHING = TrainResult({}, {}, reason="no events: the source says of nobody what they like")
"""Where there is nothing to fit."""


@dataclass(frozen=True)
class RunResult:
    """Result of each stage."""

    ingest: IngestResult
    extract: ExtractResult
    train: TrainResult
    page: ReportResult = field(metadata=INLINE)


def run(settings: Settings, executor: Executor = IN_THIS_PROCESS) -> RunResult:
    """Everything, in order. What is done already is looked up in the stores and left alone."""
    check(settings)
    ingested = executor.job(ingest, settings)
    if fits := steps.has_events(settings):
        check_sources(settings)
    extracted, trained = executor.job(extract, settings), NOTHING
    if fits:
        trained = executor.job(train, settings, extracted.stores, keep_going=True)
    return RunResult(ingested, extracted, trained, executor.step(report, settings))
