"""Test cases (all steps of a user's videos), their 5-second version, the histories of users, and the pieces to train
on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reelmill.models.data.arrays import spans, video_key
from reelmill.models.data.cases import Cases
from reelmill.models.metrics.ranking import highlight_ap, rank
from reelmill.models.metrics.table import value
from reelmill.models.metrics.untrained import DRAWS
from reelmill.models.protocols.highlights.data import Highlights

STEP_METRICS = ("highlight_ap", "map", "nmsd", "hr@1", "hr@5", "ndcg@5")
"""The paper's mAP is the mean of `highlight_ap`."""
GRID_METRICS = ("highlight_ap_5s", "map_5s")
"""The same of segments of five seconds, as some rivals in table 1 have them."""


def step_cases(data: Highlights, users: np.ndarray, tested: Literal["last", "every"] = "every") -> Cases:
    """A case for each video with a highlight of one of these users (n,), by user, or for the last one of each: the
    candidates are all usable steps of the video (`segment` has their numbers), relevant are the user's."""
    chosen = np.isin(data.user, users)
    pair, once = np.unique(data.user[chosen] * len(data.videos) + data.video[chosen], return_index=True)
    user, video = np.divmod(pair, len(data.videos))
    if tested == "last":
        order = np.lexsort((data.began[chosen][once], user))
        last = order[np.diff(user[order], append=-1) != 0]
        user, video = user[last], video[last]
    size = np.diff(data.steps.start)[video]
    case, step = np.repeat(np.arange(len(user)), size), spans(data.steps.start[video], size)
    case, step = case[data.usable[step]], step[data.usable[step]]
    start = np.searchsorted(case, np.arange(len(user) + 1))
    return Cases(user, video, start, step, np.isin(user[case] * len(data.steps) + step, data.positive))


