"""Memory of reading a source: that of a batch, whatever its length."""

from pathlib import Path

import pytest

from reelmill.pipeline.sources.dialect import PIECE_BYTES
from tests.benchmarks.ingest import ratings, read


@pytest.mark.timeout(300)
def test_memory_does_not_follow_the_number_of_rows(tmp_path: Path) -> None:
    """As a whole, a row of ratings takes some 600 bytes. Of the 20 bytes for each row, by which duplicates are found,
    some more are needed while they are sorted."""
    small, large = 200_000, 1_000_000
    peaks = []
    for rows in (small, large):
        path = ratings(tmp_path / f"{rows}.csv", rows)
        events, *_, peak = read(path, tmp_path / f"root-{rows}", PIECE_BYTES)
        assert events == rows
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 150 * (large - small)
