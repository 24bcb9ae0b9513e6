"""From files to stores, with an extractor whose vector is the index of the frames it saw: right frame, right row."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.extract.cut import CutWindows
from reelmill.pipeline.extract.gather import Gather
from reelmill.pipeline.extract.missing import ExtractOptions, Video, missing, specs_of, still_missing
from reelmill.pipeline.extract.videos import extract
from reelmill.pipeline.probe import probe
from reelmill.storage import Block, FeatureWriter, Outcomes, Root, Spec, Tables, open_store, store
from reelmill.storage.features import NO_DATA, PADDED, VALID
from reelmill.storage.shards import Shard
from tests.media import make_video, read_index


class IndexExtractor:
    """Reads the index in the pixels: layer `first` is that of the window's first frame, `last` of its last."""

    layers = ("first", "last")

    def __init__(self, name: str = "index", windows: Windows | None = None, batch_size: int = 4) -> None:
        self.name, self.batch_size = name, batch_size
        geometry = Geometry(crop=(60, 80), scale_to=(60, 80))
        self.plan = FramePlan(geometry, windows or Windows("consecutive", 5))
        self.batches = 0

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        return {
            layer: Spec(
                self.name,
                layer,
                1,
                rows,
                self.plan.describe(segment_ms),
                self.plan.geometry.describe(),
                decoder=decoder,
            )
            for layer in self.layers
        }

    def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
        assert windows.shape == (self.batch_size, self.plan.windows.length, 60, 80, 3)
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
    assert (summary.videos, summary.failed, summary.segments) == (3, {}, 6)
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
    assert (summary.videos, summary.failed) == (3, {"corrupt": 1, "changed": 1})
    store = open_store(tmp_path, "index-first")
    assert store.keys() == ["60.mp4"]
    latest = Outcomes(tmp_path).latest("extract", store.spec.name)
    assert {key: row["error_class"] for key, row in latest.items()} == {
        "broken": "corrupt", "gone": "changed", "60.mp4": None,
    }  # fmt: skip
    # Permanent failures are left alone until somebody asks; a file that is gone may come back.
    assert [v.video_id for v, _ in missing(str(tmp_path), bad, [IndexExtractor()], OPTIONS)] == ["gone"]
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
    assert summary.failed == {"timed_out": 1}
    name = extractor.specs(segment_ms=1000, decoder="")["first"]
    rows = Tables(tmp_path).read("outcomes").to_pylist()
    assert {row["error_class"] for row in rows} == {"timed_out"}
    assert not rows[0]["permanent"]
    assert name.dim == 1


def test_a_network_that_fails_on_one_batch_fails_its_videos_only(tmp_path: Path, three: list[Video]) -> None:
    class Fails(IndexExtractor):
        def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
            if self.batches == 1:
                self.batches += 1
                raise RuntimeError("out of memory on the device")
            return super().forward(windows)

    summary = extract(str(tmp_path), three, [Fails(batch_size=3)], OPTIONS)
    assert (summary.videos, summary.failed) == (3, {"unknown": 1})
    rows = [row for row in Tables(tmp_path).read("outcomes").to_pylist() if row["status"] == "failed"]
    failed = next(row for row in rows if row["spec"].startswith("index-first"))
    assert "out of memory on the device" in failed["message"]
    assert not failed["permanent"]
    assert extract(str(tmp_path), three, [IndexExtractor(batch_size=3)], OPTIONS).videos == 1
    assert len(open_store(tmp_path, "index-first")) == 3


def test_a_network_that_always_fails_stops_the_run(tmp_path: Path, three: list[Video]) -> None:
    class Broken(IndexExtractor):
        def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
            raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        extract(str(tmp_path), three, [Broken(batch_size=1)], OPTIONS)


def test_a_vector_that_is_no_number_fails_its_video_in_every_store(tmp_path: Path, three: list[Video]) -> None:
    class NotANumber(IndexExtractor):
        def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
            seen = super().forward(windows)
            return {"first": seen["first"], "last": np.where(seen["last"] == 59, np.nan, seen["last"])}

    summary = extract(str(tmp_path), three, [NotANumber()], OPTIONS)
    assert summary.failed == {"unknown": 1}
    for layer in ("first", "last"):
        assert "60.mp4" not in open_store(tmp_path, f"index-{layer}")
    assert "60.mp4" not in Tables(tmp_path).units("frames")


def test_a_file_that_changed_is_noticed(tmp_path: Path, three: list[Video]) -> None:
    changed = replace(three[0], bytes=17)
    assert extract(str(tmp_path), [changed, three[1]], [IndexExtractor()], OPTIONS).failed == {"changed": 1}
    assert [v.video_id for v, _ in missing(str(tmp_path), three[:2], [IndexExtractor()], OPTIONS)] == ["60.mp4"]


