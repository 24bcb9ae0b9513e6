"""Batches on their way through a network while the next is filled: nothing lost, nothing swapped, errors in order."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from reelmill.pipeline.extract.missing import ExtractOptions, Video
from reelmill.pipeline.extract.videos import extract
from reelmill.storage import open_store
from tests.media import make_video
from tests.pipeline.test_extract import IndexExtractor, video

OPTIONS = ExtractOptions(segment_ms=1000, thumbnail_height=0)
FRAMES = (60, 30, 3, 41)


class Deferred(IndexExtractor):
    """Computes nothing before it is asked for the vectors, as late as a GPU might. Batches that it is to fail on are
    given by number: at their start, or when their vectors are asked for."""

    def __init__(
        self, batch_size: int, fail_start: frozenset[int] = frozenset(), fail_wait: frozenset[int] = frozenset()
    ):
        super().__init__(batch_size=batch_size)
        self.fail_start, self.fail_wait = fail_start, fail_wait
        self.started = self.returned = self.most = 0

    def start(self, windows: np.ndarray) -> Callable[[], Mapping[str, np.ndarray]]:
        number, taken = self.started, windows.copy()
        self.started += 1
        if number in self.fail_start:
            self.returned += 1
            raise RuntimeError(f"batch {number} could not start")
        self.most = max(self.most, self.started - self.returned)

        def wait() -> Mapping[str, np.ndarray]:
            self.returned += 1
            if number in self.fail_wait:
                raise RuntimeError(f"batch {number} did not end")
            return self.forward(taken)

        return wait


@pytest.fixture
def videos(tmp_path: Path) -> list[Video]:
    return [video(make_video(tmp_path / f"{n}.mp4", frames=n)) for n in FRAMES]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_vectors_that_come_late_reach_their_rows(tmp_path: Path, videos: list[Video], batch_size: int) -> None:
    late = Deferred(batch_size)
    extract(str(tmp_path / "plain"), videos, [IndexExtractor(batch_size=3)], OPTIONS)
    summary = extract(str(tmp_path / "late"), videos, [late, IndexExtractor("other")], OPTIONS)
    assert (summary.videos, summary.failed) == (4, {})
    assert summary.windows["index"] == summary.windows["other"] == 27
    assert late.started == late.returned == -(-27 // batch_size)
    assert late.most == min(2, late.started)  # one on its way, one that has just begun
    for layer in ("first", "last"):
        plain, found = (open_store(tmp_path / root, f"index-{layer}") for root in ("plain", "late"))
        for one in videos:
            np.testing.assert_array_equal(found.read(one.video_id).features, plain.read(one.video_id).features)


@pytest.mark.parametrize("when", ["fail_start", "fail_wait"])
def test_a_batch_that_fails_takes_its_own_videos_with_it(tmp_path: Path, videos: list[Video], when: str) -> None:
    """Windows: 12 of the first video, then 6, 1 and 8. Batch 3 of five holds windows 15 to 19 of all."""
    summary = extract(str(tmp_path), videos, [Deferred(5, **{when: frozenset({3})})], OPTIONS)
    assert (summary.videos, summary.failed) == (4, {"unknown": 3})
    store = open_store(tmp_path, "index-first")
    assert store.keys() == ["60.mp4"]
    assert store.read("60.mp4").features[:, 0].tolist() == [10, 35, 52.5]
    assert extract(str(tmp_path), videos, [Deferred(5)], OPTIONS).videos == 3
    assert len(open_store(tmp_path, "index-first")) == 4


@pytest.mark.parametrize("when", ["fail_start", "fail_wait"])
def test_failures_in_a_row_stop_the_run_and_others_do_not(tmp_path: Path, videos: list[Video], when: str) -> None:
    some = Deferred(2, **{when: frozenset({0, 1, 3, 4, 6, 7, 9, 10, 12, 13})})
    assert sum(extract(str(tmp_path), videos, [some], OPTIONS).failed.values()) >= 3
    with pytest.raises(RuntimeError, match="batch 3"):
        extract(str(tmp_path), videos, [Deferred(2, **{when: frozenset({1, 2, 3})})], OPTIONS)
