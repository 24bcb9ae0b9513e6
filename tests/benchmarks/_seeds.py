"""Figures over seeds: means, and differences on the same seeds with Student's 95 % interval. And fits without show."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import stats

from reelmill.models import fit

train = partial(fit.train, device="cpu", pictures=False, logger="none")
"""Neither log nor pictures: they take longer than many a fit on a planted world."""


def mean(values: Sequence[float]) -> str:
    """Mean and half the width of its interval."""
    return f"{np.mean(values):.4f} ± {half(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def difference(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> str:
    """Mean of one − other and its interval; both stand by seed."""
    apart = np.subtract(one, other)
    if len(apart) == 1:
        return f"{apart[0]:+.4f}"
    return f"{apart.mean():+.4f} [{apart.mean() - half(apart):+.4f}, {apart.mean() + half(apart):+.4f}]"


def half(values: Sequence[float] | np.ndarray) -> float:
    """Half the width of the interval."""
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(f"\n| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
