"""Watches, posts and contents out of a root; the split; the figures of lists. Against plain loops."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.metrics import evaluate
from reelmill.models.protocols.next_videos import data as drnn_data
from reelmill.models.protocols.next_videos.cases import Split, by_user, f_score, of_lists, of_scores
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import MONTH_MS
from reelmill.models.registry import stores_of
from reelmill.storage import FeatureWriter, Spec, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, PADDED, VALID, Block

DAY = datetime(2025, 3, 1, tzinfo=UTC)
NOTHING = dict.fromkeys(("frames", "clips", "text", "topics", "posts"), "")


def event(user: str, video: str, day: float | None, kind: str = "watch") -> dict[str, Any]:
    return {
        "user_id": user,
        "video_id": video,
        "kind": kind,
        "time": None if day is None else DAY + timedelta(days=day),
    }


def tables(root: Path, events: list[dict[str, Any]]) -> None:
    Tables(root).write("events", [{"source": "test", "source_row": i, **e} for i, e in enumerate(events)])


def store(
    root: Path, name: str, rows: Any, of: dict[str, np.ndarray], masks: dict[str, list[int]] | None = None
) -> str:
    """A store of these vectors {video or user: (rows, dim)}; row i stands at i seconds."""
    spec = Spec(name, "fc", next(iter(of.values())).shape[1], rows)
    with FeatureWriter(root, spec) as writer:
        for key, vectors in of.items():
            mask = np.array((masks or {}).get(key, [VALID] * len(vectors)), np.uint8)
            vectors = np.where(mask[:, None] == NO_DATA, np.nan, vectors).astype(np.float32)
            index = np.arange(len(mask), dtype=np.int32)
            start = index.astype(np.int64) * 1000
            writer.add(Block(key, vectors, mask, index, start, start + 1000))
    return spec.name


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Three videos that were watched, and one that was not."""
    rng = np.random.default_rng(0)
    tables(tmp_path, [
        event("b", "v2", 5), event("b", "v1", 3), event("b", "v2", 1), event("a", "v3", 2, "rating"),
        event("a", "v1", 2, "highlight"), event("a", "v2", None), event("c", "v4", None), event("d", "", 1, "post"),
        event("a", "", 1, "post"), event("a", "", 2, "post"), event("a", "", 3, "post"), event("a", "", None, "post"),
        event("b", "", 1, "post"),
    ])  # fmt: skip
    of = {f"v{i}": rng.normal(size=(2 + i, 3)) for i in (1, 2, 4)}
    stores = {
        "frames": store(tmp_path, "frames", "window", of, {"v1": [VALID, NO_DATA, PADDED], "v2": [NO_DATA] * 4}),
        "clips": store(tmp_path, "clips", "segment", {"v2": np.ones((1, 2))}),
        "text": store(tmp_path, "text", "video", {"v1": np.ones((1, 4)), "v2": np.zeros((1, 4))}, {"v2": [NO_DATA]}),
        "topics": store(tmp_path, "topics", "video", {"v1": np.full((1, 2), 0.5), "v3": np.array([[1.0, 0.0]])}),
        "posts": store(
            tmp_path, "posts", "post", {"a": np.eye(5)[[4, 1]], "d": np.eye(5)[[0]]}, {"a": [NO_DATA, VALID]}
        ),
    }
    return tmp_path, stores


