"""What several files of tests ask for by name."""

from collections.abc import Iterator

import pytest
import torch

from tests.networks import ThinC3D


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread: sums come out the same on every machine, and a test cannot wait for a pool of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """C3D with few channels: for what does not depend on their number."""
    monkeypatch.setattr("extractors.c3d.C3DNetwork", ThinC3D)
