"""Metrics against scikit-learn, torchmetrics, hand-made cases, and every order of tied candidates."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score, precision_recall_curve
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_recall,
)

from reelmill.models.metrics import ranking as metrics
from reelmill.models.metrics.ranking import interval, rank
from reelmill.models.metrics.table import SEGMENTS, find, measure
from reelmill.models.metrics.table import value as measured
from reelmill.storage.errors import InputError

Case = tuple[np.ndarray, np.ndarray]


def cases_of(rng: np.random.Generator, count: int = 40, ties: bool = False) -> list[Case]:
    """Random cases of 1 to 30 candidates, with distinct or with few different scores."""
    cases = []
    for _ in range(count):
        n = int(rng.integers(1, 31))
        relevant = np.zeros(n, bool)
        relevant[rng.choice(n, rng.integers(1, n + 1), replace=False)] = True
        cases.append((rng.integers(0, 4, n).astype(float) if ties else rng.standard_normal(n), relevant))
    return cases


def joined(cases: list[Case]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start = np.concatenate([[0], np.cumsum([len(s) for s, _ in cases])])
    return np.concatenate([s for s, _ in cases]), np.concatenate([r for _, r in cases]), start


def one(score: list[float], relevant: list[int]) -> dict[str, float]:
    measured = measure(np.array(score), np.array(relevant), np.array([0, len(score)]))
    return {name: float(value[0]) for name, value in measured.items()}


def test_hand_made_case() -> None:
    """Ranking: relevant, other, relevant, other, relevant."""
    got = one([5, 4, 3, 2, 1], [1, 0, 1, 0, 1])
    assert got["hr@1"] == 1
    assert got["hr@2"] == 1 / 2
    assert got["hr@3"] == pytest.approx(2 / 3)
    assert got["hr@5"] == 1
    assert got["recall@1"] == pytest.approx(1 / 3)
    assert got["recall@2"] == pytest.approx(1 / 3)
    assert got["any_hit@1"] == 1
    assert got["map"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert got["highlight_ap"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert got["ndcg@2"] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert got["nmsd"] == pytest.approx((3 - 1.5) / (5 - 1.5))  # the median relevant score is 3, three are ≥ 3


def test_highlight_ap_is_monotone_and_unweighted() -> None:
    """Relevant at places 2 and 3: precisions 1/2 and 2/3, the first raised to 2/3."""
    got = one([3, 2, 1], [0, 1, 1])
    assert got["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert got["highlight_ap"] == pytest.approx(2 / 3)


def test_hit_ratio_falls_as_in_the_paper() -> None:
    """HR@1 = NDCG@1, and HR may fall from N = 1 to 2: it is hits over min(N, relevant), not any hit."""
    got = one([3, 2, 1], [1, 0, 1])
    assert got["hr@1"] == got["ndcg@1"] == 1
    assert got["hr@2"] == 0.5 < got["any_hit@2"] == 1


def test_best_and_worst_rankings() -> None:
    best, worst = one([4, 3, 2, 1], [1, 1, 0, 0]), one([4, 3, 2, 1], [0, 0, 1, 1])
    for name in SEGMENTS:
        assert (best[name] < worst[name]) == (find(name).better == "lower") or best[name] == worst[name]
    assert best["nmsd"] == 0
    assert best["map"] == best["highlight_ap"] == 1
    assert worst["any_hit@2"] == 0


def test_against_scikit_learn_and_torchmetrics() -> None:
    cases = cases_of(np.random.default_rng(0))
    measured = measure(*joined(cases))
    for c, (score, relevant) in enumerate(cases):
        got = {name: value[c] for name, value in measured.items()}
        assert got["map"] == pytest.approx(average_precision_score(relevant, score))
        tensors = torch.from_numpy(score).exp(), torch.from_numpy(relevant)  # torchmetrics skips scores ≤ 0
        assert got["map"] == pytest.approx(float(retrieval_average_precision(*tensors)), rel=1e-5)
        for n in range(1, 6):
            if len(score) > 1:
                assert got[f"ndcg@{n}"] == pytest.approx(ndcg_score(relevant[None], score[None], k=n))
            if len(score) >= n:
                assert got[f"ndcg@{n}"] == pytest.approx(float(retrieval_normalized_dcg(*tensors, top_k=n)), rel=1e-5)
                assert got[f"recall@{n}"] == pytest.approx(float(retrieval_recall(*tensors, top_k=n)), rel=1e-5)
                assert got[f"any_hit@{n}"] == pytest.approx(float(retrieval_hit_rate(*tensors, top_k=n)), rel=1e-5)


def video2gif_ap(score: np.ndarray, relevant: np.ndarray) -> float:
    """As its authors compute it: scikit-learn's curve, made monotone, mean where recall changes."""
    precision, recall, _ = precision_recall_curve(relevant, score)
    precision = np.maximum.accumulate(precision)
    return float(np.mean(precision[np.flatnonzero(np.diff(recall))]))


def video2gif_nmsd(score: np.ndarray, relevant: np.ndarray) -> float:
    half = relevant.sum() / 2
    return float(((score >= np.median(score[relevant])).sum() - half) / (len(score) - half))


def test_highlight_metrics_against_their_statements() -> None:
    cases = cases_of(np.random.default_rng(1))
    measured = measure(*joined(cases))
    for c, (score, relevant) in enumerate(cases):
        assert measured["highlight_ap"][c] == pytest.approx(video2gif_ap(score, relevant))
        assert measured["nmsd"][c] == pytest.approx(video2gif_nmsd(score, relevant))


