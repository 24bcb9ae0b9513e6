"""From a real root to a fitted model: loading, splitting, training, evaluating, stopping, resuming, rebuilding."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from models import data, runs, splits
from models.fit import FitResult, find_device, settings_for, train
from models.transgrec import TransGRecSettings, TransGRecTask
from storage import FeatureWriter, Spec, Tables, open_store
from storage.errors import CorruptPart, InputError
from storage.features import NO_DATA, VALID, Block
from tests import planted

QUICK = TransGRecSettings(batch=250, epochs=40, patience=15)
SMALL = TransGRecSettings(batch=250, epochs=4, dim=16)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: a second thread costs more than it brings, and other tests want the core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("planted")
    return root, planted.write(root, planted.World())


@pytest.fixture(scope="module")
def fitted(world: tuple[Path, str]) -> FitResult:
    return train(*world, QUICK)


def figures(result: FitResult, row: str, metric: str) -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == row and r["metric"] == metric)


# ---- does it learn, and only what is there ----


def test_it_beats_chance_clearly_on_the_planted_world(fitted: FitResult) -> None:
    for metric in ("map", "ndcg@5", "hr@1", "highlight_ap", "recall@3"):
        assert figures(fitted, "transgrec", metric)["minus_random_low"] > 0.2, metric
    assert figures(fitted, "transgrec", "nmsd")["minus_random_high"] < -0.2
    assert figures(fitted, "transgrec", "map")["cases"] == 90


def test_it_stays_at_chance_on_the_noise_twin(tmp_path: Path) -> None:
    store = planted.write(tmp_path, planted.World(noise_twin=True))
    result = train(tmp_path, store, QUICK)
    for metric in ("map", "ndcg@5", "recall@3"):
        row = figures(result, "transgrec", metric)
        assert row["minus_random_low"] < 0 < row["minus_random_high"], row
    assert abs(figures(result, "transgrec", "nmsd")["minus_random"]) < 0.1


def test_the_adversarial_variant_learns_too(world: tuple[Path, str]) -> None:
    result = train(*world, TransGRecSettings.adversarial(batch=250, epochs=25, dim=64))
    assert figures(result, "transgrec", "ndcg@5")["minus_random_low"] > 0.1


def test_the_random_row_is_chance_and_the_floors_are_there(fitted: FitResult) -> None:
    """Two of twelve segments are relevant."""
    assert figures(fitted, "random", "hr@1")["mean"] == pytest.approx(1 / 6)
    assert figures(fitted, "random", "recall@3")["mean"] == pytest.approx(3 / 12)
    for row in ("smooth random", "early first"):
        assert abs(figures(fitted, row, "ndcg@5")["minus_random"]) < 0.1
    assert figures(fitted, "content", "ndcg@5")["minus_random_low"] > 0.2
    groups = {row["group"]: row["cases"] for row in fitted.metrics["by_sparsity"]}
    assert sum(groups.values()) == 90
    assert len(groups) >= 2


# ---- runs ----


def test_a_run_is_complete_and_says_what_was_asked(fitted: FitResult) -> None:
    assert sorted(p.name for p in fitted.folder.iterdir()) == [
        "checkpoint.pt", "history.csv", "metrics.json", "settings.json",
    ]  # fmt: skip
    asked = json.loads((fitted.folder / "settings.json").read_text())
    assert asked["model"] == "transgrec"
    assert asked["settings"] == QUICK.to_dict()
    assert json.loads((fitted.folder / "metrics.json").read_text()) == fitted.metrics
    with (fitted.folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in history] == list(range(1, fitted.metrics["fit"]["epochs"] + 1))
    assert float(history[-1]["bpr"]) < 0.5 * float(history[0]["bpr"])
    best = max(history, key=lambda row: float(row["validation_map"]))
    assert int(best["epoch"]) == fitted.metrics["fit"]["best_epoch"]


def test_fitting_again_does_nothing(world: tuple[Path, str], fitted: FitResult) -> None:
    stamp = (fitted.folder / "checkpoint.pt").stat().st_mtime_ns
    again = train(*world, QUICK)
    assert again.skipped
    assert not fitted.skipped
    assert (again.folder, again.metrics, again.counts) == (fitted.folder, fitted.metrics, fitted.counts)
    assert (fitted.folder / "checkpoint.pt").stat().st_mtime_ns == stamp
    assert runs.Run(fitted.folder) in runs.list_runs(world[0])


def test_the_checkpoint_rebuilds_its_model(world: tuple[Path, str], fitted: FitResult) -> None:
    """The rebuilt model gives the very tables of metrics.json, and equal scores to the last bit."""
    rebuilt, again = runs.load(fitted.folder), runs.load(fitted.folder)
    interactions = data.load(*world)
    task = TransGRecTask(interactions, QUICK, torch.device("cpu"))
    users = torch.arange(12) % 3
    features = torch.from_numpy(interactions.vectors(np.arange(12)))
    scores = rebuilt.model.score(users, features)
    assert torch.equal(scores, again.model.score(users, features))
    assert float(scores.std()) > 0
    tables = task.evaluate(rebuilt.model)
    assert tables["rows"] == fitted.metrics["rows"]
    assert torch.equal(scores, rebuilt.model.score(users, features))  # settling again changed nothing
    assert rebuilt.identities["users"] == interactions.users
    assert rebuilt.row("users", interactions.users[5]) == 5
    assert rebuilt.store == interactions.spec
    with pytest.raises(InputError, match="'nobody' is not among the users"):
        rebuilt.row("users", "nobody")


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(
    world: tuple[Path, str], tmp_path: Path, killed_after: int
) -> None:
    """The kill is an exception out of the callback, right after a save; nothing more is saved."""
    settings = TransGRecSettings(batch=250, epochs=4, dim=16, edge_dropout=0.2, variant="adversarial", depth=1)
    root, store = tmp_path, planted.write(tmp_path, planted.World())
    unbroken = train(world[0], store, settings)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(root, store, settings, on_epoch=kill, save_every_s=0)
    folder = root / "runs" / unbroken.folder.name
    assert sorted(p.name for p in folder.iterdir()) == ["last.pt", "settings.json"]
    assert runs.list_runs(root) == []
    with pytest.raises(InputError, match="not finished"):
        runs.load(folder)
    seen: list[int] = []
    resumed = train(root, store, settings, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == list(range(killed_after + 1, 5))
    assert resumed.metrics["rows"] == unbroken.metrics["rows"]
    first, second = runs.load(unbroken.folder).model.state_dict(), runs.load(resumed.folder).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_a_dead_writer_left_is_swept(world: tuple[Path, str], fitted: FitResult) -> None:
    dead = fitted.folder / f".part-0.tmp-{os.uname().nodename}-999999999"
    dead.write_bytes(b"half a file")
    train(*world, QUICK)
    assert not dead.exists()


def test_a_damaged_checkpoint_is_named(world: tuple[Path, str], fitted: FitResult, tmp_path: Path) -> None:
    whole = (fitted.folder / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptPart, match="fit again"):
        runs.load(tmp_path)


def test_other_settings_or_data_are_another_run(world: tuple[Path, str], tmp_path: Path) -> None:
    root, store = world
    interactions = data.load(root, store)
    names = {runs.open_run(tmp_path, "transgrec", s, interactions).folder.name for s in (QUICK, SMALL, QUICK)}
    assert len(names) == 2
    other = planted.write(tmp_path / "other", planted.World(noise=0.2))
    assert other == store  # one spec, other vectors
    assert data.load(tmp_path / "other", other).fingerprint != interactions.fingerprint


def test_bad_requests_are_refused(world: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match="did you mean 'transgrec'"):
        train(*world, model="transgrek")
    with pytest.raises(InputError, match="no setting 'epoch': did you mean 'epochs'"):
        settings_for("transgrec", {"epoch": 3})
    assert settings_for("transgrec", {"epochs": 3}) == TransGRecSettings(epochs=3)
    with pytest.raises(InputError, match="device"):
        find_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no usable GPU"):
            find_device("cuda:0")


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
    store = planted.write(tmp_path, planted.World(users=6, old_videos=2, new_videos=2))
    with pytest.raises(InputError, match=r"nobody has 5 videos .*the most is 3.* lower least_videos"):
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
        {"video_id": v, "segment_index": s, "start_ms": s, "stop_ms": s + 1, "duration_source": "measured"}
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
        planted.write(other, planted.World())
        table = events.set_column(events.column_names.index("source_row"), "source_row", turned)
        Tables(other).write("events", table if dated else table.drop(["time"]))
        after = data.load(other, store)
        assert after.counts.users_ordered_by_row == (0 if dated else 90)
        if dated:
            assert after.fingerprint == before.fingerprint
        else:
            first = np.searchsorted(before.view_user, 0, "right")
            assert after.view_video[:first].tolist() == before.view_video[:first][::-1].tolist()


def test_new_unlabelled_videos_and_new_parts_do_not_change_the_fingerprint(
    world: tuple[Path, str], tmp_path: Path
) -> None:
    store = planted.write(tmp_path, planted.World())
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


def test_values_that_are_not_finite_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store written by someone else may call a NaN valid; ours refuses to write one."""
    monkeypatch.setattr(Block, "check", lambda self, spec: None)
    root = tmp_path
    store = planted.write(root, planted.World(users=20))
    opened = open_store(root, store)
    block = opened.read("v000")
    block.features[3] = np.nan
    with FeatureWriter(root, opened.spec) as writer:
        writer.add(block)
    assert data.load(root, store).counts.segments_not_finite == 1
