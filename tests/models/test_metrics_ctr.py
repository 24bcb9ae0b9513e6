"""AUC and log-loss against scikit-learn, torchmetrics and hand-made cases; intervals against known spread."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from reelmill.models.metrics import clicks
from reelmill.storage.errors import InputError


def drawn(seed: int, size: int = 400, levels: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties, and labels that follow them."""
    rng = np.random.default_rng(seed)
    p = rng.integers(1, levels, size) / levels
    return p, (rng.random(size) < p).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn_and_torchmetrics(seed: int) -> None:
    p, label = drawn(seed)
    assert clicks.auc(p, label) == pytest.approx(roc_auc_score(label, p), abs=1e-12)
    theirs = binary_auroc(torch.from_numpy(p), torch.from_numpy(label).int())
    assert clicks.auc(p, label) == pytest.approx(float(theirs), abs=1e-6)
    assert clicks.log_loss(p, label) == pytest.approx(sklearn_log_loss(label, p), abs=1e-12)


def test_by_hand() -> None:
    """Clicks at .9 and .4, none at .4 and .1: of four pairs three are right and one is tied."""
    p, label = np.array([0.9, 0.4, 0.4, 0.1]), np.array([1, 1, 0, 0])
    assert clicks.auc(p, label) == 3.5 / 4
    assert clicks.log_loss(p, label) == pytest.approx(-np.log([0.9, 0.4, 0.6, 0.9]).mean())
    assert clicks.auc(np.zeros(4), label) == 0.5
    assert clicks.log_loss(np.array([0.0, 1.0]), np.array([1, 0])) == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_a_resample_is_the_metric_of_what_was_drawn() -> None:
    """Weights do what copies would."""
    p, label = drawn(0, 60)
    user = np.arange(60) // 6
    draws = clicks.resample({"a": p, "b": p**2}, label, user, np.random.default_rng(1), 5)
    rng = np.random.default_rng(1)
    for one in draws:
        rows = np.concatenate([np.flatnonzero(user == u) for u in rng.integers(10, size=10)])
        assert one[0] == pytest.approx([clicks.auc(p[rows], label[rows]), clicks.log_loss(p[rows], label[rows])])
    np.testing.assert_allclose(draws[:, 0, 0], draws[:, 1, 0])  # one order, one AUC


def test_the_interval_covers() -> None:
    """Of 60 samples about 57 intervals of 95 % hold the true AUC."""
    truth = clicks.auc(*drawn(999, 200_000))
    held = 0
    for seed in range(60):
        p, label = drawn(seed, 300)
        draws = clicks.resample({"a": p}, label, np.arange(300), np.random.default_rng(seed), 200)
        low, high = np.quantile(draws[:, 0, 0], [0.025, 0.975])
        held += low <= truth <= high
    assert 52 <= held <= 60


def test_users_that_lean_one_way_widen_the_interval() -> None:
    p, label = drawn(0, 400)
    copies, user = np.tile(p, 10), np.tile(np.arange(400), 10)  # everyone says all ten times
    draws = clicks.resample({"a": copies}, np.tile(label, 10), user, np.random.default_rng(0), 300)
    alone = clicks.resample({"a": p}, label, np.arange(400), np.random.default_rng(0), 300)
    assert draws[:, 0, 0].std() == pytest.approx(alone[:, 0, 0].std(), rel=1e-6)


def test_the_table() -> None:
    p, label = drawn(3)
    rows = clicks.table({"random": np.full(400, label.mean()), "model": p}, label, np.arange(400), seed=0)
    assert [(r["row"], r["metric"], r["better"]) for r in rows] == [
        ("random", "auc", "higher"), ("random", "log_loss", "lower"),
        ("model", "auc", "higher"), ("model", "log_loss", "lower"),
    ]  # fmt: skip
    chance, _, model, loss = rows
    assert (chance["mean"], chance["low"], chance["high"], chance["minus_random_high"]) == (0.5, 0.5, 0.5, 0.0)
    assert model["cases"] == 400
    assert model["minus_random"] == pytest.approx(model["mean"] - 0.5)
    assert 0 < model["minus_random_low"] < model["minus_random"] < model["minus_random_high"]
    assert loss["minus_random_high"] < 0


def test_a_draw_of_one_kind_is_left_out() -> None:
    p, label = np.array([0.9, 0.2, 0.3]), np.array([1, 0, 0])
    rows = clicks.table({"random": np.full(3, 1 / 3), "model": p}, label, np.arange(3), seed=0)
    assert all(np.isfinite([row["low"], row["high"]]).all() for row in rows)


def test_rates_lean_towards_the_share_of_all() -> None:
    label, group = np.array([1.0, 1, 0, 0]), np.array([0, 0, 1, -1])
    np.testing.assert_allclose(clicks.rates(label, group, 3, strength=2), [(2 + 1) / 4, (0 + 1) / 3, 0.5])


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        ([0.1, 0.2], [1, 1], "2 of 2 examples are clicks"),
        ([0.1, float("nan")], [1, 0], "diverged"),
        ([0.1], [1, 0], "1 scores for 2 examples"),
    ],
)
def test_bad_scores_are_named(score: list[float], label: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        clicks.auc(np.array(score), np.array(label))