@dataclass(frozen=True)
class Pooled:
    """The 5-second version of cases: a segment has the mean score of the usable steps whose middle lies in it. Segments
    without such a step are no candidates; cases without a relevant segment are left out."""

    cases: Cases
    place: np.ndarray
    """(T,) the candidate here that each candidate of the cases belongs to, or −1."""

    @classmethod
    def of(cls, data: Highlights, cases: Cases) -> "Pooled":
        """Of cases of steps."""
        if not len(data.grid):
            none = np.zeros(0, np.int64)
            return cls(Cases(none, none, np.zeros(1, np.int64), none, none > 0), np.full(len(cases.segment), -1))
        middle = (data.steps.start_ms + data.steps.stop_ms) // 2
        begin = video_key(data.grid.video, data.grid.start_ms)
        home = np.maximum(np.searchsorted(begin, video_key(data.steps.video, middle), side="right") - 1, 0)
        inside = (data.grid.video[home] == data.steps.video) & (data.grid.start_ms[home] <= middle)
        home = np.where(inside & (middle < data.grid.stop_ms[home]), home, -1)[cases.segment]
        case = np.repeat(np.arange(len(cases)), np.diff(cases.start))
        key = case * len(data.grid) + home
        cells = np.unique(key[home >= 0])
        case, segment = np.divmod(cells, len(data.grid))
        relevant = np.isin(cases.user[case] * len(data.grid) + segment, data.grid_positive)
        alive = np.bincount(case, weights=relevant, minlength=len(cases)) > 0
        kept = alive[case]
        cells, segment, relevant = cells[kept], segment[kept], relevant[kept]
        case = (np.cumsum(alive) - 1)[case[kept]]
        start = np.searchsorted(case, np.arange(alive.sum() + 1))
        at = np.searchsorted(cells, key)
        at[at == len(cells)] = 0
        place = np.where((home >= 0) & np.isin(key, cells), at, -1)
        return cls(Cases(cases.user[alive], cases.video[alive], start, segment, relevant), place)

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Mean (T',) of scores (T,)."""
        kept, size = self.place >= 0, len(self.cases.segment)
        total = np.bincount(self.place[kept], weights=scores[kept], minlength=size)
        return total / np.bincount(self.place[kept], minlength=size)


class Past:
    """The history of a user for a video: past highlights, never one of that video."""

    def __init__(self, data: Highlights, past: Literal["others", "earlier"], most: int) -> None:
        """At most `most` for each, the newest; −1 takes all."""
        self.data, self.past, self.most = data, past, most
        self.start = np.searchsorted(data.user, np.arange(len(data.users) + 1))
        self.pair, once = np.unique(data.user * len(data.videos) + data.video, return_index=True)
        self.began = data.began[once]

    def of(self, user: np.ndarray, video: np.ndarray) -> np.ndarray:
        """Numbers of highlights (n, longest) of users and videos (n,), the newest first, padded with −1. The user must
        have a highlight in the video."""
        size = np.diff(self.start)[user]
        case, number = np.repeat(np.arange(len(user)), size), spans(self.start[user], size)
        known = self.data.video[number] != video[case]
        if self.past == "earlier":
            began = self.began[np.searchsorted(self.pair, user * len(self.data.videos) + video)]
            age = self.start[user + 1][case] - 1 - number  # how many of the user's are older
            known &= age < began[case]
        case, number = case[known], number[known]
        place = np.arange(len(case)) - np.searchsorted(case, case)
        if self.most >= 0:
            few = place < self.most
            case, number, place = case[few], number[few], place[few]
        out = np.full((len(user), int(place.max(initial=-1)) + 1), -1)
        out[case, place] = number
        return out


class Pieces:
    """Pieces of at most `window` steps that hold a highlight of one of these users (n,), by user; users without one
    have none."""

    def __init__(self, data: Highlights, users: np.ndarray, window: int) -> None:
        user, step = np.divmod(data.positive, len(data.steps))
        user, step = (column[np.isin(user, users)] for column in (user, step))
        begin = data.steps.start[data.steps.video[step]]
        pair = np.unique(user * len(data.steps) + begin + (step - begin) // window * window)
        self.user, self.first = np.divmod(pair, len(data.steps))
        self.video = data.steps.video[self.first]
        self.size = np.minimum(data.steps.start[self.video + 1] - self.first, window)
        self.start = np.flatnonzero(np.diff(self.user, prepend=-1, append=-1))

    def of(self, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """User, video, first step and number of steps of pieces (n,), each (n,)."""
        return self.user[pieces], self.video[pieces], self.first[pieces], self.size[pieces]


def measured(scores: np.ndarray, cases: Cases, seed: int, metrics: tuple[str, ...] = STEP_METRICS) -> np.ndarray:
    """Metrics (users, metrics) of scores (T,): the mean over each user's cases, which are neighbours.

    Highlight AP with ties is the mean over some random orders of equal scores: its exact expected value takes time that
    grows with the third power of a video's length."""
    ranking = rank(scores, cases.relevant, cases.start)
    columns = []
    for metric in metrics:
        exact = not metric.startswith("highlight_ap")
        columns.append(value(metric, ranking) if exact else _untied(scores, cases, seed))
    return by_user(np.stack(columns, axis=1), cases)


def by_user(values: np.ndarray, cases: Cases) -> np.ndarray:
    """Means (users, …) of values (C, …) over each user's cases, which are neighbours."""
    first = np.flatnonzero(np.diff(cases.user, prepend=-1))
    size = np.diff(np.append(first, len(cases)))
    return np.add.reduceat(values, first) / size.reshape(-1, *[1] * (values.ndim - 1))


def _untied(scores: np.ndarray, cases: Cases, seed: int) -> np.ndarray:
    rng, draws = np.random.default_rng(seed), []
    tied = bool((rank(scores, cases.relevant, cases.start).size > 1).any())
    for _ in range(DRAWS if tied else 1):
        order = np.lexsort((rng.random(len(scores)), scores))
        place = np.empty(len(scores))
        place[order] = np.arange(len(scores))
        draws.append(highlight_ap(rank(place, cases.relevant, cases.start)))
    return np.mean(draws, axis=0)
