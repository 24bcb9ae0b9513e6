"""What several files of tests ask for by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.networks import ThinC3D


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread, in processes that tests start as well: sums come out the same on every machine, a test cannot
    wait for a pool of threads, and tests that run side by side do not wait for each other's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """C3D with few channels: for what does not depend on their number."""
    monkeypatch.setattr("reelmill.extractors.video.c3d_network.C3DNetwork", ThinC3D)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server on the loopback, one for all tests that ask."""
    from tests import s3  # here: it takes three seconds to import

    with s3.served() as endpoint:
        yield endpoint


@pytest.fixture
def s3_root(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty root on an object store; endpoint, credentials and a cache of its own are in the environment."""
    from tests import s3

    for name, value in s3.environment(s3_endpoint, tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    return s3.new_root()
