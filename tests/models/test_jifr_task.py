"""JIFR from a written root to its tables: what is read and left out, the split, both tests, what it learns and what
not, resuming, rebuilding."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import runs
from reelmill.models.data.pairs import Lists
from reelmill.models.fit import FitResult, train
from reelmill.models.jifr import task as jifr_task
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.jifr.task import JIFRTask
from reelmill.models.jifr.world import World, write
from reelmill.models.protocols.items_and_frames import data as jifr_data
from reelmill.models.protocols.items_and_frames.cases import among_unrated, by_pair, frame_cases
from reelmill.models.protocols.items_and_frames.data import Ratings
from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, VALID, Block
from tests.benchmarks.worlds_jifr import FULL, MODELS, SETTINGS, true_figures

CPU = torch.device("cpu")
SMALL_WORLD = World(users=60, items=40, features=12, unframed=0.2)
SMALL = JIFRSettings(dim=4, hidden=4, epochs=4, batch=200, test_negatives=20, test_repeats=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("small")
    return root, write(root, SMALL_WORLD)


def figures(result: FitResult, metric: str, row: str = "jifr") -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == row and r["metric"] == metric)


# ---- reading ----

SPEC = Spec(extractor="test", layer="fc", dim=2, rows="window")


def events(*rows: tuple[str, str, str, int | None]) -> list[dict[str, Any]]:
    """(user, item, kind, start_ms) in the table's schema."""
    return [
        {"user_id": u, "video_id": i, "kind": kind, "start_ms": ms, "source": "test", "source_row": n + 1}
        for n, (u, i, kind, ms) in enumerate(rows)
    ]


