"""What several files of tests ask for by name."""

import pytest

from tests.networks import ThinC3D


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """C3D with few channels: for what does not depend on their number."""
    monkeypatch.setattr("extractors.c3d.C3DNetwork", ThinC3D)
