"""Verdicts are against the best ranking without training, on the same cases; published tie rules stand beside ours; and
what each case gave is kept."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import precision_recall_curve

from reelmill.flows.cli.train import verdicts
from reelmill.models import train
from reelmill.models.data.cases import Cases
from reelmill.models.metrics import clicks, evaluate
from reelmill.models.metrics.case_values import CaseValues, to_parquet
from reelmill.models.metrics.ranking import (
    group_mean,
    grouped_highlight_ap,
    grouped_nmsd,
    highlight_ap,
    nmsd,
    permuted_nmsd,
    rank,
)
from reelmill.models.metrics.untrained import FLOORS
from reelmill.models.prnet.world import World, write
from reelmill.models.registry import find, world_of

CASES = 400


def figures(level: dict[str, float], metric: str = "map", seed: int = 0) -> dict[str, np.ndarray]:
    """{ranking: (C, 1)} values of cases around these means; what is hard is hard for all."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.1, CASES)
    return {name: (mean + hard + rng.normal(0, 0.05, CASES))[:, None] for name, mean in level.items()}


def row(values: dict[str, np.ndarray], model: str, metric: str = "map") -> dict[str, Any]:
    rows = evaluate.rows(values, [metric], 0)
    assert all(("verdict" in r) == (r["row"] not in FLOORS) for r in rows)
    return next(r for r in rows if r["row"] == model)


@pytest.mark.parametrize(
    ("levels", "floor", "verdict"),
    [
        ({"random": 0.5, "content": 0.735, "early first": 0.51, "prnet": 0.681}, "content", "worse"),
        ({"random": 0.6, "most popular": 0.873, "jifr": 0.778}, "most popular", "worse"),
        ({"random": 0.5, "content": 0.6, "prnet": 0.601}, "content", "equal"),
        ({"random": 0.5, "content": 0.6, "most popular": 0.62, "prnet": 0.7}, "most popular", "better"),
        ({"random": 0.5, "content": 0.4, "mine": 0.45}, "random", "worse"),
    ],
)
def test_a_verdict_is_against_the_best_floor(levels: dict[str, float], floor: str, verdict: str) -> None:
    """The first two beat chance by far, and were said to."""
    *_, model = levels
    found = row(figures(levels), model)
    assert (found["best_floor"], found["verdict"]) == (floor, verdict)
    assert found["minus_floor"] == pytest.approx(levels[model] - levels[floor], abs=0.02)
    assert found["minus_floor_high"] - found["minus_floor_low"] < 0.8 * (found["high"] - found["low"]), "it is paired"
    if verdict == "worse" and floor != "random":
        assert found["minus_random_low"] > 0.05


def test_lower_is_better_where_it_is() -> None:
    levels = {"random": 0.5, "content": 0.4, "early first": 0.45, "mine": 0.3}
    found = row(figures(levels), "mine", "log_loss")
    assert (found["best_floor"], found["verdict"]) == ("content", "better")
    assert found["minus_floor_high"] < 0


def test_clicks_are_judged_by_users_against_the_mean_rates() -> None:
    rng = np.random.default_rng(0)
    user, label = np.repeat(np.arange(60), 20), rng.integers(0, 2, 1200).astype(np.float64)
    noise = {"rates": 0.5, "mine": 1.0, "most popular": 2.0}
    chances = {n: 1 / (1 + np.exp(-(2 * label - 1 + s * rng.standard_normal(1200)))) for n, s in noise.items()}
    rows = clicks.table({"random": np.full(1200, 0.5), **chances}, label, user, 0)
    found = {r["metric"]: r for r in rows if r["row"] == "mine"}
    assert {r["best_floor"] for r in found.values()} == {"rates"}
    assert {r["verdict"] for r in found.values()} == {"worse"}
    assert found["auc"]["minus_random_low"] > 0.2


