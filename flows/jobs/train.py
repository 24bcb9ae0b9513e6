"""Stores and tables → fitted recommenders with their metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from reelmill.flows.jobs import fits, places
from reelmill.flows.jobs.check import check_train
from reelmill.flows.serve.retries import RETRIES
from reelmill.flows.settings.sections import Settings
from reelmill.storage.errors import ReelmillError

fit = task(task_run_name="fit-{name}", cache_policy=NO_CACHE, **RETRIES)(fits.fit)
given = task(name="read-data", cache_policy=NO_CACHE)(places.of_data)
planted = task(task_run_name="world-{name}", cache_policy=NO_CACHE)(places.of_world)


@flow(name="train", validate_parameters=False)
def train(
    settings: Settings,
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
        settings, read = given(settings, data)
    names, fitted, unfitted, known = list(settings.train.models), {}, {}, list(stores)
    for name in names:
        try:
            fitted[name] = fit(settings if world is None else planted(settings, name, world), name, known)
            known += fitted[name]["written"].values()
        except ReelmillError as error:
            if len(names) == 1 and not keep_going:
                raise
            unfitted[name] = str(error)
    return {"fits": fitted, "unfitted": unfitted, **({"data": read} if read is not None else {})}
