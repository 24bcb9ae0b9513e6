"""From scores to tables: one row for each ranking and metric, as plain data for the report and the command line.

A row has its mean over the cases, a 95 % bootstrap interval, the number of cases, and the difference to the random
ranking on the same cases with its own (paired) interval. An interval of the difference that leaves out 0 is the claim.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from reelmill.models.data.cases import Cases
from reelmill.models.metrics.ranking import average_precision, rank, resampled
from reelmill.models.metrics.table import SEGMENTS, find, measure

Derived: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Means (…, metrics) → another figure (…)."""
SPARSITY = {"[0, 8)": (0, 8), "[8, 16)": (8, 16), "[16, ∞)": (16, 1 << 62)}
"""User groups by number of training positives (TransGRec, §4.3)."""
SPARSITY_METRICS = ("map", "hr@5", "ndcg@5")


def validation(cases: Cases, scores: np.ndarray) -> dict[str, float]:
    """Mean over the cases of the figure that decides when to stop, `map`."""
    return {"map": float(average_precision(rank(scores, cases.relevant, cases.start)).mean())}


def tables(
    cases: Cases,
    scores: Mapping[str, Sequence[np.ndarray]],
    history: np.ndarray,
    seed: int,
    metrics: Sequence[str] = SEGMENTS,
) -> dict[str, Any]:
    """`rows` over all cases and `by_sparsity` over groups of users. `scores`: {name: draws of (T,)}, with the row
    `random`; `history`: (C,) training positives of each case's user."""
    values = {name: _measure(cases, draws, metrics) for name, draws in scores.items()}
    grouped = [name for name in SPARSITY_METRICS if name in metrics]
    few = [metrics.index(name) for name in grouped]
    by_sparsity = []
    for group, (low, high) in SPARSITY.items():
        here = (history >= low) & (history < high)
        if here.any():
            table = rows({name: v[here][:, few] for name, v in values.items()}, grouped, seed)
            by_sparsity += [{"group": group, **row} for row in table]
    return {"rows": rows(values, metrics, seed), "by_sparsity": by_sparsity}


def _measure(cases: Cases, draws: Sequence[np.ndarray], metrics: Sequence[str]) -> np.ndarray:
    """(C, metrics), mean over the draws."""
    measured = [np.stack(list(measure(s, cases.relevant, cases.start, metrics).values()), axis=1) for s in draws]
    return np.mean(measured, axis=0)


def rows(
    values: dict[str, np.ndarray], metrics: Sequence[str], seed: int, derived: Mapping[str, Derived] | None = None
) -> list[dict[str, Any]]:
    """One dict for each ranking and metric, of values {name: (C, metrics)} with the row `random`. Every ranking meets
    the same resamples. Raises InputError for a metric that `table` does not have.

    `derived`: metrics that are functions of the means, such as the F of mean precision and mean recall."""
    every, derived = np.stack(list(values.values()), axis=1), derived or {}
    metrics, random = [*metrics, *derived], list(values).index("random")

    def whole(means: np.ndarray) -> np.ndarray:
        """(…, rankings, metrics) of all metrics, and their differences to random: (…, rankings, metrics, 2)."""
        means = np.concatenate([means, *(of(means)[..., None] for of in derived.values())], axis=-1)
        return np.stack([means, means - means[..., [random], :]], axis=-1)

    mean, drawn = whole(every.mean(axis=0)), whole(resampled(every, np.random.default_rng(seed)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [
        {
            "row": name,
            "metric": metric,
            "better": find(metric).better,
            "mean": float(mean[r, m, 0]),
            "low": float(low[r, m, 0]),
            "high": float(high[r, m, 0]),
            "cases": len(every),
            "minus_random": float(mean[r, m, 1]),
            "minus_random_low": float(low[r, m, 1]),
            "minus_random_high": float(high[r, m, 1]),
        }
        for r, name in enumerate(values)
        for m, metric in enumerate(metrics)
    ]