def test_the_terminal_says_what_a_model_loses_to() -> None:
    levels = {"random": 0.5, "content": 0.735, "prnet": 0.681}
    rows = evaluate.rows(figures(levels), ["map"], 0)
    lines = verdicts("prnet", rows)
    assert len(lines) == 1
    assert "prnet [bold]is below[/] the best floor, content: -0.0" in lines[0]
    assert not verdicts("prnet", [{k: v for k, v in r.items() if k != "verdict"} for r in rows]), "an older run"


# ---- nMSD without skill ----


def skewed(cases: int, size: int, rng: np.random.Generator) -> tuple[Cases, np.ndarray]:
    """Scores that know nothing, a few of them high, and one to four relevant of `size` candidates."""
    relevant = np.zeros((cases, size), bool)
    for case, count in enumerate(rng.integers(1, 5, cases)):
        relevant[case, rng.permutation(size)[:count]] = True
    scores = np.exp(3 * rng.standard_normal((cases, size)))
    start = np.arange(cases + 1) * size
    number = np.arange(cases)
    return Cases(number, number, start, np.tile(np.arange(size), cases), relevant.ravel()), scores.ravel()


def test_permuted_labels_give_the_mean_over_all_permutations() -> None:
    scores = np.array([9.0, 2.0, 2.0, 1.0, 0.5])
    relevant = np.array([True, True, False, False, False])
    start = np.array([0, 5])
    every = [nmsd(rank(scores, relevant[list(order)], start))[0] for order in permutations(range(5))]
    found = permuted_nmsd(rank(scores, relevant, start), np.random.default_rng(0), 4000)
    assert found[0] == pytest.approx(np.mean(every), abs=4 * np.std(every) / 4000**0.5)


def test_scores_without_skill_are_no_better_than_their_own_null() -> None:
    """Against the row `random` they are: the threshold between two skewed scores lies above their middle."""
    cases, scores = skewed(1500, 12, np.random.default_rng(0))
    draws = {"random": [np.zeros(len(scores))], "mine": [scores]}
    found = evaluate.tables(cases, draws, np.zeros(len(cases)), 0, ["map", "nmsd"])["rows"]
    mine = next(r for r in found if (r["row"], r["metric"]) == ("mine", "nmsd"))
    chance = next(r for r in found if (r["row"], r["metric"]) == ("random", "nmsd"))
    assert mine["minus_random_high"] < 0, "as if it had skill"
    assert mine["null"] < chance["mean"] - 0.02
    assert mine["minus_null_low"] < 0 < mine["minus_null_high"]
    assert mine["verdict"] == "equal"
    assert chance["null"] == pytest.approx(chance["mean"], abs=1e-9), "equal scores are their own null"


def test_scores_with_skill_are_better_than_their_null() -> None:
    cases, scores = skewed(300, 12, np.random.default_rng(1))
    draws = {"random": [np.zeros(len(scores))], "mine": [scores + 100 * cases.relevant]}
    found = evaluate.tables(cases, draws, np.zeros(len(cases)), 0, ["map", "nmsd"])["rows"]
    mine = next(r for r in found if (r["row"], r["metric"]) == ("mine", "nmsd"))
    assert (mine["verdict"], mine["mean"]) == ("better", pytest.approx(0.05, abs=0.05))
    assert mine["null"] > 0.3


# ---- published tie rules ----


def get_ap(truth: np.ndarray, score: np.ndarray) -> float:
    """Highlight AP as Video2GIF's evaluation computes it, in its own steps."""
    precision, recall, _ = precision_recall_curve(truth, score)
    recall, precision = recall.astype(np.float32), precision.copy()
    for i in range(1, len(precision)):
        precision[i] = max(precision[i - 1], precision[i])
    return float(precision[np.where(np.diff(recall))].mean())