def test_first_watches_means_and_topics_and_all_that_is_left_out_is_counted(small: tuple[Path, dict[str, str]]) -> None:
    root, stores = small
    data = drnn_data.load(root, **stores)
    assert (data.users, data.videos) == (["a", "b"], ["v1", "v2", "v3"])
    watches = zip(data.watch_user.tolist(), data.watch_video.tolist(), data.watch_ms.tolist(), strict=True)
    day = round(DAY.timestamp() * 1000), 24 * 3_600_000
    assert list(watches) == [(u, v, day[0] + d * day[1]) for u, v, d in [(0, 0, 2), (0, 2, 2), (1, 1, 1), (1, 0, 3)]]
    frames = open_store(root, stores["frames"]).read("v1").features
    np.testing.assert_allclose(data.pictures["frames"][0], (frames[0] + frames[2]) / 2, rtol=1e-6)
    assert np.isnan(data.pictures["frames"][1:]).all()
    assert data.pictures["clips"].tolist()[1] == [1, 1]
    assert np.isnan(data.text[1:]).all()
    assert data.mixture.tolist() == [[0.5, 0.5], [0, 0], [1, 0]]
    assert (data.post_user.tolist(), data.post_topic.tolist(), data.post_ms.tolist()) == ([0], [1], [1000])
    assert data.post_topics == 5
    assert data.stores == stores
    assert asdict(data.counts) == {
        "watch_events": 7, "watches_undated": 2, "watches_repeated": 1, "watches": 4, "videos_without_picture": 1,
        "videos_without_frames": 2, "videos_without_clips": 2, "videos_without_text": 2, "videos_without_topics": 1,
        "rows_not_finite": 0, "posts": 1, "posts_without_topic": 1, "posts_not_in_store": 2, "posts_of_strangers": 1,
        "posts_undated": 1, "users_without_posts": 1, "users_without_watches": 2,
        "ratings_that_say_no": 0,
    }  # fmt: skip


def test_roles_can_be_left_out_by_name_alone(small: tuple[Path, dict[str, str]]) -> None:
    root, stores = small
    assert stores_of("drnn", {"frames": "", "text": "a"}) == {
        "frames": "", "clips": "c3d-fc6", "text": "a", "topics": "topics", "posts": "",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"transgrec needs a store for 'features' \(by default 'c3d-fc6'\); none can"):
        stores_of("transgrec", "")
    data = drnn_data.load(root, **NOTHING | {"text": stores["text"]})
    assert (data.pictures, data.mixture.shape, data.post_topics, len(data.post_user)) == ({}, (3, 0), 0, 0)
    assert data.stores == {"text": stores["text"]}
    assert data.counts.videos_without_picture == 3
    data = drnn_data.load(root, **NOTHING | {"clips": stores["clips"]})
    assert np.isnan(data.text).all()
    data = drnn_data.load(root, **NOTHING | {"topics": stores["topics"]})
    with pytest.raises(InputError, match="nothing is known of the videos"):
        DRNNTask(data, DRNNSettings(), torch.device("cpu"))
    with pytest.raises(InputError, match="no store 'vgg19'"):
        drnn_data.load(root, **NOTHING | {"frames": "vgg19"})


def test_stores_of_the_wrong_kind_are_refused(small: tuple[Path, dict[str, str]]) -> None:
    root, stores = small
    for role, wrong, kind in (("frames", "posts", "post"), ("text", "frames", "window"), ("posts", "text", "video")):
        with pytest.raises(InputError, match=f"one row a {kind}; '{role}' needs one row a"):
            drnn_data.load(root, **stores | {role: stores[wrong]})
    with pytest.raises(InputError, match="no mixtures of topics"):
        drnn_data.load(root, **stores | {"topics": stores["text"]})
    other = store(root, "elsewhere", "video", {"w": np.ones((1, 3))})
    with pytest.raises(InputError, match=r"holds no usable row of a watched video.*leave out 'text'"):
        drnn_data.load(root, **stores | {"text": other})


