"""What `reelmill.models.protocols.segments` reads from a root and how it splits it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from reelmill.models.fit import train
from reelmill.models.protocols.segments import data
from reelmill.models.protocols.segments import split as splits
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.task import TransGRecTask
from reelmill.models.transgrec.world import World, write
from reelmill.storage import FeatureWriter, Spec, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, VALID, Block

WORLD = World(users=90, old_videos=40, new_videos=20)
SMALL = TransGRecSettings(batch=250, epochs=4, dim=16)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("planted")
    return root, write(root, WORLD)["features"]


# ---- splits ----


def test_the_split_keeps_its_promises(world: tuple[Path, str]) -> None:
    d = data.load(*world)
    split = splits.last_video(d, np.random.default_rng(0))
    test = split.test
    videos_of = {u: d.view_video[d.view_user == u].tolist() for u in range(len(d.users))}
    assert test.user.tolist() == [u for u, videos in videos_of.items() if len(videos) >= 5]
    assert test.video.tolist() == [videos_of[u][-1] for u in test.user.tolist()]
    positive = set(zip(d.positive_user.tolist(), d.positive_segment.tolist(), strict=True))
    train_ = {(int(d.positive_user[p]), int(d.positive_segment[p])) for p in split.train}
    in_test: set[tuple[int, int]] = set()
    for c in range(len(test)):
        segments = test.segment[test.start[c] : test.start[c + 1]]
        assert segments.tolist() == np.flatnonzero(d.segment_video == test.video[c]).tolist()
        truth = [(int(test.user[c]), int(s)) in positive for s in segments]
        assert test.relevant[test.start[c] : test.start[c + 1]].tolist() == truth
        in_test |= {(int(test.user[c]), int(s)) for s, t in zip(segments, truth, strict=True) if t}
    check = split.validation
    pairs = list(zip(check.candidate_user.tolist(), check.segment.tolist(), strict=True))
    in_validation = {pair for pair, truth in zip(pairs, check.relevant.tolist(), strict=True) if truth}
    assert train_ | in_validation | in_test == positive
    assert len(train_) + len(in_validation) + len(in_test) == len(positive)
    assert not train_ & set(pairs)
    assert len(in_validation) == round(0.1 * (len(positive) - len(in_test)))
    assert split.counts["test_candidates_with_edges"] == 0  # the last videos of this world are new
    other = splits.last_video(d, np.random.default_rng(1))
    assert not np.array_equal(other.train, split.train)


def test_edges_of_validation_and_test_are_not_in_the_graph(world: tuple[Path, str]) -> None:
    d = data.load(*world)
    task = TransGRecTask(d, SMALL, torch.device("cpu"))
    graph = task.graph
    user = np.repeat(np.arange(len(d.users)), np.diff(graph.items_of.start.numpy()))
    edges = set(zip(user.tolist(), task.items[graph.items_of.member.numpy()].tolist(), strict=True))
    train_ = task.split.train
    assert edges == set(zip(d.positive_user[train_].tolist(), d.positive_segment[train_].tolist(), strict=True))
    assert not np.isin(task.split.test.segment, task.items).any()
    drawn = {
        pair for b in task.batches(torch.Generator()) for pair in zip(b.user.tolist(), b.positive.tolist(), strict=True)
    }
    assert len(drawn) == len(train_)


def test_a_split_without_a_test_says_why(tmp_path: Path) -> None:
    store = write(tmp_path, World(users=6, old_videos=2, new_videos=2))["features"]
    with pytest.raises(InputError, match=r"no user has 5 videos .*the most is 3.* lower least_videos"):
        train(tmp_path, store, SMALL)
    assert train(tmp_path, store, TransGRecSettings(epochs=1, least_videos=2)).counts["test_cases"] > 0


# ---- loading ----


def small_root(root: Path, *, rows: str = "segment", constant: bool = False) -> str:
    """Two videos of three segments. `a` 1 was not decodable; `b` is on the grid with two segments only; `c` has no
    features; `d` was touched by nobody."""
    spec = Spec(extractor="tiny", layer="fc", dim=2, rows=rows)  # type: ignore[arg-type]
    index = np.arange(3, dtype=np.int32)
    times = index.astype(np.int64) * 5000
    with FeatureWriter(root, spec) as writer:
        for number, video in enumerate("abd"):
            mask = np.array([VALID, NO_DATA if video == "a" else VALID, VALID], np.uint8)
            vectors = np.full((3, 2), 7.0, np.float32) if constant else 10 * number + np.arange(6.0).reshape(3, 2)
            vectors = np.where(mask[:, None] == NO_DATA, np.nan, vectors).astype(np.float32)
            writer.add(Block(video, vectors, mask, index, times, times + 5000))
    tables = Tables(root)
    grid = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 0), ("d", 0)]
    tables.write("segments", [
        {"video_id": v, "segment_index": s, "start_ms": 5000 * s, "stop_ms": 5000 * s + 5000,
         "duration_source": "measured"}
        for v, s in grid
    ])  # fmt: skip
    labels = [
        ("u", "b", 1),
        ("u", "a", 2),
        ("u", "a", 1),
        ("w", "c", 0),
        ("t", "b", 0),
        ("t", "b", 0),
        ("t", "a", 0),
        ("u", "b", 2),
    ]
    tables.write(
        "labels", [{"user_id": u, "video_id": v, "segment_index": s, "covered_ms": 5000} for u, v, s in labels]
    )
    events = [("u", "b", 1), ("u", "a", 2), ("t", "b", 3), ("x", "a", 4), ("u", "b", 5)]
    tables.write("events", [
        {"user_id": u, "video_id": v, "kind": "highlight", "source": "s", "source_row": row} for u, v, row in events
    ] + [{"user_id": "y", "video_id": "d", "kind": "rating", "source": "s", "source_row": 6}])  # fmt: skip
    return spec.name


def test_loading_counts_all_that_is_left_out(tmp_path: Path) -> None:
    d = data.load(tmp_path, small_root(tmp_path))
    assert d.users == ["t", "u"]
    assert d.videos == ["a", "b"]
    assert list(zip(d.segment_video.tolist(), d.segment_index.tolist(), strict=True)) == [
        (0, 0),
        (0, 2),
        (1, 0),
        (1, 1),
    ]
    assert list(zip(d.positive_user.tolist(), d.positive_segment.tolist(), strict=True)) == [
        (0, 0),
        (0, 2),
        (1, 1),
        (1, 3),
    ]
    # t has a label on a without an event: taken as its oldest view. u began b before a.
    assert list(zip(d.view_user.tolist(), d.view_video.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1), (1, 0)]
    np.testing.assert_array_equal(d.vectors(np.array([3, 1])), [[12, 13], [4, 5]])
    assert vars(d.counts) == {
        "users": 2, "videos": 2, "segments": 4, "positives": 4,
        "users_without_positives": 2,  # w and x
        "videos_without_features": 1,  # c
        "segments_without_features": 2,  # a 1 and c 0
        "segments_not_finite": 0,
        "labels_without_features": 3,  # a 1, c 0 and b 2, which is not on the grid
        "labels_repeated": 1,
        "views_without_event": 1,
        "users_ordered_by_row": 2,
    }  # fmt: skip


def test_views_follow_time_and_without_time_the_rows(world: tuple[Path, str], tmp_path: Path) -> None:
    """Rows turned round: with times nothing changes, without times every order does."""
    root, store = world
    before = data.load(root, store)
    events = Tables(root).read("events")
    turned = pc.subtract(events.num_rows + 1, events["source_row"])
    for folder, dated in (("dated", True), ("undated", False)):
        other = tmp_path / folder
        write(other, WORLD)
        table = events.set_column(events.column_names.index("source_row"), "source_row", turned)
        Tables(other).write("events", table if dated else table.drop(["time"]))
        after = data.load(other, store)
        assert after.counts.users_ordered_by_row == (0 if dated else 90)
        if dated:
            assert after.fingerprint == before.fingerprint
        else:
            first = np.searchsorted(before.view_user, 0, "right")
            assert after.view_video[:first].tolist() == before.view_video[:first][::-1].tolist()


def test_the_video_that_the_source_marks_is_the_last(world: tuple[Path, str], tmp_path: Path) -> None:
    """As in PHD², where the rows of a user's last video stand first."""
    root, store = world
    before = data.load(root, store)
    first, stop = np.searchsorted(before.view_user, 0, "left"), np.searchsorted(before.view_user, 0, "right")
    opening = before.videos[before.view_video[first]]
    write(tmp_path, WORLD)
    events = Tables(root).read("events")
    marks = pc.and_(pc.equal(events["user_id"], before.users[0]), pc.equal(events["video_id"], opening))
    column = events.column_names.index("last_video")
    Tables(tmp_path).write("events", events.set_column(column, "last_video", marks))
    after = data.load(tmp_path, store)
    expected = np.roll(before.view_video[first:stop], -1)
    assert after.view_video[first:stop].tolist() == expected.tolist()


