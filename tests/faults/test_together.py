"""Several at once on one store and one table, without a lock: writers of the same videos, readers, compaction."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reelmill.storage import FeatureStore, Outcome, Outcomes, Tables, hdf5, open_store, parts
from reelmill.storage.compact import compact
from reelmill.storage.errors import CorruptPart, StoreError
from tests.faults.processes import joined, started, stop
from tests.stores import SPEC, block, fill, forks, same

VIDEOS = [f"v{n}" for n in range(6)]


def write(root: Path, writer: int, rounds: int) -> None:
    """The same videos over and over, each round a shard; and an outcome and a label of each."""
    for number in range(rounds):
        fill(root, [block(video, 8, seed=writer) for video in VIDEOS])
        rows = [
            {"user_id": f"w{writer}-{number}", "video_id": v, "segment_index": 0, "covered_ms": number} for v in VIDEOS
        ]
        Tables(root).write("labels", rows)
        Outcomes(root).write([Outcome("extract", v, "done", seconds=writer + number / 1000) for v in VIDEOS])


def merge(root: Path, rounds: int) -> None:
    for _ in range(rounds):
        compact(root, SPEC.name)
        for name in ("labels", "outcomes"):
            Tables(root).compact(name)
        time.sleep(0.01)


def read(root: Path, until: Callable[[], bool]) -> int:
    """Read everything all the time; gives how often. Nothing may be missing, mixed or there twice."""
    times = 0
    while not until():
        store = open_store(root, SPEC.name)
        for video in VIDEOS:
            found = store.read(video)
            assert any(same(found, block(video, 8, seed=writer)) for writer in (0, 1, 2)), "a block of two writers"
        with contextlib.suppress(StoreError):  # row numbers of what was merged meanwhile: it says to open it again
            assert np.isfinite(store.rows([(video, 0) for video in VIDEOS])).all()
        labels = Tables(root).read("labels").to_pylist()
        assert sorted(row["video_id"] for row in labels) == VIDEOS, "one row a video, of its newest part"
        log = [(row["key"], row["seconds"]) for row in Tables(root).read("outcomes").to_pylist()]
        assert len(log) == len(set(log)), "a row of the log is there twice"
        times += 1
    return times


@forks
def test_writers_of_the_same_videos_beside_compaction_beside_a_reader(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    workers = [
        started(lambda: write(tmp_path, 1, 12)),
        started(lambda: write(tmp_path, 2, 12)),
        started(lambda: merge(tmp_path, 12)),
        started(lambda: merge(tmp_path, 12)),
    ]
    ends: list[int] = []
    waiter = threading.Thread(target=lambda: ends.extend(joined(worker) for worker in workers))
    waiter.start()
    try:
        times = read(tmp_path, lambda: not waiter.is_alive())
    finally:
        for worker in workers:
            stop(worker)
        waiter.join()
    assert ends == [0] * 4
    assert times > 3
    assert Tables(tmp_path).read("outcomes").num_rows == 25 * len(VIDEOS)
    merge(tmp_path, 1)
    assert len(open_store(tmp_path, "c3d").shards) == 1
    assert Tables(tmp_path).read("outcomes").num_rows == 25 * len(VIDEOS)


def test_two_that_merge_at_once_lose_and_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one merges between the first one's list and its reading: the worst moment."""
    for number in range(4):
        fill(tmp_path, [block(f"v{number}")])
        Outcomes(tmp_path).write([Outcome("extract", f"v{number}", "done", seconds=number)])
    listed, again = parts.list_parts, [True]

    def interrupted(folder: Path, suffix: str = "") -> list[Path]:
        found = listed(folder, suffix)
        if again and folder.name == "outcomes":
            again.clear()
            Tables(tmp_path).compact("outcomes")
        return found

    monkeypatch.setattr("reelmill.storage.parts.list_parts", interrupted)
    assert Tables(tmp_path).compact("outcomes")[1] == 1
    assert Tables(tmp_path).read("outcomes").num_rows == 4
    verified = FeatureStore.verify
    again.append(True)

    def late(store: FeatureStore) -> list[CorruptPart]:
        wrong = verified(store)
        if again:
            again.clear()
            compact(tmp_path, SPEC.name)
        return wrong

    monkeypatch.setattr("reelmill.storage.features.FeatureStore.verify", late)
    assert compact(tmp_path, SPEC.name).parts_after == 1
    assert open_store(tmp_path, "c3d").keys() == ["v0", "v1", "v2", "v3"]


def test_an_open_store_whose_shards_were_merged_says_what_to_do(tmp_path: Path) -> None:
    """`read` finds the merged shard by itself; row numbers cannot, and say so."""
    fill(tmp_path, [block("a"), block("b")], per_shard=1)
    store = open_store(tmp_path, "c3d")
    hdf5._mapped.cache_clear()
    compact(tmp_path, "c3d")
    hdf5._mapped.cache_clear()
    with pytest.raises(StoreError, match="open the store again"):
        store.locate([("a", 0)])
    assert same(store.read("a"), block("a"))
    assert len(open_store(tmp_path, "c3d").locate([("a", 0)])) == 1
