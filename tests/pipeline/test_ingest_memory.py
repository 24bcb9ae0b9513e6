"""Memory of reading a source: that of a batch, whatever its length."""

import subprocess
import sys
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


INGEST = """
import resource, sys
from reelmill.flows.jobs.ingest import ingest
from reelmill.flows.settings.load import load
from pathlib import Path
result = ingest(load(Path(sys.argv[1])))
print(result.labels.videos, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.timeout(300)
def test_memory_of_a_video_is_small(tmp_path: Path) -> None:
    """Every row names another video, which has a duration and six segments. It was 20 kB a video."""
    small, large = 2_000, 42_000
    peaks = []
    for videos in (small, large):
        folder = tmp_path / str(videos)
        folder.mkdir()
        rows = "".join(f"u{n % 1000},video-number-{n},0,6,30\n" for n in range(videos))
        (folder / "t.csv").write_text(f"user,clip,from,to,long\n{rows}")
        mapping = "{user_id: user, video_id: clip, start_s: from, stop_s: to, video_duration_s: long}"
        (folder / "s.yaml").write_text(f"root: root\nsource: {{path: t.csv, mapping: {mapping}}}\n")
        command = [sys.executable, "-c", INGEST, str(folder / "s.yaml")]
        found, peak = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        assert int(found) == videos
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 5_000 * (large - small)