def test_new_unlabelled_videos_and_new_parts_do_not_change_the_fingerprint(
    world: tuple[Path, str], tmp_path: Path
) -> None:
    store = write(tmp_path, WORLD)["features"]
    before = data.load(tmp_path, store)
    opened = open_store(tmp_path, store)
    block = opened.read(opened.keys()[0])
    with FeatureWriter(tmp_path, opened.spec) as writer:
        writer.add(block)  # the same once more, as two workers may do
        writer.add(Block("new", block.features, block.mask, block.segment_index, block.start_ms, block.stop_ms))
    after = data.load(tmp_path, store)
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.vectors(np.arange(30)), before.vectors(np.arange(30)))


def test_useless_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="constant"):
        data.load(tmp_path / "constant", small_root(tmp_path / "constant", constant=True))
    with pytest.raises(InputError, match="one row a window"):
        data.load(tmp_path / "windows", small_root(tmp_path / "windows", rows="window"))
    name = small_root(tmp_path / "empty")
    for part in (tmp_path / "empty" / "tables" / "labels").iterdir():
        part.unlink()
    with pytest.raises(InputError, match="no labels"):
        data.load(tmp_path / "empty", name)


def test_features_of_another_grid_are_refused(tmp_path: Path) -> None:
    name = small_root(tmp_path)
    grid = Tables(tmp_path).read("segments").to_pylist()
    for change in ({"start_ms": 3000, "stop_ms": 6000}, {"stop_ms": 9000}):  # segment_ms, or the video's duration
        changed = [row | change if (row["video_id"], row["segment_index"]) == ("b", 1) else row for row in grid]
        Tables(tmp_path).write("segments", changed)
        with pytest.raises(InputError, match="segment 1 of video 'b' at 5000–10000 ms, the tables at"):
            data.load(tmp_path, name)
    Tables(tmp_path).write("segments", grid)
    data.load(tmp_path, name)


def test_values_that_are_not_finite_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store written by someone else may call a NaN valid; ours refuses to write one."""
    monkeypatch.setattr(Block, "check", lambda self, spec: None)
    root = tmp_path
    store = write(root, replace(WORLD, users=20))["features"]
    opened = open_store(root, store)
    block = opened.read("v0000")
    block.features[3] = np.nan
    with FeatureWriter(root, opened.spec) as writer:
        writer.add(block)
    assert data.load(root, store).counts.segments_not_finite == 1