def blocks_of_frames(cases: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, truth and start of videos of 60 frames in blocks of five equal scores; a clip of 3 to 9 is the truth."""
    truth = np.zeros((cases, 60), np.int64)
    for case, length in enumerate(rng.integers(3, 10, cases)):
        first = rng.integers(0, 61 - length)
        truth[case, first : first + length] = 1
    score = np.repeat(rng.standard_normal((cases, 12)), 5, axis=1)
    return score.ravel(), truth.ravel(), np.arange(cases + 1) * 60


def test_grouped_ties_are_those_of_the_published_code_and_lie_below_expectation() -> None:
    score, truth, start = blocks_of_frames(300, np.random.default_rng(0))
    ranked = rank(score, truth, start)
    oracle = [get_ap(t, s) for t, s in zip(truth.reshape(-1, 60), score.reshape(-1, 60), strict=True)]
    grouped, expected = grouped_highlight_ap(ranked), highlight_ap(ranked)
    np.testing.assert_allclose(grouped, oracle, rtol=1e-12)
    assert 0.01 < expected.mean() - grouped.mean() < 0.04
    watched = [
        (s >= np.median(s[t > 0])).sum() - t.sum() / 2
        for t, s in zip(truth.reshape(-1, 60), score.reshape(-1, 60), strict=True)
    ]
    left = 60 - truth.reshape(-1, 60).sum(1) / 2
    np.testing.assert_allclose(grouped_nmsd(ranked), watched / left, rtol=1e-12)
    assert 0.02 < grouped_nmsd(ranked).mean() - nmsd(ranked).mean() < 0.06


def test_chance_under_the_published_rule_is_a_random_order_and_not_equal_scores() -> None:
    """Equal scores are one group there, of which R/n is far below what random scores get."""
    cases, scores = skewed(200, 12, np.random.default_rng(3))
    draws = {"random": [np.zeros(len(scores))], "mine": [scores]}
    rows = evaluate.tables(cases, draws, np.zeros(len(cases)), 0)["rows"]
    found = {(r["row"], r["metric"]): r["mean"] for r in rows}
    for metric in ("highlight_ap", "nmsd"):
        assert found["random", f"{metric}_grouped"] == found["random", metric]
    ranked = rank(np.zeros(len(scores)), cases.relevant, cases.start)
    assert grouped_highlight_ap(ranked).mean() < found["random", "highlight_ap"] - 0.1


def test_without_ties_both_rules_agree() -> None:
    rng = np.random.default_rng(2)
    relevant = rng.random(200) < 0.3
    relevant[::20] = True
    ranked = rank(rng.standard_normal(200), relevant, np.arange(11) * 20)
    np.testing.assert_allclose(grouped_highlight_ap(ranked), highlight_ap(ranked), rtol=1e-12)
    np.testing.assert_allclose(grouped_nmsd(ranked), nmsd(ranked), rtol=1e-12)


def test_groups_of_time_count_by_their_length() -> None:
    """Two seconds of a block of five are a highlight, then a whole block of two: 2/5, then 4/7, lifting the first."""
    assert group_mean(np.array([0, 0]), np.array([2.0, 2.0]), np.array([5.0, 2.0]), 1) == pytest.approx([4 / 7])
    assert group_mean(np.array([0, 0, 1]), np.array([2.0, 0.0, 1.0]), np.array([2.0, 9.0, 4.0]), 2) == pytest.approx(
        [1, 1 / 4]
    )


def test_blocks_of_a_fit_are_those_of_the_published_code(tmp_path: Path) -> None:
    """Every millisecond a frame, with the mean score of its five seconds."""
    stores = write(tmp_path, World(**world_of("prnet").planted.small))
    recommender = find("prnet")
    settings = recommender.settings.from_dict({**world_of("prnet").options, "epochs": 1})
    task: Any = recommender.task(recommender.load(tmp_path, **stores), settings, torch.device("cpu"))
    score = np.random.default_rng(0).standard_normal(len(task.test.segment))
    found, blocks = task.published.ap(score), task.published
    cells, expected = task.data.steps, {}
    for case, (user, start) in enumerate(zip(task.test.user, task.test.start, strict=False)):
        here = slice(start, task.test.start[case + 1])
        steps = task.test.segment[here]
        frames = [np.arange(a, b) for a, b in zip(cells.start_ms[steps], cells.stop_ms[steps], strict=True)]
        length = [len(f) for f in frames]
        time, mine = np.concatenate(frames), np.repeat(score[here], length)
        block = np.unique(time // 5000, return_inverse=True)[1]
        mean = (np.bincount(block, mine) / np.bincount(block))[block]
        expected.setdefault(user, []).append(get_ap(np.repeat(task.test.relevant[here], length), mean))
    users = list(dict.fromkeys(blocks.cases.user.tolist()))
    np.testing.assert_allclose(found[:, 0], [np.mean(expected[u]) for u in users], rtol=1e-9)
    assert users == list(dict.fromkeys(task.test.user.tolist()))
    none: Any = recommender.task(task.data, replace(settings, history_size=0), torch.device("cpu"))
    assert not len(none.published.cases), "whoever has no history is left out"


# ---- values of cases ----


def test_what_each_case_gave_is_kept_with_its_ids(tmp_path: Path) -> None:
    values = {"random": np.array([[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]]), "mine": np.ones((3, 2))}
    truth = (np.arange(4),)
    test = CaseValues("segments", ["u", "u", "w"], ["a", "b", "a"], ["map", "nmsd"], values, truth)
    (tmp_path / "cases.parquet").write_bytes(
        to_parquet(
            [
                test,
                CaseValues(
                    "items", None, None, ["map"], values | {"random": np.zeros((3, 1)), "mine": np.ones((3, 1))}, truth
                ),
            ]
        )
    )
    read = pq.read_table(tmp_path / "cases.parquet").to_pylist()
    assert len(read) == 3 * 2 * 2 + 3 * 2
    assert read[1] == {"test": "segments", "case": 1, "user_id": "u", "video_id": "b", "ranking": "random",
                       "metric": "map", "value": 0.2}  # fmt: skip
    assert read[-1]["user_id"] is read[-1]["video_id"] is None


def test_other_cases_have_another_digest() -> None:
    values = {"random": np.zeros((2, 1))}
    made = [
        CaseValues(test, users, videos, ["map"], values, (np.array(truth),)).digest
        for test, users, videos, truth in (
            ("a", ["u", "v"], None, [1, 2]), ("b", ["u", "v"], None, [1, 2]), ("a", ["u", "w"], None, [1, 2]),
            ("a", None, ["u", "v"], [1, 2]), ("a", ["u", "v"], None, [1, 3]), ("a", ["u", "v"], None, [1, 2, 0]),
        )
    ]  # fmt: skip
    assert len({*made}) == len(made)
    one, same, other = (CaseValues("a", ["u"], None, ["map"], {"m": np.array([[v]])}) for v in (1.0, 1.0, 2.0))
    assert one == same != other
    assert CaseValues("a", ["u", "v"], None, ["map"], {"mine": np.ones((2, 1))}, (np.array([1, 2]),)).digest == made[0]


def test_two_models_of_one_protocol_have_the_same_cases(tmp_path: Path) -> None:
    """Of the same seed: what `compare` needs."""
    world = world_of("multimodal")
    stores = world.planted.write(tmp_path, world.planted.knobs(**world.planted.small))
    runs = []
    for name, seed in (("fm", 0), ("deepfm", 0), ("fm", 1)):
        settings = find(name).settings.from_dict(
            {**world_of(name).options, "epochs": 1, "seed": seed, "split": "random"}
        )
        result = train(tmp_path, world_of(name).stores(stores), settings, model=name, logger="none", pictures=False)
        runs.append(result.metrics["cases"])
        table = pq.read_table(f"{result.folder}/cases.parquet")
        loss = table.filter(pc.and_(pc.equal(table["ranking"], name), pc.equal(table["metric"], "log_loss")))
        mean = next(r["mean"] for r in result.metrics["rows"] if (r["row"], r["metric"]) == (name, "log_loss"))
        assert pc.mean(loss["value"]).as_py() == pytest.approx(mean)
    assert runs[0] == runs[1] != runs[2]
