"""Rankings that need no training. A model that does not beat them has learnt nothing worth having.

Each gives scores (T,) for the candidates of cases; a list of several means that its metrics are averaged over draws.
"""

import numpy as np

from reelmill.models.data.segments import Interactions
from reelmill.models.data.splits import Cases, Split

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


def early_first(data: Interactions, cases: Cases) -> np.ndarray:
    """The earlier the segment, the higher: on some data this alone beats published models."""
    return -data.segment_index[cases.segment].astype(np.float64)


def content(data: Interactions, split: Split) -> np.ndarray:
    """Cosine between a test candidate and the mean of what its user liked in training, after subtracting the mean over
    all of training. A user without training positives gets equal scores."""
    cases = split.test
    liked = split.train[np.isin(data.positive_user[split.train], cases.user)]
    centre, _ = data.spread(np.unique(data.positive_segment[split.train]))
    profile = np.zeros((len(data.users), data.dim), np.float32)
    if len(liked):
        user, segment = data.positive_user[liked], data.positive_segment[liked]
        first = np.flatnonzero(np.diff(user, prepend=-1))
        profile[user[first]] = np.add.reduceat(data.vectors(segment) - centre.astype(np.float32), first)
    segments, place = np.unique(cases.segment, return_inverse=True)
    vectors = data.vectors(segments) - centre.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.einsum("td,td->t", profile[cases.candidate_user], vectors[place]).astype(np.float64)


def segment_rows(data: Interactions, split: Split, seed: int) -> dict[str, list[np.ndarray]]:
    """The rows that stand in every table of ranked segments."""
    return {**blind_rows(data, split.test, seed), "content": [content(data, split)]}


def blind_rows(data: Interactions, cases: Cases, seed: int) -> dict[str, list[np.ndarray]]:
    """Those of them that need no features."""
    rng = np.random.default_rng(seed)
    return {
        "random": [random(cases)],
        "smooth random": [smooth_random(cases, rng) for _ in range(DRAWS)],
        "early first": [early_first(data, cases)],
    }


def video_rows(data: Interactions, split: Split) -> dict[str, list[np.ndarray]]:
    """The rows that stand in every table of ranked videos that training never saw. The most popular ones are not among
    them: nobody has touched any."""
    return {"random": [random(split.test)], "content": [content(data, split)]}