def test_values_that_are_not_finite_are_counted(
    small: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, stores = small
    monkeypatch.setattr(Block, "check", lambda self, spec: None)
    opened = open_store(root, stores["frames"])
    block = opened.read("v1")
    block.features[2] = np.inf
    with FeatureWriter(root, opened.spec) as writer:
        writer.add(block)
    data = drnn_data.load(root, **stores)
    assert data.counts.rows_not_finite == 1
    np.testing.assert_array_equal(data.pictures["frames"][0], block.features[0])


def test_watches_need_a_time(tmp_path: Path) -> None:
    tables(tmp_path, [event("a", "v1", None), event("a", "", 1, "post")])
    name = store(tmp_path, "text", "video", {"v1": np.ones((1, 4))})
    with pytest.raises(InputError, match=r"no event of kind watch, rating, highlight with a time \(1 without one\)"):
        drnn_data.load(tmp_path, **NOTHING | {"text": name})


def test_the_fingerprint_sees_deeds_and_contents(small: tuple[Path, dict[str, str]]) -> None:
    root, stores = small
    found = {drnn_data.load(root, **stores).fingerprint for _ in range(2)}
    found.add(drnn_data.load(root, **stores | {"posts": ""}).fingerprint)
    opened = open_store(root, stores["posts"])
    block = opened.read("a")
    with FeatureWriter(root, opened.spec) as writer:
        writer.add(replace(block, start_ms=block.start_ms + 1, stop_ms=block.stop_ms + 1))
    found.add(drnn_data.load(root, **stores).fingerprint)
    events = Tables(root).read("events").to_pylist()
    Tables(root).write("events", [{**e, "source_row": i} for i, e in enumerate(events) if i != 1])
    found.add(drnn_data.load(root, **stores).fingerprint)
    assert len(found) == 4


# ---- the split ----


def made(users: int = 40, videos: int = 12, seed: int = 0) -> Histories:
    """User 0 has watched one video, video 0 was watched by user 1 alone; days 0 to 400."""
    rng = np.random.default_rng(seed)
    pairs = [(0, 1)] + [(u, v) for u in range(1, users) for v in range(1, videos) if rng.random() < 0.6] + [(1, 0)]
    user, video = np.array(sorted(pairs)).T
    ms = (rng.uniform(0, 400, len(user)) * 24 * 3_600_000).astype(np.int64)
    posts = np.sort(rng.integers(2, users, size=200))
    return Histories(
        [f"u{u}" for u in range(users)], [f"v{v}" for v in range(videos)], user, video, ms, posts,
        rng.integers(3, size=200), rng.integers(400, size=200) * 24 * 3_600_000, {}, np.zeros((videos, 1), np.float32),
        np.zeros((videos, 0), np.float32), 3, {}, None, "", (),  # type: ignore[arg-type]
    )  # fmt: skip


def divided(data: Histories, **changes: Any) -> Split:
    settings = {"least_videos": 2, "least_watchers": 2, "least_posts": 0, **changes}
    return by_user(data, DRNNSettings(**settings), np.random.default_rng(0))


def test_users_are_divided_and_every_deed_is_of_one_of_them() -> None:
    data = made()
    split = divided(data)
    assert len(set(split.users.tolist())) == len(split.users) == 39
    assert (split.train, split.validation, split.counts["test_users"]) == (28, 3, 8)
    assert split.videos.tolist() == list(range(1, 12))
    expected = {
        (u, v, t)
        for u, v, t in zip(data.watch_user.tolist(), data.watch_video.tolist(), data.watch_ms.tolist(), strict=True)
        if u != 0 and v != 0
    }
    user, video, ms = split.watched
    assert set(zip(split.users[user].tolist(), split.videos[video].tolist(), ms.tolist(), strict=True)) == expected
    assert len(user) == len(expected)
    assert (split.counts["users_with_few_videos"], split.counts["videos_with_few_watchers"]) == (1, 1)
    assert split.counts["watches_of_these_users_and_videos"] == 2
    writer, topic, _ = split.posted
    assert split.counts["posts_used"] == len(writer) == 200
    assert np.array_equal(np.bincount(split.users[writer], minlength=40), np.bincount(data.post_user, minlength=40))
    assert np.array_equal(np.bincount(topic), np.bincount(data.post_topic))
    assert len({tuple(divided(made(), seed=0).users), tuple(split.users)}) == 1


def test_moments_are_months_before_the_end() -> None:
    data = made()
    last = int(data.watch_ms[data.watch_video > 0].max())
    split = divided(data, sessions=4, known_months=3)
    assert split.moments.tolist() == [int(data.watch_ms.max()) + 1 - k * MONTH_MS for k in (3, 2, 1)]
    split = divided(data, sessions=4, known_months=3, end="1970-12-27")  # day 360
    assert split.moments[-1] == 360 * 24 * 3_600_000 - MONTH_MS
    assert split.watched[2].max() < 360 * 24 * 3_600_000 <= last
    assert split.counts["watches_after_end"] == int((data.watch_ms >= 360 * 24 * 3_600_000).sum()) > 0
    assert split.counts["posts_after_end"] > 0


def test_the_cross_network_needs_posts_of_each_user() -> None:
    data = made()
    many = np.bincount(data.post_user, minlength=40) >= 4
    split = divided(data, network="cross", least_posts=4)
    assert set(split.users.tolist()) <= set(np.flatnonzero(many).tolist())
    assert split.counts["users_with_few_posts"] == 39 - int((many & (np.arange(40) > 0)).sum())
    assert divided(data, network="both", least_posts=4).counts["users_with_few_posts"] == 0
    assert divided(data, network="cross", least_posts=4, variant="rnn").counts["users_with_few_posts"] == 0


def test_a_split_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"no users with 100 videos.*the most of a user is \d+ videos"):
        divided(made(), least_videos=100)
    with pytest.raises(InputError, match="no users with 2 videos that 1000 of them share"):
        divided(made(), least_watchers=1000)
    with pytest.raises(InputError, match="leave 39 to train and 0 to test"):
        divided(made(), test_share=0.0, validation_share=0.0)