def test_a_replaced_file_is_extracted_again(tmp_path: Path, three: list[Video]) -> None:
    """Once it was measured anew, its features are those of the new file."""
    extract(str(tmp_path), three, [IndexExtractor()], OPTIONS)
    other = replace(video(make_video(tmp_path / "other.mp4", frames=40)), video_id="60.mp4")
    todo = missing(str(tmp_path), [other, *three[1:]], [IndexExtractor()], OPTIONS)
    assert [v.video_id for v, _ in todo] == ["60.mp4"]
    extract(str(tmp_path), [other, *three[1:]], [IndexExtractor()], OPTIONS)
    assert open_store(tmp_path, "index-first").read("60.mp4").features[:, 0].tolist() == [10, 30]
    assert missing(str(tmp_path), [other, *three[1:]], [IndexExtractor()], OPTIONS) == []


def test_pictures_come_before_blocks(tmp_path: Path, three: list[Video], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies while it commits must not leave a video that looks done and has no pictures."""
    write = Tables.write

    def dies(self: Tables, name: str, *rest: Any, **named: Any) -> int:
        if name == "frames":
            raise OSError("disk full")
        return write(self, name, *rest, **named)

    with monkeypatch.context() as broken:
        broken.setattr(Tables, "write", dies)
        with pytest.raises(OSError, match="disk full"):
            extract(str(tmp_path), three, [IndexExtractor()], OPTIONS)
    assert extract(str(tmp_path), three, [IndexExtractor()], OPTIONS).videos == 3
    assert Tables(tmp_path).read("frames").num_rows == 6


def test_another_grid_gets_pictures_of_its_own(tmp_path: Path, three: list[Video]) -> None:
    extract(str(tmp_path), three, [IndexExtractor()], OPTIONS)
    extract(str(tmp_path), three, [IndexExtractor()], replace(OPTIONS, segment_ms=600))
    frames = Tables(tmp_path).read("frames").to_pylist()
    assert len(frames) == 7
    assert all(frame["time_ms"] // 600 == frame["segment_index"] for frame in frames)


def test_rows_by_window_keep_no_pixels(tmp_path: Path, three: list[Video]) -> None:
    extractor = IndexExtractor()
    lacking = {0: list(extractor.specs(segment_ms=1000, decoder="", rows="window").values())}
    gather = Gather(three[0], lacking, [extractor], 1000)
    pixels = np.zeros((5, 5, 60, 80, 3), np.uint8)
    whole = np.zeros(64, np.int64)  # as a message arrives: small arrays are views of one buffer
    gather.expect(0, 0, CutWindows(pixels, whole[:5] > 0, whole[5:10], whole[10:15]))
    kept = [array for window in gather.lanes["index"].windows for array in window[1:]]
    assert sum((array.base if array.base is not None else array).nbytes for array in kept) < 200


def test_blocks_ask_the_stores_only_for_what_was_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each block it is asked what others have extracted since: that reads each index once over the whole run,
    where it grew with the square of the blocks."""
    (specs,) = specs_of([IndexExtractor()], OPTIONS)
    videos = [Video(f"v{n:02d}", "", f"hash {n}", 0, 1000) for n in range(32)]
    todo = [(video, {0: specs}) for video in videos]
    read = Counter[str]()
    plain = store.open_shard

    def counted(path: Path) -> Shard:
        read[path.name] += 1
        return plain(path)

    def commit(*videos: Video) -> None:
        row, zero = np.zeros((1, 1), np.float32), np.zeros(1, np.int64)
        for spec in specs:
            with FeatureWriter(tmp_path, spec) as writer:
                for one in videos:
                    made_from = {"media_sha256": one.sha256}
                    writer.add(Block(one.video_id, row, np.ones(1, np.uint8), zero, zero, zero, made_from))

    monkeypatch.setattr(store, "open_shard", counted)
    snapshot, others = Root(tmp_path).snapshot(), set[str]()
    for start in range(0, len(todo), 2):
        block = todo[start : start + 2]
        left = still_missing(snapshot, block)
        assert left == [one for one in block if one[0].video_id not in others]
        commit(*(one for one, _ in left))
        commit(videos[-1 - start])  # another process begins at the end
        others.add(videos[-1 - start].video_id)
    assert not still_missing(snapshot, todo)
    assert set(read.values()) == {1}
    assert len(read) == len(list(tmp_path.rglob("part-*")))
    changed = [(replace(videos[3], sha256="another"), {0: specs}), *todo[4:]]
    assert still_missing(snapshot, changed) == changed[:1]
