"""Repeated fits: runs that differ in their seed alone, as one line with Student's interval over seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reelmill.models.report.cards import Card


@dataclass(frozen=True)
class Repeated:
    """Fits of one recommender with several seeds. A difference is to the best floor of the same seed."""

    model: str
    home: str
    metric: str
    seeds: list[str]
    floors: str
    """Names of the best floors."""
    mean: float
    half: float
    """Half of the 95 % interval of the mean."""
    difference: float
    difference_half: float
    verdict: str
    """`better`, `worse` or `equal`."""


def find_repeats(runs: Sequence[Card]) -> list[Repeated]:
    """One for each family of several fits with a verdict that are equal but for the seed. Of runs with one seed the
    last one counts."""
    families: dict[str, dict[str, Card]] = {}
    for run in runs:
        settings = run.identity.get("settings", {})
        if "seed" in settings and run.head is not None and "minus_floor" in run.head:
            rest = {**run.identity, "settings": {k: v for k, v in settings.items() if k != "seed"}}
            family = json.dumps([run.home, rest], sort_keys=True)
            families.setdefault(family, {})[json.dumps(settings["seed"])] = run
    return [_repeated(family) for family in families.values() if len(family) > 1]


def _repeated(family: dict[str, Card]) -> Repeated:
    """`family`: {seed: run}."""
    seeds = sorted(family, key=float)
    runs = [family[seed] for seed in seeds]
    heads = [run.head for run in runs if run.head is not None]
    mean, half = interval([head["mean"] for head in heads])
    difference, difference_half = interval([head["minus_floor"] for head in heads])
    sign = -1 if heads[0].get("better") == "lower" else 1
    better = sign * difference > difference_half
    worse = sign * difference < -difference_half
    floors = ", ".join(dict.fromkeys(str(head["best_floor"]) for head in heads))
    verdict = "better" if better else "worse" if worse else "equal"
    first = runs[0]
    return Repeated(
        first.model, first.home, first.metric, seeds, floors, mean, half, difference, difference_half, verdict
    )


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean of values (n ≥ 2), and half of Student's interval of it."""
    found = np.array(values)
    half = stats.t.ppf((1 + level) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean()), float(half)
