"""What every test of flows needs."""

from collections.abc import Iterator

import pytest

from reelmill.flows.jobs import steps


@pytest.fixture(autouse=True)
def no_networks_kept() -> Iterator[None]:
    """Networks that a test built, perhaps thin ones, are not those of the next test."""
    yield
    steps.release_networks()
