"""From scores to tables: one row for each ranking and metric, as plain data for the report and the command line.

A row has its mean over the cases, a 95 % bootstrap interval and the number of cases; and two differences on the same
cases, each with its own (paired) interval: to the random ranking, and to the **best floor**, which is the ranking
without training (`untrained.FLOORS`) with the best mean on these very cases.

The verdict on a model is the interval of the difference to the best floor: `better` or `worse` if it leaves out 0, else
`equal`. The floor is chosen on the test, as no floor has anything to fit: the best of several is luckier than it is
good, so that this choice can only be to the disadvantage of the model.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from reelmill.models.data.cases import Cases
from reelmill.models.metrics.ranking import average_precision, permuted_nmsd, rank, resampled
from reelmill.models.metrics.table import PUBLISHED, SEGMENTS, find, measure
from reelmill.models.metrics.untrained import FLOORS

Derived: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Means (…, metrics) → another figure (…)."""
SPARSITY = {"[0, 8)": (0, 8), "[8, 16)": (8, 16), "[16, ∞)": (16, 1 << 62)}
"""User groups by number of training positives (TransGRec, §4.3)."""
SPARSITY_METRICS = ("map", "hr@5", "ndcg@5")
ENDS = (0.025, 0.975)
"""Quantiles of a 95 % interval."""


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
    """`rows` over all cases and `by_sparsity` over groups of users, and the values of each case (C, metrics), `values`.
    `scores`: {name: draws of (T,)}, with the row `random`; `history`: (C,) training positives of each case's user."""
    values = {name: _measure(cases, draws, metrics) for name, draws in scores.items()}
    grouped = [name for name in SPARSITY_METRICS if name in metrics]
    few = [metrics.index(name) for name in grouped]
    by_sparsity = []
    for group, (low, high) in SPARSITY.items():
        here = (history >= low) & (history < high)
        if here.any():
            table = rows({name: v[here][:, few] for name, v in values.items()}, grouped, seed)
            by_sparsity += [{"group": group, **row} for row in table]
    found = rows(values, metrics, seed)
    if "nmsd" in metrics:
        place, rng = metrics.index("nmsd"), np.random.default_rng(seed)
        chance = {name: null_nmsd(cases, draws[0], rng) for name, draws in scores.items() if len(draws) == 1}
        found = against_null(found, {name: v[:, place] for name, v in values.items()}, chance, seed)
        published = {name: _measure(cases, draws, PUBLISHED) for name, draws in scores.items()}
        # Equal scores as one group are no chance: what a random order without ties is expected to give is.
        published["random"] = _measure(cases, scores["random"], [name.removesuffix("_grouped") for name in PUBLISHED])
        found += rows(published, PUBLISHED, seed)
        values = {name: np.concatenate([v, published[name]], axis=1) for name, v in values.items()}
        metrics = [*metrics, *PUBLISHED]
    return {"rows": found, "by_sparsity": by_sparsity, "values": (metrics, values)}


def _measure(cases: Cases, draws: Sequence[np.ndarray], metrics: Sequence[str]) -> np.ndarray:
    """(C, metrics), mean over the draws."""
    measured = [np.stack(list(measure(s, cases.relevant, cases.start, metrics).values()), axis=1) for s in draws]
    return np.mean(measured, axis=0)


def rows(
    values: Mapping[str, np.ndarray], metrics: Sequence[str], seed: int, derived: Mapping[str, Derived] | None = None
) -> list[dict[str, Any]]:
    """One dict for each ranking and metric, of values {name: (C, metrics)} with the row `random`. Every ranking meets
    the same resamples. Raises InputError for a metric that `table` does not have.

    `derived`: metrics that are functions of the means, such as the F of mean precision and mean recall."""
    every, derived = np.stack(list(values.values()), axis=1), derived or {}

    def whole(means: np.ndarray) -> np.ndarray:
        """(…, rankings, metrics) of all metrics."""
        return np.concatenate([means, *(of(means)[..., None] for of in derived.values())], axis=-1)

    mean, drawn = whole(every.mean(axis=0)), whole(resampled(every, np.random.default_rng(seed)))
    return compared(list(values), [*metrics, *derived], mean, drawn, len(every))


def compared(
    names: Sequence[str],
    metrics: Sequence[str],
    mean: np.ndarray,
    drawn: np.ndarray,
    cases: int,
    ends: tuple[float, float] = ENDS,
) -> list[dict[str, Any]]:
    """The rows of means (rankings, metrics) and of resampled means (resamples, rankings, metrics), in which a draw may
    be NaN."""
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile
    low, high = quantile(drawn, ends, axis=0)
    random, floors = names.index("random"), [place for place, name in enumerate(names) if name in FLOORS]
    sign = np.array([-1 if find(metric).better == "lower" else 1 for metric in metrics])
    best = np.array(floors)[(sign * mean[floors]).argmax(axis=0)]
    each = np.arange(len(metrics))
    over = {"random": (mean[random], drawn[:, random]), "floor": (mean[best, each], drawn[:, best, each])}
    found = []
    differences = {what: (mean - m, *quantile(drawn - d[:, None], ends, axis=0)) for what, (m, d) in over.items()}
    for r, name in enumerate(names):
        for m, metric in enumerate(metrics):
            row: dict[str, Any] = {
                "row": name,
                "metric": metric,
                "better": find(metric).better,
                "mean": float(mean[r, m]),
                "low": float(low[r, m]),
                "high": float(high[r, m]),
                "cases": cases,
            }
            for what, (difference, least, most) in differences.items():
                row |= _difference(f"minus_{what}", difference[r, m], least[r, m], most[r, m])
            row["best_floor"] = names[best[m]]
            if r not in floors:
                row["verdict"] = verdict(row, "minus_floor")
            found.append(row)
    return found


def verdict(row: Mapping[str, Any], difference: str) -> str:
    """`better` or `worse` if the interval of a difference leaves out 0, else `equal`."""
    low, high = row[f"{difference}_low"], row[f"{difference}_high"]
    if row["better"] == "lower":
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "equal"


def null_nmsd(cases: Cases, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(C,) nMSD of scores (T,) under permuted labels."""
    return permuted_nmsd(rank(scores, cases.relevant, cases.start), rng)


def against_null(
    found: list[dict[str, Any]], values: Mapping[str, np.ndarray], null: Mapping[str, np.ndarray], seed: int
) -> list[dict[str, Any]]:
    """The same rows, those of nMSD with `null`, what the ranking's own scores get under permuted labels, and the paired
    difference to it. A model is `better` only if it is better than this as well. `values` and `null`: {name: (C,)}."""
    out = []
    for row in found:
        if row["metric"] == "nmsd" and row["row"] in null:
            both = np.stack([values[row["row"]], null[row["row"]]], axis=1)
            drawn = resampled(both, np.random.default_rng(seed))
            low, high = np.quantile(drawn[:, 0] - drawn[:, 1], ENDS)
            own, without = both.mean(axis=0)
            row = {**row, "null": float(without), **_difference("minus_null", own - without, low, high)}
            if row.get("verdict") == "better" and verdict(row, "minus_null") != "better":
                row["verdict"] = "equal"
        out.append(row)
    return out


def _difference(name: str, mean: float, low: float, high: float) -> dict[str, float]:
    return {name: float(mean), f"{name}_low": float(low), f"{name}_high": float(high)}