def block(video: str, times: Sequence[int], usable: Sequence[bool] | None = None, length: int = 40) -> Block:
    """Frames shown at these times; the features say which it is."""
    mask = np.where(np.ones(len(times), bool) if usable is None else usable, VALID, NO_DATA).astype(np.uint8)
    start = np.array(times, np.int64)
    features = np.stack([np.full(len(times), float(ord(video[0]))), start / 1000], axis=1).astype(np.float32)
    features[mask == NO_DATA] = np.nan
    return Block(video, features, mask, (start // 5000).astype(np.int32), start, start + length)


def root_of(path: Path, rows: list[dict[str, Any]], blocks: Sequence[Block], spec: Spec = SPEC) -> Path:
    Tables(path).write("events", rows)
    with FeatureWriter(path, spec) as writer:
        for each in blocks:
            writer.add(each)
    return path


def liked(data: Ratings) -> list[tuple[str, str, float]]:
    """(user, item, second of the frame)."""
    item = np.searchsorted(data.frame_start, data.like_frame, side="right") - 1
    seconds = np.concatenate([v[:, 1] for v in data.vectors(np.arange(len(data.items)))])
    return [
        (data.users[u], data.items[i], float(seconds[k]))
        for u, i, k in zip(data.like_user, item, data.like_frame, strict=True)
    ]


def test_what_is_read_and_what_is_left_out(tmp_path: Path) -> None:
    rows = events(
        ("ann", "a", "rating", None), ("ann", "a", "rating", None), ("bob", "a", "rating", None),
        ("bob", "b", "rating", None), ("ann", "c", "rating", None),
        ("ann", "b", "watch", None), ("zoe", "b", "highlight", 0),  # the root has ratings
        ("ann", "a", "frame_like", 1000), ("ann", "a", "frame_like", 1999), ("bob", "a", "frame_like", 2000),
        ("bob", "a", "frame_like", 3999),  # the last frame stands as long as the one before
        ("bob", "a", "frame_like", 4000), ("ann", "a", "frame_like", 500),  # after the last, and before the first
        ("bob", "b", "frame_like", 1000), ("bob", "b", "frame_like", 2000),  # nothing could be decoded there
        ("ann", "c", "frame_like", 0), ("zoe", "a", "frame_like", 1000), ("ann", "z", "frame_like", 0),
    )  # fmt: skip
    blocks = [block("a", [1000, 2000, 3000]), block("b", [0, 1000, 2000], [True, False, True]), block("z", [0])]
    data = jifr_data.load(root_of(tmp_path, rows, blocks), frames="test-fc")
    assert (data.users, data.items) == (["ann", "bob"], ["a", "b", "c"])
    assert list(zip(data.user, data.item, strict=True)) == [(0, 0), (0, 2), (1, 0), (1, 1)]
    assert data.frame_start.tolist() == [0, 3, 5, 5]
    assert [v.tolist() for v in data.vectors(np.array([1, 2, 0]))] == [[[98, 0], [98, 2]], [[97, 1], [97, 2], [97, 3]]]
    assert liked(data) == [("ann", "a", 1), ("bob", "a", 2), ("bob", "a", 3), ("bob", "b", 2)]
    assert asdict(data.counts) == {
        "rating_events": 5, "ratings_repeated": 1, "items_without_frames": 1, "frames": 5, "frames_without_data": 1,
        "frames_not_finite": 0, "frame_likes": 4, "frame_likes_from_labels": 0, "frame_likes_of_strangers": 2,
        "frame_likes_off_frame": 4, "frame_likes_repeated": 1,
        "ratings_that_say_no": 0,
    }  # fmt: skip
    assert data.stores == {"frames": SPEC.name}
    spread = data.spread(np.array([0, 2]))
    np.testing.assert_allclose(spread.mean, [97, 2])
    assert spread.rms == pytest.approx((2 / 3) ** 0.5)


@pytest.mark.parametrize("rows", ["window", "segment"])
def test_a_root_without_ratings_and_likes_of_frames(tmp_path: Path, rows: str) -> None:
    """Highlights and views are ratings then, and labels are likes of the frames that start in their segment."""
    spec = Spec(extractor="test", layer="fc", dim=2, rows=rows)  # type: ignore[arg-type]
    times, length = ([0, 2000, 5000, 9000], 40) if rows == "window" else ([0, 5000], 5000)
    said = events(("ann", "a", "highlight", 100), ("ann", "a", "highlight", 7000), ("bob", "a", "watch", None),
                  ("bob", "b", "post", None))  # fmt: skip
    root = root_of(tmp_path, said, [block("a", times, length=length)], spec)
    labels = [("ann", "a", 1), ("bob", "a", 0), ("bob", "a", 7), ("zoe", "a", 0)]
    Tables(root).write(
        "labels", [{"user_id": u, "video_id": i, "segment_index": s, "covered_ms": 5000} for u, i, s in labels]
    )
    grid = [{"video_id": "a", "segment_index": s, "start_ms": 5000 * s, "stop_ms": 5000 * s + 5000,
             "duration_source": "measured"} for s in range(2)]  # fmt: skip
    Tables(root).write("segments", grid)
    data = jifr_data.load(root, frames="test-fc")
    assert (data.users, data.items, len(data.user)) == (["ann", "bob"], ["a"], 2)
    expected = {"window": [("ann", 5), ("ann", 9), ("bob", 0), ("bob", 2)], "segment": [("ann", 5), ("bob", 0)]}
    assert liked(data) == [(user, "a", second) for user, second in expected[rows]]
    counts = data.counts
    assert (counts.rating_events, counts.ratings_repeated, counts.frame_likes_from_labels) == (3, 1, 1)
    assert (counts.frame_likes_of_strangers, counts.frame_likes_off_frame) == (1, 1)


def test_everything_that_is_read_is_in_the_fingerprint(tmp_path: Path) -> None:
    said = [("ann", "a", "rating", None), ("bob", "a", "rating", None), ("bob", "a", "frame_like", 0)]
    frames = [block("a", [0, 1000])]

    def load(name: str, rows: list[tuple[str, str, str, int | None]], blocks: list[Block]) -> Ratings:
        return jifr_data.load(root_of(tmp_path / name, events(*rows), blocks), frames="test-fc")

    base = load("base", said, frames)
    assert load("same", said, frames).fingerprint == base.fingerprint
    other = [
        load("rating", [*said, ("ann", "b", "rating", None)], frames),
        load("like", [*said[:2], ("bob", "a", "frame_like", 1000)], frames),
        load("user", [*said[:1], ("cid", "a", "rating", None), ("cid", "a", "frame_like", 0)], frames),
        load("vector", said, [replace(frames[0], features=frames[0].features * 2)]),
        load("frame", said, [block("a", [0, 1000, 2000])]),
    ]
    assert len({data.fingerprint for data in [base, *other]}) == 6


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("whole videos", "has one row a video; this model reads frames"),
        ("no ratings", "no event of kind rating, highlight or watch"),
        ("no frames", "holds no usable frame of a rated item"),
        ("constant", "are constant: every frame has one vector"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, what: str, message: str) -> None:
    rows, blocks, spec = [("ann", "a", "rating", None)], [block("a", [0, 1000])], SPEC
    match what:
        case "whole videos":
            spec, blocks = Spec(extractor="test", layer="fc", dim=2, rows="video"), [block("a", [0])]
        case "no ratings":
            rows = [("ann", "a", "post", None)]
        case "no frames":
            blocks = [block("a", [0], [False]), block("z", [0])]
        case "constant":
            blocks = [replace(blocks[0], features=np.ones((2, 2), np.float32))]
    root = root_of(tmp_path, events(*rows), blocks, spec)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        jifr_data.load(root, frames="test-fc")


# ---- split and cases ----


def grid(tmp_path: Path, users: int, items: int, missing: Sequence[tuple[int, int]] = ()) -> Ratings:
    """Everyone rated everything but what is missing; each item has three frames."""
    pairs = [(u, i) for u in range(users) for i in range(items) if (u, i) not in missing]
    rows = events(*((f"u{u:02d}", f"{chr(97 + i)}", "rating", None) for u, i in pairs))
    blocks = [block(chr(97 + i), [0, 1000, 2000]) for i in range(items)]
    return jifr_data.load(root_of(tmp_path, rows, blocks), frames="test-fc")


def test_rare_users_and_items_fall_away_until_none_is_left(tmp_path: Path) -> None:
    """Item f has ratings of two users only; without it they have too few."""
    missing = [(u, 5) for u in range(6)] + [(u, i) for u in (6, 7) for i in (0, 1)]
    data = grid(tmp_path, 8, 6, missing)
    split = by_pair(data, np.random.default_rng(0), 4, 0.1, 0.2)
    assert [data.items[i] for i in split.items] == list("abcde")
    assert split.users.tolist() == list(range(6))
    assert split.counts["users_with_few_ratings"] == 2
    assert split.counts["items_with_few_ratings"] == 1
    assert split.counts["ratings_of_these"] == 8
    assert [len(part[0]) for part in (split.train, split.validation, split.test)] == [21, 3, 6]
    with pytest.raises(InputError, match="no users and items with 9 ratings"):
        by_pair(data, np.random.default_rng(0), 9, 0.1, 0.2)


def test_the_parts_are_disjoint_complete_and_known_to_training(small: tuple[Path, dict[str, str]]) -> None:
    data = jifr_data.load(small[0], **small[1])
    split = by_pair(data, np.random.default_rng(3), 1, 0.2, 0.6)
    pairs = [
        [*zip(split.users[user].tolist(), split.items[item].tolist(), strict=True)]
        for user, item in (split.train, split.validation, split.test)
    ]
    every = [pair for part in pairs for pair in part]
    assert len(set(every)) == len(every)
    lost = split.counts["validation_ratings_of_unseen"] + split.counts["test_ratings_of_unseen"]
    assert len(every) + lost == len(data.user)
    assert lost > 0
    assert {user for user, _ in pairs[0]} == set(split.users.tolist())
    assert {item for _, item in pairs[0]} == set(split.items.tolist())
    assert split.counts["users_without_training"] + len(split.users) == len(data.users)
    again = by_pair(data, np.random.default_rng(3), 1, 0.2, 0.6)
    assert all(np.array_equal(a, b) for a, b in zip(split.test, again.test, strict=True))


@pytest.mark.parametrize("count", [1, 3, 5, 100])
def test_items_are_drawn_among_unrated_ones(count: int) -> None:
    user, item = np.array([2, 0, 0, 1, 1, 1, 1]), np.array([3, 1, 4, 0, 1, 2, 3])
    rated, positive = Lists(user, item, 3), Lists(np.array([0, 1, 1]), np.array([4, 0, 2]), 3)
    rng, seen = np.random.default_rng(0), [set[int](), set[int]()]
    for _ in range(60):
        cases = among_unrated(np.array([1, 0]), positive, rated, 6, count, rng)
        for case, (mine, free) in enumerate([({0, 2}, {4, 5}), ({4}, {0, 2, 3, 5})]):
            here = slice(*cases.start[case : case + 2])
            chosen = cases.item[here][~cases.relevant[here]].tolist()
            assert set(cases.item[here][cases.relevant[here]].tolist()) == mine
            assert len(chosen) == len(set(chosen)) == min(count, len(free))
            assert set(chosen) <= free
            seen[case] |= set(chosen)
    assert seen == [{4, 5}, {0, 2, 3, 5}]
    scores = np.arange(12.0).reshape(2, 6)
    assert cases.gather(scores).tolist() == [6.0 * (t >= cases.start[1]) + i for t, i in enumerate(cases.item)]


def test_frames_are_ranked_for_liked_pairs_of_the_test_only(small: tuple[Path, dict[str, str]]) -> None:
    data = jifr_data.load(small[0], **small[1])
    split = by_pair(data, np.random.default_rng(1), 5, 0.1, 0.2)
    cases = frame_cases(data, split)
    tested = {*zip(split.test[0].tolist(), split.test[1].tolist(), strict=True)}
    framed = {pair for pair in tested if data.frame_count[split.items[pair[1]]]}
    assert {*zip(cases.user.tolist(), cases.video.tolist(), strict=True)} == framed != tested
    assert (np.diff(cases.start) == SMALL_WORLD.frames).all()
    likes = {*zip(data.like_user.tolist(), data.like_frame.tolist(), strict=True)}
    user = np.repeat(split.users[cases.user], SMALL_WORLD.frames)
    pairs = zip(user.tolist(), cases.segment.tolist(), strict=True)
    assert [pair in likes for pair in pairs] == cases.relevant.tolist()
    item = np.repeat(split.items[cases.video], SMALL_WORLD.frames)
    assert ((data.frame_start[item] <= cases.segment) & (cases.segment < data.frame_start[item + 1])).all()


def test_nobody_has_a_negative(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every test user has rated all 6 items"):
        JIFRTask(grid(tmp_path, 8, 6), SMALL, CPU)


# ---- protocol ----


def test_the_standardised_frames_are_centred_and_the_raw_ones_scored(small: tuple[Path, dict[str, str]]) -> None:
    data = jifr_data.load(small[0], **small[1])
    task = JIFRTask(data, SMALL, CPU)
    assert task.resident is not None
    frames = task.resident.features
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-5)
    assert float(frames.square().sum(1).mean()) == pytest.approx(1, rel=1e-5)
    scaled = JIFRTask(data, replace(SMALL, standardise="scale"), CPU)
    assert scaled.resident is not None
    assert float(scaled.resident.features.square().sum(1).mean()) == pytest.approx(1, rel=1e-5)
    assert float(scaled.mean.abs().max()) == 0
    model = task.model(torch.Generator().manual_seed(0))
    got = jifr_task.JIFRScores(task, model).frames(task.frame_test)
    rows, user = task.frame_test.segment[:12], task.frame_test.user[:1]
    raw = np.concatenate(list(data.vectors(np.arange(len(data.items)))))[rows]
    expected = model.score_frames(torch.from_numpy(user), torch.from_numpy(raw))
    np.testing.assert_allclose(got[:12], expected, rtol=1e-4, atol=1e-6)


def test_frames_that_do_not_fit_the_device_come_from_the_store(
    small: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One epoch, the validation and the tests give the same numbers either way."""
    data = jifr_data.load(small[0], **small[1])
    results = []
    for fits in (True, False):
        monkeypatch.setattr(JIFRTask, "_fits", lambda _, fits=fits: fits)
        task = JIFRTask(data, SMALL, CPU)
        assert (task.resident is not None) == fits
        model = task.model(torch.Generator().manual_seed(0))
        losses = [model.loss(batch)["loss"].item() for batch in task.batches(torch.Generator().manual_seed(1))]
        results.append((losses, task.validate(model), task.evaluate(model)))
    assert results[0] == results[1]


def test_batches_hold_each_positive_once_and_no_own_item(small: tuple[Path, dict[str, str]]) -> None:
    task = JIFRTask(jifr_data.load(small[0], **small[1]), SMALL, CPU)
    own = {*zip(*(numbers.tolist() for numbers in task.split.train), strict=True)}
    seen = []
    for batch in task.batches(torch.Generator().manual_seed(0)):
        item = batch.item.numpy()
        seen += [*zip(batch.user.tolist(), item[batch.positive].tolist(), strict=True)]
        for user, negatives in zip(batch.user.tolist(), item[batch.negative].tolist(), strict=True):
            assert not {(user, j) for j in negatives} & own
    assert len(seen) == len(own) == task.counts["train_ratings"]
    assert set(seen) == own


def test_repeats_are_averaged_and_enough_negatives_need_none(small: tuple[Path, dict[str, str]]) -> None:
    """With all unrated items as negatives the random row is chance, exactly."""
    data = jifr_data.load(small[0], **small[1])
    task = JIFRTask(data, replace(SMALL, test_negatives=1000), CPU)
    model = task.model(torch.Generator().manual_seed(0))
    rows = {(r["row"], r["metric"]): r for r in task.evaluate(model)["rows"]}
    known = task.lists("train", "validation", "test").count[task.test_users]
    relevant = task.lists("test").count[task.test_users]
    candidates = task.n - known + relevant
    hits = np.minimum(5, candidates) * relevant / candidates / np.minimum(5, relevant)
    assert rows["random", "item_hr@5"]["mean"] == pytest.approx(float(hits.mean()))
    assert rows["random", "frame_hr@1"]["mean"] == pytest.approx(2 / 12)
    assert {name for name, metric in rows if metric == "item_hr@5"} == {"random", "most popular", "jifr"}
    assert {name for name, metric in rows if metric == "frame_hr@5"} == {
        "random", "smooth random", "early first", "jifr",
    }  # fmt: skip
    assert {r["cases"] for (_, metric), r in rows.items() if metric.startswith("item")} == {len(task.test_users)}
    assert {r["cases"] for (_, metric), r in rows.items() if metric.startswith("frame")} == {len(task.frame_test)}


# ---- does it learn, and only what is there ----

QUICK = replace(SETTINGS, epochs=40, patience=6)
KNOBS: dict[str, dict[str, object]] = {
    "on": {"telling": 0.5},
    "visual off": {"telling": 1.0},
    "rating off": {"telling": 0.5, "spread": 0.0},
    "noise": {"noise_twin": True},
}
"""At telling ¼ rating attention shows no gain that holds over seeds (`benchmarks.worlds_jifr`): nothing is claimed."""
Fit = Callable[[str, str, int], FitResult]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """(knob, model, seed) → a fit in that world; each world is written once, each fit made once."""
    roots: dict[tuple[str, int], tuple[Path, dict[str, str]]] = {}

    def fitted(knob: str, name: str, seed: int) -> FitResult:
        if (knob, seed) not in roots:
            root = tmp_path_factory.mktemp("world")
            roots[knob, seed] = root, write(root, World(seed=seed, **KNOBS[knob]))  # type: ignore[arg-type]
        return train(
            *roots[knob, seed], replace(QUICK, seed=seed, **MODELS[name]), model="jifr", pictures=False, device="cpu"
        )

    return fitted


def gain(fit: Fit, knob: str, without: str, metric: str, seeds: Sequence[int]) -> float:
    """Mean over seeds of the full model less the one without a component."""
    both = [[figures(fit(knob, name, seed), metric)["mean"] for seed in seeds] for name in (FULL, without)]
    return float(np.mean(both[0]) - np.mean(both[1]))


def test_it_beats_the_floors_clearly(fit: Fit) -> None:
    result = fit("on", FULL, 1)
    assert figures(result, "item_ndcg@15")["low"] > 2 * figures(result, "item_ndcg@15", "most popular")["high"]
    assert figures(result, "item_hr@15")["minus_random_low"] > 0.2
    floor = max(figures(result, "frame_ndcg@3", row)["high"] for row in ("smooth random", "early first"))
    assert figures(result, "frame_ndcg@3")["low"] > 2 * floor
    assert figures(result, "frame_hr@1")["minus_random_low"] > 0.3
    assert [row["metric"] for row in result.metrics["rows"][:3]] == ["item_hr@15"] * 3


def test_the_true_latents_are_the_ceiling(fit: Fit, tmp_path: Path) -> None:
    world = World(seed=1, **KNOBS["on"])  # type: ignore[arg-type]
    item, frame = true_figures(tmp_path, write(tmp_path, world), world, replace(QUICK, seed=1))
    assert item > figures(fit("on", FULL, 1), "item_ndcg@15")["high"]
    assert frame == pytest.approx(1)


def test_it_stays_at_chance_on_the_noise_twin(fit: Fit) -> None:
    for metric in ("item_ndcg@15", "item_hr@50", "frame_ndcg@3", "frame_hr@1"):
        row = figures(fit("noise", FULL, 1), metric)
        assert row["minus_random_low"] < 0 < row["minus_random_high"], row


def test_visual_attention_helps_where_half_of_the_frames_tell_and_not_where_all_do(fit: Fit) -> None:
    for metric, margin in (("item_ndcg@15", 0.02), ("frame_ndcg@3", 0.025)):
        assert gain(fit, "on", "rating only", metric, (1, 2)) > margin
        assert gain(fit, "visual off", "rating only", metric, (1,)) < margin


def test_rating_attention_helps_where_items_differ_and_not_where_all_are_blended_alike(fit: Fit) -> None:
    """Where the knob is off it costs the ranking of items much: β memorises."""
    assert gain(fit, "on", "visual only", "frame_ndcg@3", (1, 2)) > 0.01
    assert gain(fit, "rating off", "visual only", "frame_ndcg@3", (1,)) < 0.01
    assert gain(fit, "rating off", "visual only", "item_ndcg@15", (1,)) < -0.03
    assert gain(fit, "on", "visual only", "item_ndcg@15", (1, 2)) > -0.02


# ---- runs ----


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(
    small: tuple[Path, dict[str, str]], tmp_path: Path, killed_after: int
) -> None:
    unbroken = train(*small, SMALL, model="jifr", pictures=False)
    stores = write(tmp_path, SMALL_WORLD)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stores, SMALL, model="jifr", pictures=False, on_epoch=kill, save_every_s=0)
    seen: list[int] = []
    resumed = train(tmp_path, stores, SMALL, model="jifr", pictures=False, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == list(range(killed_after + 1, 5))
    assert resumed.folder.name == unbroken.folder.name
    assert resumed.metrics["rows"] == unbroken.metrics["rows"]
    first, second = (runs.load(result.folder).model.state_dict() for result in (unbroken, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_checkpoint_rebuilds_its_model(small: tuple[Path, dict[str, str]]) -> None:
    """The rebuilt model scores items and frames without a store, and gives the very tables of metrics.json."""
    result = train(*small, SMALL, model="jifr", pictures=False)
    fitted = runs.load(result.folder)
    data = jifr_data.load(small[0], **small[1])
    task = JIFRTask(data, SMALL, CPU)
    users, items = torch.arange(3)[:, None], torch.arange(task.n)
    scores, raw = fitted.model.score(users, items), torch.from_numpy(next(data.vectors(task.split.items)))
    frames = fitted.model.score_frames(users, raw)
    assert task.evaluate(fitted.model)["rows"] == result.metrics["rows"]
    assert torch.equal(scores, fitted.model.score(users, items))  # settling again changed nothing
    assert float(scores.std()) > 0
    assert float(frames.std()) > 0
    assert fitted.identities == task.identities()
    assert fitted.row("items", fitted.identities["items"][7]) == 7
    assert fitted.stores == {"frames": small[1]["frames"]}
    (account,) = data.accounts
    assert result.counts == task.counts | account.counts()
    assert train(*small, SMALL, model="jifr", pictures=False).skipped


def test_without_validation_or_likes_it_fits_all_the_same(tmp_path: Path) -> None:
    data = grid(tmp_path, 9, 9, [(u, (u + k) % 9) for u in range(9) for k in (0, 3)])
    assert data.counts.frame_likes == 0
    result = train(tmp_path, "test-fc", replace(SMALL, validation_share=0.0, batch=10), model="jifr", pictures=False)
    assert result.metrics["fit"]["watch"] is None
    assert {row["metric"].split("_")[0] for row in result.metrics["rows"]} == {"item"}
    assert result.counts["frame_pairs"] == 0
