"""From files to stores, with an extractor whose vector is the index of the frames it saw: right frame, right row."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from extractors.frames import Geometry, Windows
from pipeline.decode import Limits
from pipeline.extract import ExtractOptions, Video, extract, missing
from pipeline.probe import probe
from storage import Outcomes, Spec, Tables, open_store
from storage.features import NO_DATA, PADDED, VALID
from tests.media import make_video, read_index


class IndexExtractor:
    """Reads the index in the pixels: layer `first` is that of the window's first frame, `last` of its last."""

    layers = ("first", "last")

    def __init__(self, name: str = "index", windows: Windows | None = None, batch_size: int = 4) -> None:
        self.name, self.batch_size = name, batch_size
        self.windows = windows or Windows("consecutive", 5)
        self.geometry = Geometry(crop=(60, 80), scale_to=(60, 80))
        self.batches = 0

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        sampling = {**self.windows.describe(), "segment_ms": segment_ms}
        return {
            layer: Spec(self.name, layer, 1, rows, sampling, self.geometry.describe(), decoder=decoder)
            for layer in self.layers
        }

    def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
        assert windows.shape == (self.batch_size, self.windows.length, 60, 80, 3)
        self.batches += 1
        seen = np.array([[read_index(w[0]), read_index(w[-1])] for w in windows], np.float32)
        return {"first": seen[:, :1], "last": seen[:, 1:]}


def video(path: Path, video_id: str | None = None) -> Video:
    facts = probe(path)
    return Video(video_id or path.name, str(path), facts["sha256"], facts["start_ms"], facts["duration_ms"])


@pytest.fixture
def three(tmp_path: Path) -> list[Video]:
    """Videos of 2.4 s, 1.2 s and 0.12 s at 25 frames a second."""
    return [video(make_video(tmp_path / f"{n}.mp4", frames=n)) for n in (60, 30, 3)]


OPTIONS = ExtractOptions(segment_ms=1000, thumbnail_height=30)


def test_one_pass_feeds_every_extractor(tmp_path: Path, three: list[Video]) -> None:
    runs, stills = IndexExtractor("runs"), IndexExtractor("stills", Windows("timed", 1, step_ms=200), batch_size=7)
    seen: list[str] = []
    summary = extract(str(tmp_path), three, [runs, stills], OPTIONS, on_video=lambda v, o: seen.append(v.video_id))
    assert (summary.videos, summary.failed, summary.segments) == (3, 0, 6)
    assert sorted(seen) == ["3.mp4", "30.mp4", "60.mp4"]
    first, last = (open_store(tmp_path, f"runs-{layer}") for layer in runs.layers)
    # Segments of 25 frames: windows start at 0, 5, … 20, so the mean start is 10 and the mean end 14.
    block = first.read("60.mp4")
    assert block.features[:, 0].tolist() == [10, 35, 52.5]
    assert last.read("60.mp4").features[:, 0].tolist() == [14, 39, 56.5]
    assert block.mask.tolist() == [VALID] * 3
    assert list(zip(block.start_ms.tolist(), block.stop_ms.tolist(), strict=True)) == [
        (0, 1000), (1000, 2000), (2000, 2400),
    ]  # fmt: skip
    assert first.read("3.mp4").mask.tolist() == [PADDED]
    assert last.read("3.mp4").features[:, 0].tolist() == [2]
    shown = open_store(tmp_path, "stills-first").read("60.mp4").features[:, 0].tolist()
    assert shown == [12, 37, 54.5]  # frames at 100, 300, … ms; the last 400 ms have two cells
    assert block.provenance["frames"] == 60
    assert block.provenance["media_sha256"] == three[0].sha256
    frames = Tables(tmp_path).read("frames")
    assert frames.num_rows == 6
    assert set(frames["height"].to_pylist()) == {30}


def test_what_is_there_is_not_done_again(tmp_path: Path, three: list[Video]) -> None:
    extractor = IndexExtractor()
    extract(str(tmp_path), three[:2], [extractor], OPTIONS)
    ran = extractor.batches
    assert extract(str(tmp_path), three[:2], [extractor], OPTIONS).videos == 0
    assert extractor.batches == ran
    assert [v.video_id for v, _ in missing(str(tmp_path), three, [extractor], OPTIONS)] == ["3.mp4"]
    assert extract(str(tmp_path), three, [extractor], OPTIONS).videos == 1
    assert open_store(tmp_path, "index-first").keys() == ["3.mp4", "30.mp4", "60.mp4"]