@pytest.mark.parametrize("seed", range(12))
def test_ties_are_the_mean_over_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 7))
    score, relevant = rng.integers(0, 3, n).astype(float), np.zeros(n, bool)
    relevant[: rng.integers(1, n + 1)] = True
    orders = np.array(list(permutations(range(n)))) * 1e-6
    broken = measure((score + orders).ravel(), np.tile(relevant, len(orders)), np.arange(len(orders) + 1) * n)
    tied = measure(score, relevant, np.array([0, n]))
    for name in SEGMENTS:
        if name != "nmsd":  # its threshold lies between two candidates: below
            assert tied[name][0] == pytest.approx(broken[name].mean()), name


@pytest.mark.parametrize("relevant", [(1, 0, 0, 1, 0, 0), (1, 1, 1, 0, 0, 0), (0, 1, 1, 1, 1, 0), (0, 0, 1, 0, 0, 0)])
@pytest.mark.parametrize("score", [(1, 1, 1, 1, 1, 1), (2, 2, 2, 1, 1, 1), (3, 2, 2, 2, 1, 1)])
def test_tied_nmsd_is_its_mean_under_vanishing_noise(score: tuple[int, ...], relevant: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    truth = np.array(relevant, bool)
    noisy = [video2gif_nmsd(np.array(score) + 1e-6 * rng.random(6), truth) for _ in range(4000)]
    tied = measure(np.array(score, float), truth, np.array([0, 6]))["nmsd"][0]
    assert tied == pytest.approx(np.mean(noisy), abs=4 * np.std(noisy) / len(noisy) ** 0.5 + 1e-9)


def test_equal_scores_are_chance() -> None:
    """Closed forms of the random ranking: n = 12, R = 3."""
    got = one([0.0] * 12, [1] * 3 + [0] * 9)
    assert got["hr@1"] == pytest.approx(3 / 12)
    assert got["ndcg@3"] == pytest.approx(3 / 12)
    assert got["hr@5"] == pytest.approx(5 * 3 / 12 / 3)
    assert got["recall@5"] == pytest.approx(5 / 12)
    assert got["any_hit@2"] == pytest.approx(1 - 9 / 12 * 8 / 11)
    assert got["nmsd"] == pytest.approx((13 / 2 - 3 / 2) / (12 - 3 / 2))


def test_order_of_the_input_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    cases = cases_of(rng, ties=True)
    shuffled = [(s[order], r[order]) for s, r in cases for order in [rng.permutation(len(s))]]
    first, second = measure(*joined(cases)), measure(*joined(shuffled))
    for name in SEGMENTS:
        np.testing.assert_allclose(first[name], second[name], atol=1e-12)


def test_cases_do_not_touch_each_other_and_bounds_hold() -> None:
    for ties in (False, True):
        cases = cases_of(np.random.default_rng(3), ties=ties)
        together = measure(*joined(cases))
        for c, case in enumerate(cases):
            alone = measure(*joined([case]))
            for name in SEGMENTS:
                assert alone[name][0] == pytest.approx(together[name][c])
        for name, value in together.items():
            assert (value >= 0).all(), name
            assert (value <= 1 + 1e-12).all(), name
        assert (together["highlight_ap"] >= together["map"] - 1e-12).all()


@pytest.mark.parametrize(
    ("score", "relevant", "start", "message"),
    [
        ([1.0, float("nan")], [1, 0], [0, 2], "diverged"),
        ([1.0, float("inf")], [1, 0], [0, 2], "diverged"),
        ([1.0, 2.0], [0, 0], [0, 2], "no relevant"),
        ([1.0, 2.0], [1, 1], [0, 2, 2], "no relevant"),
        ([1.0, 2.0], [1], [0, 2], "do not fit"),
        ([], [], [0], "do not fit"),
    ],
)
def test_bad_input_is_refused(score: list[float], relevant: list[int], start: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rank(np.array(score), np.array(relevant), np.array(start))


def test_interval_matches_the_normal_one_and_its_seed() -> None:
    values = np.random.default_rng(0).standard_normal((400, 3)) + np.arange(3)
    low, high = interval(values, np.random.default_rng(1))
    error = values.std(axis=0) / 20
    np.testing.assert_allclose(low, values.mean(axis=0) - 1.96 * error, atol=0.15 * error.max())
    np.testing.assert_allclose(high, values.mean(axis=0) + 1.96 * error, atol=0.15 * error.max())
    again = interval(values, np.random.default_rng(1))
    np.testing.assert_array_equal(low, again[0])
    assert interval(np.full((5, 2), 0.25), np.random.default_rng(0))[0] == pytest.approx([0.25, 0.25])


def test_every_metric_has_its_formula_in_its_docstring() -> None:
    functions: list[Callable[..., np.ndarray]] = [
        metrics.hit_ratio, metrics.recall, metrics.any_hit, metrics.ndcg, metrics.average_precision, metrics.nmsd,
        metrics.highlight_ap,
    ]  # fmt: skip
    assert all("(C,)" in (f.__doc__ or "") for f in functions)


def test_every_name_in_results_is_found_in_the_table() -> None:
    """With what it was measured on around it; a top list has a length, and what is in no table is an error."""
    assert {find(name).better for name in ("nmsd", "log_loss")} == {"lower"}
    for name in (
        "item_ndcg@15",
        "cold_recall@20",
        "frame_hr@3",
        "highlight_ap_5s",
        "map_5s",
        "f@5",
        "cold_map",
        "hit@1",
    ):
        assert find(name).better == "higher"
        assert find(name).formula
    ranked = rank(np.array([3.0, 2.0, 1.0]), np.array([False, True, True]), np.array([0, 3]))
    assert measured("item_hr@2", ranked) == measured("hr@2", ranked) == [0.5]
    for wrong in ("hr", "map@3", "auc"):
        with pytest.raises(InputError, match="cannot be measured"):
            measured(wrong, ranked)
    with pytest.raises(InputError, match="mean 'ndcg'"):
        find("ndgc@5")
