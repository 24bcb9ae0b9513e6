"""Stores and tables → a fitted recommender with its metrics."""

from collections.abc import Sequence
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import steps
from flows.check import check_train
from flows.settings import Settings

fit = task(name="fit", cache_policy=NO_CACHE)(steps.train)


@flow(name="train", validate_parameters=False)
def train(settings: Settings, stores: Sequence[str] = ()) -> dict[str, Any]:
    """Fit and evaluate the recommender that the settings name, first of all on one of `stores`."""
    check_train(settings.train)
    return fit(settings, stores)
