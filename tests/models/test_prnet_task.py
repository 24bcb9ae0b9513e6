"""PR-Net from a root to a fitted model: steps, labels, histories, batches, tables; and what it finds of what was
planted. The equations are tested in test_prnet."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import runs
from reelmill.models.data.cases import Cases
from reelmill.models.fit import FitResult, train
from reelmill.models.metrics.ranking import highlight_ap, rank
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.prnet.task import PRNetTask
from reelmill.models.prnet.world import World, write
from reelmill.models.protocols.highlights import data as prnet_data
from reelmill.models.protocols.highlights.cases import Past, Pooled, measured, step_cases
from reelmill.models.protocols.highlights.cells import Cells
from reelmill.models.protocols.highlights.data import Highlights
from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, VALID, Block, FeatureStore
from tests.benchmarks.worlds_prnet import QUICK, fit

CPU = torch.device("cpu")
BASE = World(users=160, equal=3, misses=3, annotated=1.0)
"""Three interests a user; nothing else is planted."""
NULL = replace(BASE, interests=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: a second thread costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("prnet")
    return root, write(root, BASE)


@pytest.fixture(scope="module")
def data(world: tuple[Path, dict[str, str]]) -> Highlights:
    return prnet_data.load(world[0], **world[1])


@pytest.fixture(scope="module")
def fitted(world: tuple[Path, dict[str, str]]) -> FitResult:
    return train(*world, quick(), model="prnet", pictures=False, device="cpu")


def quick(**changes: object) -> PRNetSettings:
    return PRNetSettings.from_dict({**QUICK, **changes})


def figures(result: FitResult, row: str, metric: str) -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == row and r["metric"] == metric)


def gain(values: dict[str, np.ndarray], row: str) -> float:
    return float((values["full"] - values[row]).mean())


# ---- what was planted ----


def test_it_beats_the_floors_clearly(fitted: FitResult) -> None:
    for metric, least in (("highlight_ap", 0.15), ("map", 0.15), ("ndcg@5", 0.2), ("highlight_ap_5s", 0.03)):
        mine = figures(fitted, "prnet", metric)
        assert mine["minus_random_low"] > 0, mine
        for floor in ("random", "smooth random", "early first"):
            assert mine["mean"] > figures(fitted, floor, metric)["mean"] + least, (metric, floor)
    assert figures(fitted, "prnet", "nmsd")["minus_random_high"] < -0.1


def test_attention_finds_the_interest_that_the_mean_of_three_blurs(
    world: tuple[Path, dict[str, str]], fitted: FitResult
) -> None:
    values = fit(*world, BASE, ("full", "meanU+G"))
    assert gain(values, "meanU+G") > 0.08
    assert gain(values, "chance") > 0.1
    assert gain(values, "ceiling") < -0.1


def test_nothing_wins_where_nothing_is_planted(tmp_path: Path) -> None:
    """One interest, so that the mean history is as good; no build-up; nothing that everybody likes; all is marked."""
    values = fit(tmp_path, write(tmp_path, NULL), NULL, ("full", "meanU+G", "residual", "U", "CE"))
    for row in ("meanU+G", "residual", "U", "CE"):
        assert gain(values, row) < 0.06, (row, {k: v.mean() for k, v in values.items()})
    assert gain(values, "chance") > 0.2


def test_the_encoder_sees_the_build_up(tmp_path: Path) -> None:
    build_up = replace(NULL, interests=2, equal=4, build_up=1.0)
    values = fit(tmp_path, write(tmp_path, build_up), build_up, ("full", "residual"))
    assert gain(values, "residual") > 0.05


def test_the_generic_preference_is_what_is_left_without_a_history(tmp_path: Path) -> None:
    generic = replace(NULL, interests=2, newcomers=0.4, generic=1.0)
    values = fit(tmp_path, write(tmp_path, generic), generic, ("full", "U"))
    assert gain(values, "U") > 0.08


def test_it_stays_at_chance_on_the_noise_twin(tmp_path: Path) -> None:
    """Chance ranks shot by shot: rankings that keep a shot together meet a highlight as a whole."""
    twin = replace(BASE, noise_twin=True)
    values = fit(tmp_path, write(tmp_path, twin), twin, ("full",))
    assert abs(gain(values, "chance")) < 0.06


# ---- runs ----


def test_rows_are_those_of_every_table(fitted: FitResult) -> None:
    names = ["random", "smooth random", "early first", "content", "prnet"]
    metrics = ["highlight_ap", "map", "nmsd", "hr@1", "hr@5", "ndcg@5", "highlight_ap_5s", "map_5s",
               "highlight_ap_frames"]  # fmt: skip
    rows = fitted.metrics["rows"]
    assert list(dict.fromkeys(r["metric"] for r in rows)) == metrics
    expected = [(n, m) for part in (metrics[:6], metrics[6:8], metrics[8:]) for n in names for m in part]
    assert [(r["row"], r["metric"]) for r in rows] == expected
    assert {r["better"] for r in rows if r["metric"] == "nmsd"} == {"lower"}
    assert all(r["cases"] == fitted.counts["test_users"] == 64 for r in rows if r["metric"] != "highlight_ap_frames")
    told = fitted.counts["test_users"] - fitted.counts["test_videos_without_history"]  # one video a user is tested
    assert {r["cases"] for r in rows if r["metric"] == "highlight_ap_frames"} == {told}
    assert all(r["low"] <= r["mean"] <= r["high"] for r in rows)


def test_the_checkpoint_rebuilds_its_model(
    world: tuple[Path, dict[str, str]], data: Highlights, fitted: FitResult
) -> None:
    first, second = (runs.load(fitted.folder) for _ in range(2))
    task = PRNetTask(data, quick(), CPU)
    scores = task.scores(first.model, task.test)
    assert np.array_equal(scores, task.scores(second.model, task.test))
    assert task.evaluate(first.model)["rows"] == fitted.metrics["rows"]
    assert first.stores == world[1] == data.stores
    assert train(*world, quick(), model="prnet", pictures=False, device="cpu").skipped


def test_a_killed_fit_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    settings = quick(epochs=4, dim=16, projection=True)
    small = replace(BASE, users=40)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    results = []
    for name, stop in (("unbroken", None), ("killed", kill)):
        roles = write(tmp_path / name, small)
        if stop:
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / name, roles, settings, model="prnet", pictures=False, on_epoch=stop, save_every_s=0)
        results.append(train(tmp_path / name, roles, settings, model="prnet", pictures=False))
    assert results[0].metrics["rows"] == results[1].metrics["rows"]
    first, second = (runs.load(r.folder).model.state_dict() for r in results)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_steps_that_do_not_fit_the_device_are_read_from_the_store(
    data: Highlights, fitted: FitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, task = runs.load(fitted.folder).model, PRNetTask(data, quick(), CPU)
    scores = task.scores(model, task.validation)
    monkeypatch.setattr(PRNetTask, "_resident", lambda _: None)
    reading = PRNetTask(data, quick(), CPU)
    assert reading.features is None
    assert torch.equal(reading.mean, task.mean)
    np.testing.assert_array_equal(reading.scores(model, task.validation), scores)
    batches = [next(t.batches(torch.Generator().manual_seed(0))) for t in (task, reading)]
    usable = batches[0].query.valid
    assert torch.equal(batches[0].query.steps[usable], batches[1].query.steps[usable])


# ---- protocol ----


def test_users_are_disjoint_and_every_video_of_theirs_is_ranked(data: Highlights) -> None:
    task = PRNetTask(data, quick(), CPU)
    parts = [set(task.pieces.user.tolist()), set(task.validation.user.tolist()), set(task.test.user.tolist())]
    assert [len(p) for p in parts] == [88, 8, 64]
    assert len(set.union(*parts)) == 160
    for user in sorted(parts[2]):
        videos = set(data.video[data.user == user].tolist())
        assert set(task.test.video[task.test.user == user].tolist()) == videos
    last = PRNetTask(data, quick(tested="last"), CPU)
    assert len(last.test) == 64
    assert last.counts["test_videos_of_history_only"] == len(task.test) - 64
    newest = {u: data.video[np.flatnonzero(data.user == u)[0]] for u in parts[2]}
    assert dict(zip(last.test.user.tolist(), last.test.video.tolist(), strict=True)) == newest


def test_batches_hold_one_piece_of_each_user_with_a_highlight_of_hers(data: Highlights) -> None:
    task = PRNetTask(data, quick(window=16), CPU)
    seen, windows = 0, set()
    for batch in task.batches(torch.Generator().manual_seed(1)):
        query, marked = batch.query, batch.highlight
        seen += len(marked)
        assert (marked & query.valid).any(1).all()
        assert query.steps.shape[1] <= 16
        lasts = query.valid.shape[1] - query.valid.flip(1).int().argmax(1)
        windows |= set(lasts.tolist())
        there = query.history >= 0
        clips = query.history[there]
        assert len(set(clips.tolist())) == len(clips) == len(query.clips)  # each of one user
        assert query.clip_valid.any(1).all()
    assert seen == 88
    assert len(windows) > 3  # the last piece of a video is shorter
    first, again = (next(task.batches(torch.Generator().manual_seed(s))) for s in (3, 3))
    assert torch.equal(first.highlight, again.highlight)


def test_features_are_standardised_by_the_training_windows(data: Highlights) -> None:
    task = PRNetTask(data, quick(window=16), CPU)
    users = set(task.pieces.user.tolist())
    steps: set[int] = set()
    for user, step in zip(*np.divmod(data.positive, len(data.steps)), strict=True):
        if user in users:
            video = data.steps.video[step]
            a, b = data.steps.start[video : video + 2]
            begin = a + (step - a) // 16 * 16
            steps |= set(range(begin, min(begin + 16, b)))
    x = data.vectors(np.array([s for s in sorted(steps) if data.usable[s]])).astype(np.float64)
    np.testing.assert_allclose(task.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(task.scale, np.sqrt(np.square(x - x.mean(0)).sum(1).mean()), rtol=1e-5)
    scale = PRNetTask(data, quick(window=16, standardise="scale"), CPU)
    np.testing.assert_allclose(scale.scale, np.sqrt(np.square(x).sum(1).mean()), rtol=1e-5)
    assert not scale.mean.any()


@pytest.mark.parametrize("most", [-1, 0, 2])
@pytest.mark.parametrize("past", ["others", "earlier"])
def test_a_history_is_the_newest_of_the_other_videos(data: Highlights, past: Any, most: int) -> None:
    got = Past(data, past, most).of(data.user[:60], data.video[:60])
    for row, (user, video) in enumerate(zip(data.user[:60], data.video[:60], strict=True)):
        own = np.flatnonzero(data.user == user)  # newest first; a video's id grows with its age here
        known = [h for h in own if data.video[h] != video and (past == "others" or data.video[h] < video)]
        expected = known if most < 0 else known[:most]
        assert got[row][got[row] >= 0].tolist() == expected


# ---- from tables to arrays ----

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def build(
    root: Path, events: list[tuple[Any, ...]], rows: str = "window", change: Callable[[np.ndarray], None] | None = None
) -> dict[str, str]:
    """Videos a (7 steps), b (5) and c (4) of 1 s, the second step of b empty; segments of 2 s for a and b. An event is
    (user, video, start, stop) and what else there is to say."""
    spec = Spec(extractor="planted", layer="conv", dim=3, rows=rows)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    with FeatureWriter(root, spec) as writer:
        for video, count in {"a": 7, "b": 5, "c": 4}.items():
            count = 1 if rows == "video" else count
            x, mask = rng.standard_normal((count, 3)).astype(np.float32), np.full(count, VALID, np.uint8)
            if change:
                change(x)
            if video == "b" and count > 1:
                mask[1], x[1] = NO_DATA, np.nan
            start = 1000 * np.arange(count, dtype=np.int64)
            writer.add(Block(video, x, mask, np.arange(count, dtype=np.int32), start, start + 1000))
    plain = {"kind": "highlight", "source": "hand"}
    keys = ("user_id", "video_id", "start_ms", "stop_ms")
    written = [
        {**plain, **dict(zip(keys, e[:4], strict=True)), **(e[4] if len(e) > 4 else {}), "source_row": n + 1}
        for n, e in enumerate(events)
    ]
    Tables(root).write("events", written)
    grid = [
        {"video_id": v, "segment_index": i, "start_ms": 2000 * i, "stop_ms": min(2000 * i + 2000, stop),
         "duration_source": "measured"}
        for v, stop in (("a", 7000), ("b", 5000)) for i in range((stop + 1999) // 2000)
    ]  # fmt: skip
    Tables(root).write("segments", grid)
    return {"steps": spec.name}


def test_every_row_is_used_or_counted(tmp_path: Path) -> None:
    roles = build(
        tmp_path,
        [
            ("ann", "a", 600, 2500),  # 40 %, all and 50 % of its steps: the middle one
            ("ann", "b", 2100, 2300),  # half of none: the best, the third
            ("ann", "b", 2100, 2300),
            ("ann", "b", 1200, 2000),  # not decodable
            ("ann", "c", 500, 3900),
            ("ann", "gone", 0, 1000),
            ("ann", "a", 9000, 9500),
            ("ben", "a", None, None),
            ("ben", "b", 1000, 3000),  # one of two is usable
            ("cem", "b", 1000, 2000),
            ("dan", "a", 0, 1000, {"kind": "watch"}),
        ],
    )
    got = prnet_data.load(tmp_path, **roles)
    assert (got.users, got.videos) == (["ann", "ben"], ["a", "b", "c"])
    marked = {(got.users[u], int(s)) for u, s in zip(*np.divmod(got.positive, 16), strict=True)}
    assert marked == {("ann", s) for s in (1, 9, 13, 14, 15)} | {("ben", 9)}
    assert got.first.tolist() == [13, 9, 1, 8]  # by row, the newest first
    assert got.size.tolist() == [3, 1, 1, 2]
    segments = {(got.users[u], int(s)) for u, s in zip(*np.divmod(got.grid_positive, 7), strict=True)}
    assert segments == {
        ("ann", 0),
        ("ann", 5),
        ("ben", 4),
    }  # 70 %; the best; of equal ones the first
    counts = got.counts
    assert (counts.highlights, counts.positives, counts.highlights_of_one_step) == (4, 6, 1)
    assert (counts.highlights_without_range, counts.highlights_repeated) == (1, 1)
    assert (counts.highlights_without_features, counts.highlights_off_steps) == (1, 3)
    assert (counts.users_without_highlights, counts.users_ordered_by_row) == (1, 3)
    assert (counts.videos, counts.videos_without_features, counts.videos_without_grid) == (3, 1, 1)
    assert (counts.steps, counts.steps_without_data, counts.steps_not_finite) == (16, 1, 0)


def test_highlights_cover_steps_as_a_plain_loop_says() -> None:
    rng = np.random.default_rng(0)
    start = np.concatenate([np.sort(rng.choice(60, 9, replace=False)) for _ in range(2)])
    cells = Cells(np.array([0, 9, 9, 18]), start, start + rng.integers(1, 12, 18))  # with gaps and overlaps
    video, begin = rng.integers(0, 3, 300), rng.integers(0, 70, 300)
    end = begin + rng.integers(1, 25, 300)
    got: dict[int, list[int]] = {}
    for of, cell in zip(*cells.covered(video, begin, end), strict=True):
        got.setdefault(int(of), []).append(int(cell))
    for r in range(300):
        here = range(cells.start[video[r]], cells.start[video[r] + 1])
        covered = {c: min(cells.stop_ms[c], end[r]) - max(cells.start_ms[c], begin[r]) for c in here}
        most = [c for c in here if 2 * covered[c] > cells.stop_ms[c] - cells.start_ms[c]]
        best = max(here, key=lambda c: (covered[c], -c), default=None)
        if not most and best is not None and covered[best] > 0:
            most = [best]
        assert got.get(r, []) == most, r


def test_histories_follow_time_then_rows_and_the_marked_video_is_the_last(tmp_path: Path) -> None:
    times = {"a": WHEN.replace(day=3), "b": WHEN.replace(day=2), "c": WHEN.replace(day=1)}
    events = [("ann", v, 2000, 3000, {"time": t}) for v, t in times.items()]
    events += [("ben", v, 2000, 3000, {"time": t if v != "a" else None}) for v, t in times.items()]
    events += [("cem", v, 2000, 3000, {"time": t, "last_video": v == "b"}) for v, t in times.items()]
    got = prnet_data.load(tmp_path, **build(tmp_path, events))
    order = ["".join(got.videos[v] for v in got.video[got.user == u]) for u in range(3)]
    assert order == ["abc", "cba", "bac"]
    assert got.began.tolist() == [2, 1, 0] * 3
    assert got.counts.users_ordered_by_row == 1


def test_a_store_of_segments_is_read_as_well(tmp_path: Path) -> None:
    events = [("ann", "a", 0, 1900), ("ben", "b", 0, 900)]
    assert prnet_data.load(tmp_path, **build(tmp_path, events, rows="segment")).counts.positives == 3


def test_scores_are_pooled_to_segments(tmp_path: Path) -> None:
    got = prnet_data.load(tmp_path, **build(tmp_path, [("ann", "b", 0, 2000), ("ann", "c", 0, 1000)]))
    cases = step_cases(got, np.array([0]))
    assert cases.segment.tolist() == [0, 2, 3, 4, 5, 6, 7, 8]
    assert cases.relevant.tolist() == [True, False, False, False, True, False, False, False]
    pooled = Pooled.of(got, cases)  # c has no grid
    assert len(pooled.cases) == 1
    assert pooled.cases.relevant.tolist() == [True, False, False]
    assert pooled.scores(np.array([1.0, 2, 4, 7, 9, 9, 9, 9])).tolist() == [1, 3, 7]


def test_a_user_counts_once_and_ties_by_expectation() -> None:
    start = np.array([0, 3, 7, 12])
    relevant = np.array([1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1], bool)
    cases = Cases(np.array([4, 4, 9]), np.arange(3), start, np.arange(12), relevant)
    rng = np.random.default_rng(0)
    got = measured(rng.random(12), cases, 0)
    assert got.shape == (2, 6)
    many = np.mean([measured(np.zeros(12), cases, s)[:, 0] for s in range(200)], axis=0)
    exact = highlight_ap(rank(np.zeros(12), relevant, start))
    np.testing.assert_allclose(many, [exact[:2].mean(), exact[2]], atol=0.01)


def four(root: Path) -> list[tuple[Any, ...]]:
    return [(f"u{n}", v, 2000, 3000) for n in range(4) for v in "ab"]


@pytest.mark.parametrize(
    ("events", "rows", "change", "message"),
    [
        (four, "video", None, "has one row a video; this model reads steps"),
        (lambda _: [("ann", "a", 0, 900, {"kind": "watch"})], "window", None, "no event of kind highlight"),
        (lambda _: [("ann", "gone", 0, 900)], "window", None, "no usable step of a video with highlights"),
        (lambda _: [("ann", "b", 1000, 2000)], "window", None, "no highlight of .* falls on a step"),
        (lambda _: [("ann", "a", None, None)], "window", None, "no highlight of .* falls on a step"),
        (four, "window", lambda x: x.fill(2.0), "are constant: every step has one vector"),
    ],
)
def test_bad_roots_are_refused_by_name(tmp_path: Path, events: Any, rows: str, change: Any, message: str) -> None:
    roles = build(tmp_path, events(tmp_path), rows, change)
    with pytest.raises(InputError, match=message):
        prnet_data.load(tmp_path, **roles)


def test_bad_splits_are_refused(tmp_path: Path) -> None:
    got = prnet_data.load(tmp_path, **build(tmp_path, four(tmp_path)))
    with pytest.raises(InputError, match="4 users with highlights do not split"):
        PRNetTask(got, PRNetSettings(dim=3), CPU)
    with pytest.raises(InputError, match="together at most"):
        PRNetSettings(validation_share=0.5, test_share=0.5)
    with pytest.raises(InputError, match="no store 'features'"):
        train(tmp_path, {"features": "x"}, model="prnet", pictures=False)
    assert train(tmp_path, "planted", quick(dim=3, epochs=2), model="prnet", pictures=False).counts["test_users"] == 2


def test_other_vectors_or_events_are_another_run(tmp_path: Path) -> None:
    prints = set()
    for name, events, change in (
        ("one", four(tmp_path), None),
        ("two", four(tmp_path)[:-1], None),
        ("three", four(tmp_path), lambda x: np.negative(x, out=x)),
    ):
        prints.add(prnet_data.load(tmp_path / name, **build(tmp_path / name, events, change=change)).fingerprint)
    assert len(prints) == 3


def test_rows_that_are_not_finite_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer refuses them; other programs may write stores as well."""
    roles = build(tmp_path, [("ann", "a", 2000, 4000), ("ben", "b", 0, 1000)])
    read = FeatureStore.read

    def spoiled(store: FeatureStore, video: str) -> Block:
        block = read(store, video)
        if video == "a":
            block.features[3] = np.nan
        return block

    monkeypatch.setattr(FeatureStore, "read", spoiled)
    got = prnet_data.load(tmp_path, **roles)
    assert (got.counts.steps_not_finite, got.counts.steps_without_data, got.counts.positives) == (1, 1, 2)
    assert got.size.tolist() == [2, 1]
