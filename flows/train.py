"""Stores and tables → a fitted recommender with its metrics."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import steps
from flows.settings import Settings

fit = task(name="fit", cache_policy=NO_CACHE)(steps.train)


@flow(name="train", validate_parameters=False)
def train(settings: Settings) -> dict[str, Any]:
    """Fit and evaluate the recommender that the settings name."""
    return fit(settings)
