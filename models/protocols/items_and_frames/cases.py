"""The split of JIFR (§4) and its two tests (§4.1) as cases for `metrics.ranking`: items among unrated ones, frames of
one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reelmill.models.data.cases import Cases
from reelmill.models.data.pairs import Lists, Pairs
from reelmill.models.metrics.table import measure
from reelmill.models.protocols.items_and_frames.data import Ratings
from reelmill.storage.errors import InputError

ITEM_TOP = (5, 10, 15, 20, 30, 50)
"""Lengths K of an item list; table 2 has 15. (The axis of figure 3 did not come with its text.)"""
FRAME_TOP = (1, 2, 3, 4, 5)
"""Lengths K of a frame list (figure 4); table 2 has 3."""


@dataclass(frozen=True)
class Split:
    """Ratings in three parts. The pairs have the model's numbers: those of users and items with a training rating."""

    users: np.ndarray
    """(M,) int64, numbers in the data of the model's users."""
    items: np.ndarray
    """(N,) int64."""
    train: Pairs
    validation: Pairs
    test: Pairs
    counts: dict[str, int]


def by_pair(data: Ratings, rng: np.random.Generator, least: int, validation_share: float, test_share: float) -> Split:
    """Leave out users and items with fewer than `least` ratings, over and over until none is left, and divide the rest
    of the ratings at random. Raises InputError if there is nothing to train or to test on."""
    kept = np.ones(len(data.user), bool)
    while True:
        of_user, of_item = np.bincount(data.user[kept]), np.bincount(data.item[kept])
        again = kept.copy()
        again[kept] = (of_user[data.user[kept]] >= least) & (of_item[data.item[kept]] >= least)
        if again.sum() == kept.sum():
            break
        kept = again
    if not kept.any():
        most = [int(np.bincount(numbers).max()) for numbers in (data.user, data.item)]
        raise InputError(
            f"no users and items with {least} ratings of each other (the most of a user is {most[0]}, of an item "
            f"{most[1]}); ingest more ratings or lower least_ratings"
        )
    order = rng.permutation(np.flatnonzero(kept))
    tested, checked = (round(share * len(order)) for share in (test_share, validation_share))
    parts = [np.sort(part) for part in np.split(order, [tested, tested + checked])]
    users, items = (np.unique(numbers[parts[2]]) for numbers in (data.user, data.item))

    def numbered(part: np.ndarray) -> Pairs:
        user, item = data.user[part], data.item[part]
        seen = np.isin(user, users) & np.isin(item, items)
        return np.searchsorted(users, user[seen]), np.searchsorted(items, item[seen])

    test, validation, train = map(numbered, parts)
    if not len(test[0]):
        raise InputError(f"none of {len(order)} ratings is left to test on; ingest more, or raise test_share")
    few = [len(np.unique(n)) - len(np.unique(n[kept])) for n in (data.user, data.item)]
    counts = {
        "users": len(users),
        "items": len(items),
        "users_with_few_ratings": few[0],
        "items_with_few_ratings": few[1],
        "ratings_of_these": int((~kept).sum()),
        "users_without_training": len(np.unique(data.user[kept])) - len(users),
        "items_without_training": len(np.unique(data.item[kept])) - len(items),
        "train_ratings": len(train[0]),
        "validation_ratings": len(validation[0]),
        "validation_ratings_of_unseen": len(parts[1]) - len(validation[0]),
        "test_ratings": len(test[0]),
        "test_ratings_of_unseen": len(parts[0]) - len(test[0]),
        "train_items_without_frames": int((data.frame_count[items] == 0).sum()),
    }
    return Split(users, items, train, validation, test, counts)


@dataclass(frozen=True)
class ItemCases:
    """One case for each of m users, T candidates in all, by case."""

    start: np.ndarray
    """(m + 1,) int64."""
    item: np.ndarray
    """(T,) int64 candidate."""
    relevant: np.ndarray
    """(T,) bool."""

    def gather(self, scores: np.ndarray) -> np.ndarray:
        """Scores (T,) of the candidates, out of those of all items (m, N)."""
        return scores[np.repeat(np.arange(len(scores)), np.diff(self.start)), self.item]


def among_unrated(
    users: np.ndarray, positive: Lists, rated: Lists, items: int, count: int, rng: np.random.Generator
) -> ItemCases:
    """Cases of users (m,): all their positives, and `count` items out of 0 … items − 1 that are not `rated`, drawn
    evenly without repetition; all of those if there are fewer. Takes m × items numbers of memory."""
    lot = rng.random((len(users), items), dtype=np.float32)
    lot[rated.of(users)] = np.inf
    if count < items:
        drawn = np.argpartition(lot, count - 1, axis=1)[:, :count]
        case, place = np.nonzero(np.take_along_axis(lot, drawn, axis=1) < np.inf)
        item = drawn[case, place]
    else:
        case, item = np.nonzero(lot < np.inf)
    mine, liked = positive.of(users)
    case, item = np.concatenate([mine, case]), np.concatenate([liked, item])
    order = np.argsort(case, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(case, minlength=len(users)))])
    return ItemCases(start, item[order], (np.arange(len(case)) < len(mine))[order])


def frame_cases(data: Ratings, split: Split) -> Cases:
    """A case for each test pair with a liked frame: `segment` are the data's numbers of all frames of the item, the
    liked ones are relevant. Likes of other pairs are ignored."""
    frames, items = int(data.frame_start[-1]), len(data.items)
    user, item = split.users[split.test[0]], split.items[split.test[1]]
    liked = np.searchsorted(data.frame_start, data.like_frame, side="right") - 1
    kept = np.isin(user * items + item, data.like_user * items + liked)
    user, item = user[kept], item[kept]
    size = data.frame_count[item]
    start = np.concatenate([[0], np.cumsum(size)])
    frame = np.arange(start[-1]) - np.repeat(start[:-1] - data.frame_start[item], size)
    relevant = np.isin(np.repeat(user, size) * frames + frame, data.like_user * frames + data.like_frame)
    return Cases(split.test[0][kept], split.test[1][kept], start, frame, relevant)


def metrics(kind: str, top: Sequence[int]) -> list[str]:
    """Names of HR@K and NDCG@K of `item` or `frame` lists."""
    return [f"{kind}_{name}@{k}" for name in ("hr", "ndcg") for k in top]


def measured(scores: np.ndarray, relevant: np.ndarray, start: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Metrics (C, names) of scores (T,)."""
    return np.stack(list(measure(scores, relevant, start, names).values()), axis=1)
