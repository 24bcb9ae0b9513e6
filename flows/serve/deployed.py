"""The flows that a Prefect server starts: the same work as the verbs of these names, with artifacts.

Parameters: `settings`, the path of the settings file on the worker; `overrides`, settings that differ. What the
settings file holds (a proxy's password, say) stays on the worker.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from reelmill.flows.serve import artifacts
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.storage.errors import ReelmillError


class TooManyAttempts(ReelmillError):
    """A run was begun as often as the settings allow, and its worker died each time."""


def run_name() -> str:
    """`run data, 2026-11-27 02:00`: verb, deployment, and the time it was due."""
    verb = str(runtime.flow_run.flow_name).removeprefix("reelmill-")
    due = runtime.flow_run.scheduled_start_time
    return f"{verb} {runtime.deployment.name or 'by hand'}, {due:%Y-%m-%d %H:%M}"


@flow(name="reelmill-run", flow_run_name=run_name)
def run(settings: str, overrides: list[str] | None = None) -> State[Any]:
    """The main job: ingest → extract → train → report."""
    return _work("run", settings, overrides)


@flow(name="reelmill-extract", flow_run_name=run_name)
def extract(settings: str, overrides: list[str] | None = None) -> State[Any]:
    """Run the networks on every video that lacks their features."""
    return _work("extract", settings, overrides)


@flow(name="reelmill-train", flow_run_name=run_name)
def train(settings: str, overrides: list[str] | None = None, models: list[str] | None = None) -> State[Any]:
    """Fit and evaluate recommenders on the feature stores: these, or `all`, or those of the settings."""
    return _work("train", settings, overrides, models=models)


@flow(name="reelmill-backfill", flow_run_name=run_name)
def backfill(
    settings: str,
    overrides: list[str] | None = None,
    extractors: list[str] | None = None,
    since: str | None = None,
    where: str | None = None,
    limit: int | None = None,
) -> State[Any]:
    """Run these extractors on the videos that lack their features, the most wanted first."""
    given: dict[str, Any] = {"extractors": extractors, "since": since, "where": where, "limit": limit}
    return _work("backfill", settings, overrides, **{key: value for key, value in given.items() if value is not None})


FLOWS = {
    made.fn.__name__: made
    for made in (run, extract, train, backfill)
    if find_spec(f"reelmill.flows.jobs.{made.fn.__name__}") is not None
}
"""What is deployed, by verb."""


def _work(verb: str, settings: str, overrides: list[str] | None, models: list[str] | None = None, **given: Any) -> Any:
    """Do the work of a verb, `given` its own parameters; ends as `Partial` where something failed that had not failed
    before."""
    chosen = load(Path(settings), overrides or ())
    _begun(chosen)
    if models:
        from reelmill.flows.jobs import fits

        chosen = fits.choose(chosen, models)
    with artifacts.kept(chosen) as told:
        figures = getattr(import_module(f"reelmill.flows.jobs.{verb}"), verb)(chosen, **given)
        fresh = told.outcomes()
        if "report" in figures:
            told.report(figures["report"])
    unfitted = figures.get("train", figures).get("unfitted") or {}
    if not fresh and not unfitted:
        return Completed()
    parts = [f"{count} × {kind}" for kind, count in fresh.items()]
    parts += [f"{name} not fitted: {why}" for name, why in unfitted.items()]
    return Completed(name="Partial", message="; ".join(parts))


def _begun(settings: Settings) -> None:
    """Raise TooManyAttempts if this run's workers have died too often: it may be the work that kills them."""
    count = runtime.flow_run.run_count
    if count > settings.serve.attempts:
        raise TooManyAttempts(
            f"begun {count - 1} times, never ended; see what killed its workers (out of memory?), then start it again"
        )
