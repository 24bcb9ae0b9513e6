"""Stores and tables → fitted recommenders with their metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reelmill.flows.jobs import fits, places
from reelmill.flows.jobs.check import check
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.fits import FitFigures
from reelmill.flows.jobs.places import DataResult
from reelmill.flows.jobs.results import OPTIONAL
from reelmill.flows.settings.sections import Settings
from reelmill.storage import Outcome, Outcomes
from reelmill.storage.errors import ReelmillError

STAGE = "train"
"""Of the outcomes of recommenders that could not be fitted."""


@dataclass(frozen=True)
class TrainResult:
    """Result of each recommender."""

    fits: dict[str, FitFigures]
    unfitted: dict[str, str]
    """Why one could not be fitted."""
    data: DataResult | None = field(default=None, metadata=OPTIONAL)
    """What was read of a data set, if one was given."""
    reason: str | None = field(default=None, metadata=OPTIONAL)
    """Why nothing was to be fitted."""


def train(
    settings: Settings,
    executor: Executor = IN_THIS_PROCESS,
    stores: Sequence[str] = (),
    keep_going: bool = False,
    *,
    data: Path | None = None,
    world: str | None = None,
) -> TrainResult:
    """Fit and evaluate the recommenders that the settings name, first of all on `stores`. One that cannot be fitted
    does not keep others from it, if there are any; with `keep_going` its failure is a figure like others also alone.
    What one writes (`audiovisual`) those after it can read.

    `data`: a published data set, read into the root first. `world`: the knobs of planted worlds, which are fitted in
    the place of the root (`places`)."""
    check(settings, ("train",))
    if world is not None:
        for name in settings.train.models:
            places.check_world(name, world)
    read = None
    if data is not None:
        settings, read = executor.step(places.of_data, settings, data, name="read-data", retry=False)
    names, known = list(settings.train.models), list(stores)
    fitted: dict[str, FitFigures] = {}
    unfitted: dict[str, str] = {}
    for name in names:
        try:
            chosen = settings
            if world is not None:
                chosen = executor.step(places.of_world, settings, name, world, name=f"world-{name}", retry=False)
            fitted[name] = executor.step(fits.fit, chosen, name, known, name=f"fit-{name}")
            known += fitted[name].written.values()
        except ReelmillError as error:
            if len(names) == 1 and not keep_going:
                raise
            unfitted[name] = str(error)
    if world is None:
        _record(settings, fitted, unfitted)
    return TrainResult(fitted, unfitted, read)


def _record(settings: Settings, fitted: Iterable[str], unfitted: Mapping[str, str]) -> None:
    """Keep which recommenders could not be fitted among the outcomes, and that one of them could be now; so that what
    has failed before is known as such."""
    outcomes = Outcomes(settings.root)
    failed = {name: row for name, row in outcomes.latest(STAGE).items() if row["status"] == "failed"}
    outcomes.write([
        *(Outcome(STAGE, name, "done") for name in fitted if name in failed),
        *(
            Outcome(STAGE, name, "failed", error_class="unfitted", permanent=False, message=why)
            for name, why in unfitted.items()
            if name not in failed or failed[name]["message"] != why
        ),
    ])  # fmt: skip
