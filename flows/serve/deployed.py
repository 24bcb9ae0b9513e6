"""The flows that a Prefect server starts: the same jobs as the verbs of these names, with artifacts.

Parameters: `settings`, the path of the settings file on the worker; `overrides`, settings that differ. What the
settings file holds (a proxy's password, say) stays on the worker.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from prefect import Flow, flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from reelmill.flows.jobs.backfill import backfill as backfill_job
from reelmill.flows.jobs.executor import Executor
from reelmill.flows.jobs.extract import ExtractResult
from reelmill.flows.jobs.extract import extract as extract_job
from reelmill.flows.jobs.fits import choose
from reelmill.flows.jobs.run import RunResult
from reelmill.flows.jobs.run import run as run_job
from reelmill.flows.jobs.train import STAGE, TrainResult
from reelmill.flows.jobs.train import train as train_job
from reelmill.flows.serve import artifacts
from reelmill.flows.serve.start import flow_run
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.planning.select import Order
from reelmill.storage.errors import ReelmillError

P = ParamSpec("P")


class TooManyAttempts(ReelmillError):
    """A run was started as often as the settings allow, and its worker died each time."""


def run_name() -> str:
    """`run data, 2026-11-27 02:00`: verb, deployment, and the time it was due."""
    verb = str(runtime.flow_run.flow_name).removeprefix("reelmill-")
    due = runtime.flow_run.scheduled_start_time
    return f"{verb} {runtime.deployment.name or 'by hand'}, {due:%Y-%m-%d %H:%M}"


@flow(name="reelmill-run", flow_run_name=run_name)
def run(settings: str, overrides: list[str] | None = None) -> State[Any]:
    """The main job: ingest → extract → train → report."""
    return _deployed(_settings(settings, overrides), run_job)


@flow(name="reelmill-extract", flow_run_name=run_name)
def extract(settings: str, overrides: list[str] | None = None) -> State[Any]:
    """Run the networks on every video whose features are missing."""
    return _deployed(_settings(settings, overrides), extract_job)


@flow(name="reelmill-train", flow_run_name=run_name)
def train(settings: str, overrides: list[str] | None = None, models: list[str] | None = None) -> State[Any]:
    """Fit and evaluate recommenders on the feature stores: these, or `all`, or those of the settings."""
    chosen = _settings(settings, overrides)
    return _deployed(choose(chosen, models) if models else chosen, train_job)


@flow(name="reelmill-backfill", flow_run_name=run_name)
def backfill(
    settings: str,
    overrides: list[str] | None = None,
    extractors: list[str] | None = None,
    since: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    order: Order = "labels",
) -> State[Any]:
    """Run these extractors on the videos whose features are missing, by priority."""
    chosen = _settings(settings, overrides)
    return _deployed(
        chosen, backfill_job, extractors=extractors or (), since=since, where=where, limit=limit, order=order
    )


FLOWS: dict[str, Flow[..., State[Any]]] = {"run": run, "extract": extract, "train": train, "backfill": backfill}
"""What is deployed, by verb."""


def _settings(file: str, overrides: list[str] | None) -> Settings:
    """The settings of a run. Raises TooManyAttempts if its workers have died too often: it may be the work that kills
    them."""
    settings = load(Path(file), overrides or ())
    count = runtime.flow_run.run_count
    if count > settings.serve.attempts:
        raise TooManyAttempts(
            f"started {count - 1} times, never ended; see what killed its workers (out of memory?), then start it again"
        )
    return settings


def _deployed(
    settings: Settings,
    job: Callable[Concatenate[Settings, Executor, P], RunResult | ExtractResult | TrainResult],
    *args: P.args,
    **kwargs: P.kwargs,
) -> State[Any]:
    """Do the job; ends as `Partial` where something failed that had not failed before."""
    with artifacts.kept(settings) as kept:
        result = flow_run(job, settings, *args, **kwargs)
        fresh = kept.outcomes()
        if isinstance(result, RunResult):
            kept.report(result.page.report)
    trained = result.train if isinstance(result, RunResult) else result
    unfitted = trained.unfitted if isinstance(trained, TrainResult) else {}
    if not fresh:
        return Completed()
    parts = [f"{count} × {kind}" for kind, count in fresh.items() if not kind.startswith(f"{STAGE}:")]
    parts += [f"{name} not fitted: {why}" for name, why in unfitted.items()]
    return Completed(name="Partial", message="; ".join(parts))
