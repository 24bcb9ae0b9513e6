"""TransGRec on whole videos with a published split: what is read, the lists of videos that training never saw, what it
finds there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models.fit import FitResult, train
from reelmill.models.metrics.table import LONG
from reelmill.models.protocols.segments import data, videos
from reelmill.models.protocols.segments import split as splits
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.task import TransGRecTask
from reelmill.models.transgrec.world import World, write
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.choices import COLD, USERS, WARM, event, write_store, write_world

CPU = torch.device("cpu")
QUICK = TransGRecSettings(split="given", batch=500, dim=16, epochs=25, patience=8, learning_rate=5e-3, l2=1e-2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("choices")
    return root, write_world(root, rows="video")


def test_what_is_read_and_what_is_left_out(tmp_path: Path) -> None:
    rows = [event("ann", "b", "train", 1), event("ann", "b", "train", 2), event("bob", "a", "test", 3, day=4),
            event("bob", "c", "else", 4, day=2), event("bob", "x", "train", 5), event("cid", "y", "train", 6),
            event("cid", "d", "validation", 7)]  # fmt: skip
    Tables(tmp_path).write("events", rows)
    vectors = {"a": [1.0, 2], "b": [3.0, 4], "c": [5.0, 6], "d": [np.nan, np.nan], "y": [np.nan, np.nan], "z": [0.0, 0]}
    store = write_store(tmp_path, {name: np.array([v]) for name, v in vectors.items()}, "video")
    d = videos.load(tmp_path, store)
    assert (d.users, d.videos) == (["ann", "bob"], ["a", "b", "c"])
    assert list(zip(d.positive_user.tolist(), d.positive_segment.tolist(), d.positive_part.tolist(), strict=True)) == [
        (0, 1, 0), (1, 0, 2), (1, 2, -1),
    ]  # fmt: skip
    assert d.view_video.tolist() == [1, 2, 0]  # bob's oldest first
    assert (d.segment_video.tolist(), d.segment_index.tolist()) == ([0, 1, 2], [0, 0, 0])
    np.testing.assert_array_equal(d.vectors(np.array([2, 0])), [[5, 6], [1, 2]])
    expected = {
        "users": 2, "videos": 3, "segments": 3, "positives": 3, "users_without_positives": 1,
        "videos_without_features": 3, "segments_without_features": 3, "segments_not_finite": 0,
        "labels_without_features": 3, "labels_repeated": 1, "views_without_event": 0, "users_ordered_by_row": 1,
    }  # fmt: skip
    assert vars(d.counts) == expected
    assert videos.load(tmp_path, store).fingerprint == d.fingerprint
    Tables(tmp_path).write("events", [event("bob", "b", "test", 8)])
    assert videos.load(tmp_path, store).fingerprint != d.fingerprint


def test_a_store_of_segments_has_segments_for_items(tmp_path: Path) -> None:
    store = write(tmp_path, World(users=20, old_videos=20, new_videos=10))["features"]
    segments = videos.load(tmp_path, store)
    assert segments.fingerprint == data.load(tmp_path, store).fingerprint
    with pytest.raises(InputError, match=r"none of .* positives comes from a source called 'train'"):
        splits.given(segments)


def test_whole_videos_need_a_given_split(world: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match="a list of one video's segments has one place; say split: given"):
        TransGRecTask(videos.load(*world), TransGRecSettings(), CPU)


def test_a_store_without_any_video_of_the_events(tmp_path: Path) -> None:
    Tables(tmp_path).write("events", [event("ann", "b", "train", 1)])
    store = write_store(tmp_path, {"a": np.ones((1, 2))}, "video")
    with pytest.raises(InputError, match="holds no usable vector of a video with events"):
        videos.load(tmp_path, store)


def test_lists_hold_the_videos_that_training_never_saw(world: tuple[Path, str]) -> None:
    d = videos.load(*world)
    split = splits.given(d)
    names = np.array(d.videos)
    cold = [f"i{i:03d}" for i in range(WARM, WARM + COLD)]
    for cases, part, each in ((split.validation, 1, 1), (split.test, 2, 2)):
        assert len(cases) == USERS
        assert cases.relevant.sum() == each * USERS
        for c in (0, 17, USERS - 1):
            here = slice(*cases.start[c : c + 2])
            mine = (d.positive_user == cases.user[c]) & (d.positive_part == part)
            liked = set(names[d.positive_segment[mine]]) & set(cold)
            assert names[cases.segment[here]].tolist() == cold
            assert set(names[cases.segment[here][cases.relevant[here]]]) == liked
    assert (d.positive_part[split.train] == 0).all()
    assert split.counts == {
        "train_positives": 12 * USERS, "cold_items": COLD, "positives_of_no_part": 0,
        "validation_positives": USERS, "test_positives": 2 * USERS,
        "validation_positives_of_known_items": 3 * USERS, "test_positives_of_known_items": 3 * USERS,
        "validation_cases": USERS, "test_cases": USERS, "test_users_without_training": 0,
    }  # fmt: skip
    task = TransGRecTask(d, QUICK, CPU)
    assert names[task.items].tolist() == [f"i{i:03d}" for i in range(WARM)]
    assert len(task.graph.by_item) == len(split.train)


def test_without_a_cold_video_there_is_no_such_test(tmp_path: Path) -> None:
    rows = [("ann", "a", "train"), ("bob", "b", "train"), ("bob", "a", "test")]
    Tables(tmp_path).write("events", [event(*row, n) for n, row in enumerate(rows)])
    store = write_store(tmp_path, {"a": np.ones((1, 2)), "b": np.zeros((1, 2))}, "video")
    with pytest.raises(InputError, match="training touched every item of 1 test positives; use vbpr"):
        TransGRecTask(videos.load(tmp_path, store), QUICK, CPU)


def figure(result: FitResult, row: str, metric: str) -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == row and r["metric"] == metric)


def fit(root: Path, store: str, settings: TransGRecSettings) -> FitResult:
    return train(root, store, settings, logger="none", pictures=False)


@pytest.mark.parametrize("settings", [QUICK, TransGRecSettings.adversarial(**{
    name: getattr(QUICK, name) for name in ("split", "batch", "dim", "epochs", "patience", "learning_rate", "l2")
})], ids=["E", "A"])  # fmt: skip
def test_it_finds_the_planted_taste_in_videos_nobody_has_seen(
    world: tuple[Path, str], settings: TransGRecSettings
) -> None:
    result = fit(*world, settings)
    assert list(dict.fromkeys(row["metric"] for row in result.metrics["rows"])) == list(LONG)
    assert list(dict.fromkeys(row["row"] for row in result.metrics["rows"])) == ["random", "content", "transgrec"]
    assert figure(result, "random", "recall@10")["mean"] == pytest.approx(10 / COLD)
    assert figure(result, "content", "recall@10")["minus_random_low"] > 0.05
    assert figure(result, "transgrec", "recall@10")["minus_random_low"] > 0.05
    assert {row["metric"] for row in result.metrics["by_sparsity"]} == {"map"}


def test_it_stays_at_chance_on_the_noise_twin(tmp_path: Path) -> None:
    result = fit(tmp_path, write_world(tmp_path, noise_twin=True, rows="video"), QUICK)
    for metric in ("recall@10", "map"):
        row = figure(result, "transgrec", metric)
        error = (row["minus_random_high"] - row["minus_random_low"]) / (2 * 1.96)
        assert abs(row["minus_random"]) < 3 * error, row