def test_a_backfill_writes_only_the_store_that_lacks(tmp_path: Path, three: list[Video]) -> None:
    one, other = IndexExtractor("one"), IndexExtractor("other")
    extract(str(tmp_path), three, [one], OPTIONS)
    shards = [s.path for s in open_store(tmp_path, "one-first").shards]
    pictures = sorted((tmp_path / "tables" / "frames").iterdir())
    extract(str(tmp_path), three, [one, other], OPTIONS)
    assert [s.path for s in open_store(tmp_path, "one-first").shards] == shards
    assert len(open_store(tmp_path, "other-first")) == 3
    assert sorted((tmp_path / "tables" / "frames").iterdir()) == pictures


def test_vectors_do_not_depend_on_batches_or_workers(tmp_path: Path, three: list[Video]) -> None:
    stores = []
    for name, size, workers in (("a", 1, 1), ("b", 3, 2), ("c", 64, 3)):
        options = ExtractOptions(segment_ms=1000, workers=workers)
        extract(str(tmp_path / name), three, [IndexExtractor(batch_size=size)], options)
        stores.append(open_store(tmp_path / name, "index-last"))
    for video_id in ("3.mp4", "30.mp4", "60.mp4"):
        blocks = [store.read(video_id) for store in stores]
        assert all(b.features.tobytes() == blocks[0].features.tobytes() for b in blocks)


def test_one_row_a_window(tmp_path: Path, three: list[Video]) -> None:
    options = ExtractOptions(segment_ms=1000, rows="window")
    extract(str(tmp_path), three, [IndexExtractor()], options)
    block = open_store(tmp_path, "index-first").read("60.mp4")
    assert block.features[:, 0].tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    assert block.segment_index.tolist() == [0] * 5 + [1] * 5 + [2] * 2
    assert block.start_ms.tolist() == [200 * i for i in range(12)]
    assert block.stop_ms.tolist() == [200 * (i + 1) for i in range(12)]


def test_a_failure_is_an_outcome_and_the_others_go_on(tmp_path: Path, three: list[Video]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    bad = [Video("broken", str(broken), "0" * 64, 0, 1000), Video("gone", str(tmp_path / "none"), "0" * 64, 0, 1000)]
    summary = extract(str(tmp_path), [bad[0], three[0], bad[1]], [IndexExtractor()], OPTIONS)
    assert (summary.videos, summary.failed) == (3, 2)
    store = open_store(tmp_path, "index-first")
    assert store.keys() == ["60.mp4"]
    latest = Outcomes(tmp_path).latest("extract", store.spec.name)
    assert {key: row["error_class"] for key, row in latest.items()} == {
        "broken": "corrupt", "gone": "not_found", "60.mp4": None,
    }  # fmt: skip
    # Permanent failures are left alone until somebody asks.
    assert missing(str(tmp_path), bad, [IndexExtractor()], OPTIONS) == []
    assert len(missing(str(tmp_path), bad, [IndexExtractor()], OPTIONS, retry=True)) == 2


def test_frames_that_stop_early_leave_masked_rows(tmp_path: Path, three: list[Video]) -> None:
    longer = Video("60.mp4", three[0].path, three[0].sha256, 0, 4500)
    extract(str(tmp_path), [longer], [IndexExtractor()], OPTIONS)
    block = open_store(tmp_path, "index-first").read("60.mp4")
    assert block.mask.tolist() == [VALID, VALID, VALID, NO_DATA, NO_DATA]
    assert np.isnan(block.features[3:]).all()
    assert not np.isnan(block.features[:3]).any()


def test_leaving_early_keeps_finished_videos(tmp_path: Path, three: list[Video]) -> None:
    def stop_after_first(v: Video, outcome: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(str(tmp_path), three, [IndexExtractor(batch_size=1)], OPTIONS, on_video=stop_after_first)
    store = open_store(tmp_path, "index-first")
    assert len(store) == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("decode-")]
    extract(str(tmp_path), three, [IndexExtractor(batch_size=1)], OPTIONS)
    store.refresh()
    assert len(store) == 3


def test_a_decoder_that_takes_too_long_is_killed(tmp_path: Path, three: list[Video]) -> None:
    options = ExtractOptions(segment_ms=1000, limits=Limits(wall_seconds=0.001))
    extractor = IndexExtractor()
    summary = extract(str(tmp_path), three[:1], [extractor], options)
    assert summary.failed == 1
    name = extractor.specs(segment_ms=1000, decoder="")["first"]
    rows = Tables(tmp_path).read("outcomes").to_pylist()
    assert {row["error_class"] for row in rows} == {"timed_out"}
    assert not rows[0]["permanent"]
    assert name.dim == 1
