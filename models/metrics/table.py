"""Every metric in one table: which direction is better, its family and its formula. A new metric is one line here.

Results name a metric by its entry here, with what it was measured on around it: `item_ndcg@15` is the `ndcg` of the
first 15 of a list of items, `highlight_ap_5s` the `highlight_ap` of segments of five seconds. Report, tables and the
trainer (for the figure that decides when to stop) read direction and formula from here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reelmill.models.metrics import ranking
from reelmill.models.metrics.ranking import Ranking, rank
from reelmill.storage.errors import InputError, nearest

NAME = re.compile(r"(?P<prefix>(?:item|frame|cold)_)?(?P<metric>[a-z_]+?)(?:@(?P<top>\d+))?(?P<suffix>_5s)?")


@dataclass(frozen=True)
class Metric:
    """One metric."""

    better: Literal["higher", "lower"]
    family: Literal["ranking", "top list", "next videos", "clicks", "classes", "blocks"]
    formula: str
    """In the notation of `ranking`: n candidates, R of them relevant, H_N relevant ones among the first N."""
    of: Callable[..., np.ndarray] | None = None
    """(ranking) or, of a top list, (ranking, N) → its value (C,) for each case. None: it is not a function of a
    ranking."""


METRICS: dict[str, Metric] = {
    "map": Metric("higher", "ranking", "AP = 1/R Σ_p rel_p · H_p / p", ranking.average_precision),
    "highlight_ap": Metric("higher", "ranking", "1/R Σ_k max_{j ≥ k} j / p_j", ranking.highlight_ap),
    "highlight_ap_grouped": Metric(
        "higher",
        "ranking",
        "the same, equal scores entering as one group, as published",
        ranking.grouped_highlight_ap,
    ),
    "highlight_ap_frames": Metric(
        "higher", "blocks", "the same over time, in blocks of five seconds, of users with a history, as published"
    ),
    "nmsd": Metric("lower", "ranking", "(D − R/2) / (n − R/2), D watched until half was seen", ranking.nmsd),
    "nmsd_grouped": Metric(
        "lower",
        "ranking",
        "the same, every candidate of the threshold's score watched, as published",
        ranking.grouped_nmsd,
    ),
    "hr": Metric("higher", "top list", "H_N / min(N, R)", ranking.hit_ratio),
    "recall": Metric("higher", "top list", "H_N / R", ranking.recall),
    "ndcg": Metric("higher", "top list", "Σ_{p ≤ N} rel_p / log2(p + 1), over its maximum", ranking.ndcg),
    "any_hit": Metric("higher", "top list", "1 if H_N ≥ 1, else 0", ranking.any_hit),
    "precision": Metric("higher", "next videos", "H_N / N"),
    "f": Metric("higher", "next videos", "2 P R / (P + R) of the means of precision and recall over users"),
    "auc": Metric("higher", "clicks", "chance that a click scores above a non-click, ties counting half"),
    "log_loss": Metric("lower", "clicks", "mean of −(y log ŷ + (1 − y) log(1 − ŷ))"),
    "hit": Metric("higher", "classes", "1 if the likeliest class is one of the video's, else 0"),
    "log_likelihood": Metric("higher", "classes", "mean of log ŷ over the video's classes"),
}
"""{name without prefix, length and suffix: metric}."""

TOP = (1, 2, 3, 4, 5)
"""Lengths N of the lists of segments (TransGRec, table 3)."""
SEGMENTS = (
    "map",
    "highlight_ap",
    "nmsd",
    *(f"{name}@{n}" for name in ("hr", "recall", "ndcg", "any_hit") for n in TOP),
)
"""What a test of ranked segments measures."""
PUBLISHED = ("highlight_ap_grouped", "nmsd_grouped")
"""What it measures beside these with the published tie rule."""
LONG = (*(f"{name}@{n}" for name in ("recall", "ndcg", "hr") for n in (10, 20)), "map")
"""What a test of lists of hundreds measures, as `full_ranking` does."""
MAIN = (
    *("map", "highlight_ap", "highlight_ap_grouped", "highlight_ap_frames", "nmsd", "f@5", "precision@5", "hr@1"),
    *("hr@3", "hr@5", "ndcg@5", "recall@5"),
)
"""What the report shows of a fit first, where the fit has it; of the first of them it draws the chart."""


def find(name: str) -> Metric:
    """The metric behind a name in results. Raises InputError."""
    return METRICS[_split(name)[0]]


def value(name: str, ranked: Ranking) -> np.ndarray:
    """The metric of this name (C,) of ranked cases. Raises InputError if it is not a function of a ranking."""
    metric, top = _split(name)
    of = METRICS[metric].of
    if of is None or (METRICS[metric].family == "top list") != (top is not None):
        raise InputError(f"metric {name!r} cannot be measured on a ranking; a top list needs its length, as in hr@5")
    return of(ranked) if top is None else of(ranked, top)


def measure(
    score: np.ndarray, relevant: np.ndarray, start: np.ndarray, names: Sequence[str] = SEGMENTS
) -> dict[str, np.ndarray]:
    """{name: (C,)} of scores (T,) and relevance (T,) of cases given by start (C + 1,)."""
    ranked = rank(score, relevant, start)
    return {name: value(name, ranked) for name in names}


def _split(name: str) -> tuple[str, int | None]:
    """Entry of the table, and length N."""
    found = NAME.fullmatch(name)
    if found is None or found["metric"] not in METRICS:
        raise InputError(f"metric {name!r}: {nearest(name, list(METRICS))}")
    return found["metric"], int(found["top"]) if found["top"] else None
