"""Stores and tables → fitted recommenders with their metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelmill.flows.jobs import fits, places
from reelmill.flows.jobs.check import check_train
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.settings.sections import Settings
from reelmill.storage.errors import ReelmillError


def train(
    settings: Settings,
    executor: Executor = IN_THIS_PROCESS,
    stores: Sequence[str] = (),
    keep_going: bool = False,
    *,
    data: Path | None = None,
    world: str | None = None,
) -> dict[str, Any]:
    """Fit and evaluate the recommenders that the settings name, first of all on `stores`. One that cannot be fitted
    does not keep others from it, if there are any; with `keep_going` its failure is a figure like others also alone.
    What one writes (`audiovisual`) those after it can read.

    `data`: a published data set, read into the root first. `world`: the knobs of planted worlds, which are fitted in
    the place of the root (`places`)."""
    check_train(settings.train)
    read = None
    if data is not None:
        settings, read = executor.step(places.of_data, settings, data, name="read-data", retry=False)
    names, fitted, unfitted, known = list(settings.train.models), {}, {}, list(stores)
    for name in names:
        try:
            chosen = settings
            if world is not None:
                chosen = executor.step(places.of_world, settings, name, world, name=f"world-{name}", retry=False)
            fitted[name] = executor.step(fits.fit, chosen, name, known, name=f"fit-{name}")
            known += fitted[name]["written"].values()
        except ReelmillError as error:
            if len(names) == 1 and not keep_going:
                raise
            unfitted[name] = str(error)
    return {"fits": fitted, "unfitted": unfitted, **({"data": read} if read is not None else {})}
