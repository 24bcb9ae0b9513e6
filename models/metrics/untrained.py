"""Rankings that need no training: the floors that a model has to beat.

Each gives scores (T,) for the candidates of cases; a list of several means that its metrics are averaged over draws.
"""

import numpy as np

from reelmill.models.data.cases import Cases

FLOORS = ("random", "smooth random", "early first", "content", "most popular", "rates")
"""Names of the rows that need no training. A fit is judged against the best of them."""
DRAWS = 10
"""Draws of a random ranking whose expected value has no closed form."""
KERNEL = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
"""Weights of neighbouring segments in the smooth random ranking."""


def random(cases: Cases) -> np.ndarray:
    """Chance, exactly: equal scores, which the metrics count by expectation."""
    return np.zeros(len(cases.segment))


def smooth_random(cases: Cases, rng: np.random.Generator) -> np.ndarray:
    """Noise smoothed over time. Truths are runs of segments, and a ranking that puts neighbours together meets them
    together: at equal means its metrics differ from those of plain chance."""
    return np.convolve(rng.standard_normal(len(cases.segment)), KERNEL, mode="same")


def rows(cases: Cases, order: np.ndarray, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """The rows of every table of a video's segments, steps or frames that need no features: `early first` ranks the
    candidates by their `order` (T,) in time, which alone beats published models on some data."""
    return {
        "random": [random(cases)],
        "smooth random": [smooth_random(cases, rng) for _ in range(DRAWS)],
        "early first": [-order.astype(np.float64)],
    }
