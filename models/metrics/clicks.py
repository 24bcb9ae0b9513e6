"""Metrics of click-through prediction: T examples, each with a predicted probability and a label (click or not).

Unlike the metrics of rankings (`metrics`), AUC is no mean over cases. Its interval is a bootstrap over users: examples
of one user are correlated, and drawn one by one would give too narrow an interval.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reelmill.models.metrics.evaluate import compared
from reelmill.storage.errors import InputError

METRICS = ("auc", "log_loss")
"""In the order of columns."""
EXAMPLE = ("probability", "log_loss", "label")
"""What is kept of each example."""
CLIP = 1e-7
"""A probability counts as at least so far from 0 and 1 in the log-loss."""
ENDS = ((1 - 0.95) / 2, (1 + 0.95) / 2)
"""Quantiles of the interval; the last bits are those of all runs so far."""
RESAMPLES = 1000
"""Of the bootstrap."""


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a click scores above a non-click, ties counting half. Scores and labels
    (T,). Raises InputError unless there are both."""
    _check(score, label)
    return float(_Sorted(score).auc(label.astype(np.float64), np.ones(len(label))))


def log_loss(probability: np.ndarray, label: np.ndarray) -> float:
    """Eq. 12 of paper 003: mean of −(y log ŷ + (1 − y) log(1 − ŷ)), with ŷ within CLIP … 1 − CLIP. (T,) each."""
    return float(_loss(probability, label).mean())


def measure(probability: Mapping[str, np.ndarray], label: np.ndarray) -> np.ndarray:
    """(predictors, metrics) of {predictor: (T,)}."""
    return np.array([[auc(p, label), log_loss(p, label)] for p in probability.values()])


def resample(
    probability: Mapping[str, np.ndarray],
    label: np.ndarray,
    user: np.ndarray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """(resamples, predictors, metrics): users are drawn with replacement, each with all their examples, and every
    predictor meets the same draws, so that differences between them are paired. A draw without both kinds of label is
    NaN. `user` (T,) are numbers from 0."""
    label = label.astype(np.float64)
    users = int(user.max()) + 1
    ranked = [(_Sorted(p), _loss(p, label)) for p in probability.values()]
    out = np.empty((resamples, len(ranked), len(METRICS)))
    for draw in range(resamples):
        weight = np.bincount(rng.integers(users, size=users), minlength=users)[user].astype(np.float64)
        total, clicks = weight.sum(), weight @ label
        if not 0 < clicks < total:
            out[draw] = np.nan
            continue
        for p, (order, loss) in enumerate(ranked):
            out[draw, p] = order.auc(weight * label, weight), weight @ loss / total
    return out


def table(
    probability: Mapping[str, np.ndarray], label: np.ndarray, user: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """One dict for each predictor and metric, in the form of `evaluate.rows`; one of the predictors is `random`."""
    for p in probability.values():
        _check(p, label)
    user = np.unique(user, return_inverse=True)[1]
    draws = resample(probability, label, user, np.random.default_rng(seed))
    return compared(list(probability), METRICS, measure(probability, label), draws, len(label), ENDS)


def example_values(probability: Mapping[str, np.ndarray], label: np.ndarray) -> dict[str, np.ndarray]:
    """{predictor: (T, len(EXAMPLE))} of each example; AUC is no mean over examples, but a function of these."""
    return {name: np.stack([p, _loss(p, label), label], axis=1) for name, p in probability.items()}


def rates(label: np.ndarray, group: np.ndarray, groups: int, strength: float = 10.0) -> np.ndarray:
    """(groups,) share of clicks among the examples of each group, drawn towards the share among all by `strength`
    examples more: (clicks + strength · base) / (examples + strength). Of label and group (T,); −1 is no group."""
    base, known = label.mean(), group >= 0
    clicks = np.bincount(group[known], label[known], minlength=groups)
    return (clicks + strength * base) / (np.bincount(group[known], minlength=groups) + strength)


class _Sorted:
    """Scores in order, sorted once for many weights."""

    def __init__(self, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        step = np.diff(score[self.order])
        self.begin = np.concatenate([[0], np.flatnonzero(step) + 1]) if step.any() else np.zeros(1, np.int64)

    def auc(self, clicks: np.ndarray, weight: np.ndarray) -> float:
        """Σ over tie groups, from below, of their clicks times (non-clicks below + half of their own), over all pairs;
        `clicks` (T,) are the weights of the clicks."""
        here = np.add.reduceat(clicks[self.order], self.begin)
        none = np.add.reduceat(weight[self.order], self.begin) - here
        return here @ (np.cumsum(none) - none / 2) / (here.sum() * none.sum())


def _loss(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    p = np.clip(probability.astype(np.float64), CLIP, 1 - CLIP)
    return -np.where(label > 0, np.log(p), np.log1p(-p))


def _check(score: np.ndarray, label: np.ndarray) -> None:
    if len(score) != len(label) or not np.isfinite(score).all():
        raise InputError(
            f"{len(score)} scores for {len(label)} examples, or one is not finite: the model diverged; lower the "
            "learning rate or check the features"
        )
    if not 0 < np.count_nonzero(label) < len(label):
        raise InputError(f"{np.count_nonzero(label)} of {len(label)} examples are clicks: AUC needs both kinds")
