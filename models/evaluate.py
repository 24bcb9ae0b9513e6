"""From scores to tables: one row for each ranking and metric, as plain data for the report and the command line.

A row has its mean over the cases, a 95 % bootstrap interval, the number of cases, and the difference to the random
ranking on the same cases with its own (paired) interval. An interval of the difference that leaves out 0 is the claim.
"""

from typing import Any

import numpy as np

from models.metrics import METRICS, average_precision, interval, measure, rank
from models.splits import Cases

SPARSITY = {"[0, 8)": (0, 8), "[8, 16)": (8, 16), "[16, ∞)": (16, 1 << 62)}
"""User groups by number of training positives (TransGRec, §4.3)."""
SPARSITY_METRICS = ("map", "hr@5", "ndcg@5")


def validation(cases: Cases, scores: np.ndarray) -> dict[str, float]:
    """Mean over the cases of the figure that decides when to stop, `map`."""
    return {"map": float(average_precision(rank(scores, cases.relevant, cases.start)).mean())}


def tables(cases: Cases, scores: dict[str, list[np.ndarray]], history: np.ndarray, seed: int) -> dict[str, Any]:
    """`rows` over all cases and `by_sparsity` over groups of users. `scores`: {name: draws of (T,)}, with the row
    `random`; `history`: (C,) training positives of each case's user."""
    values = {name: _measure(cases, draws) for name, draws in scores.items()}
    names = list(METRICS)
    few = [names.index(name) for name in SPARSITY_METRICS]
    by_sparsity = []
    for group, (low, high) in SPARSITY.items():
        here = (history >= low) & (history < high)
        if here.any():
            table = _rows({name: v[here][:, few] for name, v in values.items()}, list(SPARSITY_METRICS), seed)
            by_sparsity += [{"group": group, **row} for row in table]
    return {"rows": _rows(values, names, seed), "by_sparsity": by_sparsity}


def _measure(cases: Cases, draws: list[np.ndarray]) -> np.ndarray:
    """(C, metrics), mean over the draws."""
    measured = [np.stack(list(measure(s, cases.relevant, cases.start).values()), axis=1) for s in draws]
    return np.mean(measured, axis=0)


def _rows(values: dict[str, np.ndarray], metrics: list[str], seed: int) -> list[dict[str, Any]]:
    """One dict for each ranking and metric, of values {name: (C, metrics)}. Every ranking meets the same resamples."""
    every = np.stack(list(values.values()), axis=1)
    every = np.stack([every, every - values["random"][:, None]], axis=-1)  # (C, rankings, metrics, 2)
    low, high = interval(every, np.random.default_rng(seed))
    mean = every.mean(axis=0)
    return [
        {
            "row": name,
            "metric": metric,
            "better": METRICS[metric].better,
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