# ---- figures ----


@pytest.mark.parametrize(("users", "videos", "length"), [(5, 9, 3), (1, 2, 1), (8, 30, 5), (3, 4, 6)])
def test_precision_and_recall_of_lists(users: int, videos: int, length: int) -> None:
    rng = np.random.default_rng(videos)
    truth = rng.random((users, videos)) < 0.4
    truth[:, 0] = True
    given = min(videos, length)
    lists = np.argsort(rng.random((users, videos)), axis=1)[:, :given]
    lists = np.pad(lists, ((0, 0), (0, length - given)), constant_values=-1)
    if length > 1:
        lists[0, -1] = -1
    for row, (precision, recall) in enumerate(of_lists(lists, truth).tolist()):
        hits = sum(bool(truth[row, v]) for v in lists[row] if v >= 0)
        assert precision == pytest.approx(hits / length)
        assert recall == pytest.approx(hits / truth[row].sum())


def test_rankings_leave_out_what_is_closed_and_count_ties_by_expectation() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(4, size=(6, 15)).astype(float), rng.random((6, 15)) < 0.3
    closed = (rng.random((6, 15)) < 0.3) & ~truth
    truth[:, 3], closed[:, 3] = True, False
    drawn = []
    for _ in range(4000):
        shaken = np.where(closed, -np.inf, scores + 0.5 * rng.random(scores.shape))
        drawn.append(of_lists(np.argsort(-shaken, axis=1)[:, :5], truth))
    found = of_scores(scores, truth, closed, 5)
    np.testing.assert_allclose(found, np.mean(drawn, axis=0), atol=0.02)
    chance = of_scores(np.zeros((6, 15)), truth, closed, 5)
    np.testing.assert_allclose(chance[:, 1], 5 / (~closed).sum(axis=1))
    np.testing.assert_allclose(chance[:, 0], truth.sum(axis=1) / (~closed).sum(axis=1))


def test_f_is_of_the_averages_and_its_interval_is_paired() -> None:
    """The paper's Table 1: P .0296 and R .0399 give .0340."""
    assert f_score(np.array([0.0296, 0.0399])) == pytest.approx(0.0340, abs=5e-5)
    assert f_score(np.zeros((2, 2))).tolist() == [0, 0]
    rng = np.random.default_rng(0)
    values = {"random": rng.random((50, 2)) / 4, "drnn": rng.random((50, 2))}
    rows = evaluate.rows(values, ["precision@5", "recall@5"], 3, {"f@5": f_score})
    assert [(row["row"], row["metric"]) for row in rows] == [
        (name, metric) for name in values for metric in ("precision@5", "recall@5", "f@5")
    ]
    by = {(row["row"], row["metric"]): row for row in rows}
    share = np.random.default_rng(3).multinomial(50, np.full(50, 1 / 50), size=2000) / 50
    drawn = {}
    for name, of in values.items():
        p, r = share @ of[:, 0], share @ of[:, 1]
        drawn[name] = 2 * p * r / (p + r)
        p, r = of.mean(axis=0)
        row = by[name, "f@5"]
        assert row["mean"] == pytest.approx(2 * p * r / (p + r))
        assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn[name], [0.025, 0.975])))
    both = np.quantile(drawn["drnn"] - drawn["random"], [0.025, 0.975])
    row = by["drnn", "f@5"]
    assert (row["minus_random_low"], row["minus_random_high"]) == pytest.approx(tuple(both))
    assert row["minus_random"] == pytest.approx(row["mean"] - by["random", "f@5"]["mean"])
    assert by["random", "f@5"]["minus_random"] == 0
