"""The split of TransGRec (§4.1): the last video of each user who has enough of them is the test; a tenth of the other
positives validates; the rest trains. Edges of validation and test are not in the graph.

A case asks for the ranking of one video's segments for one user. In a test case the candidates are every usable segment
of the video and the user's positives are relevant. In a validation case the user's training positives of that video are
no candidates, since the model was told them.
"""

from dataclasses import dataclass

import numpy as np

from models.data import Interactions
from storage.errors import InputError


@dataclass(frozen=True)
class Cases:
    """C cases with T candidates in all."""

    user: np.ndarray
    """(C,) int64."""
    video: np.ndarray
    """(C,) int64."""
    start: np.ndarray
    """(C + 1,) int64: case c holds candidates start[c] … start[c + 1] − 1."""
    segment: np.ndarray
    """(T,) int64 candidate."""
    relevant: np.ndarray
    """(T,) bool."""

    def __len__(self) -> int:
        return len(self.user)

    @property
    def candidate_user(self) -> np.ndarray:
        """(T,) user of each candidate's case."""
        return np.repeat(self.user, np.diff(self.start))


@dataclass(frozen=True)
class Split:
    """Numbers of positives, and the cases made of them."""

    train: np.ndarray
    """(P',) int64 numbers of positives, ascending."""
    validation: Cases
    test: Cases
    counts: dict[str, int]


def last_video(
    data: Interactions, rng: np.random.Generator, least_videos: int = 5, validation_share: float = 0.1
) -> Split:
    """Users with at least `least_videos` distinct videos give their last one to the test. Raises InputError if nobody
    has so many, or if nothing is left to train on."""
    seen = np.bincount(data.view_user, minlength=len(data.users))
    last = np.cumsum(seen) - 1
    tested = np.flatnonzero(seen >= least_videos)
    if not len(tested):
        raise InputError(
            f"nobody has {least_videos} videos with features (the most is {seen.max()}), so there is nothing to test "
            "on; extract more videos or lower least_videos"
        )
    pairs = len(data.videos)
    held = data.view_user[last[tested]] * pairs + data.view_video[last[tested]]
    pair = data.positive_user * pairs + data.segment_video[data.positive_segment]
    in_test = np.isin(pair, held)
    rest = rng.permutation(np.flatnonzero(~in_test))
    size = round(validation_share * len(rest))
    validation, train = np.sort(rest[:size]), np.sort(rest[size:])
    if not len(train):
        raise InputError("no positive is left to train on; lower validation_share or ingest more events")
    none = np.zeros(0, np.int64)
    test, empty = _cases(data, held, np.flatnonzero(in_test), none)
    if not len(test):
        raise InputError(f"none of the {empty} test videos has a positive of its user; ingest more events")
    check, _ = _cases(data, np.unique(pair[validation]), validation, train)
    trained = np.bincount(data.positive_user[train], minlength=len(data.users)) > 0
    known = np.unique(data.positive_segment[train])
    counts = {
        "train_positives": len(train),
        "validation_positives": len(validation),
        "test_positives": int(in_test.sum()),
        "validation_cases": len(check),
        "test_cases": len(test),
        "test_candidates": len(test.segment),
        "test_pairs_without_positives": empty,
        "test_users_without_training": int((~trained[test.user]).sum()),
        "test_candidates_with_edges": int(np.isin(test.segment, known).sum()),
    }
    return Split(train, check, test, counts)


def _cases(data: Interactions, pair: np.ndarray, positive: np.ndarray, known: np.ndarray) -> tuple[Cases, int]:
    """Cases of (user, video) pairs (n,), relevant where a number in `positive` says so, without the candidates that
    `known` positives name; and how many pairs were dropped because nothing is relevant."""
    user, video = np.divmod(pair, len(data.videos))
    size = np.diff(data.video_start)[video]
    case = np.repeat(np.arange(len(pair)), size)
    place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    segment = data.video_start[video][case] + place
    key = user[case] * len(data.segment_video) + segment

    def named(positives: np.ndarray) -> np.ndarray:
        return np.isin(key, data.positive_user[positives] * len(data.segment_video) + data.positive_segment[positives])

    relevant, candidate = named(positive), ~named(known)
    alive = np.bincount(case, weights=relevant, minlength=len(pair)) > 0
    kept = candidate & alive[case]
    size = np.bincount(case[kept], minlength=len(pair))[alive]
    start = np.concatenate([[0], np.cumsum(size)])
    return Cases(user[alive], video[alive], start, segment[kept], relevant[kept]), int((~alive).sum())
