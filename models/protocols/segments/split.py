"""The splits of TransGRec. That of the paper (§4.1): the last video of each user who has enough of them is the test; a
tenth of the other positives validates; the rest trains. Edges of validation and test are not in the graph.

A case ranks one video's segments for one user. In a test case the candidates are every usable segment
of the video and the user's positives are relevant. In a validation case the user's training positives of that video are
no candidates, since the model was trained on them.

Where the items are whole videos and came with a split (`given`), a case ranks all videos that no
training user touched: what TransGRec is for, at the level of videos.
"""

from dataclasses import dataclass

import numpy as np

from reelmill.models.data.cases import Cases
from reelmill.models.data.events import PARTS
from reelmill.models.protocols.segments.data import Interactions
from reelmill.storage.errors import InputError


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
    """Users with at least `least_videos` distinct videos give their last one to the test. Raises InputError if no user
    has so many, if nothing is left to train on, or if the items are whole videos."""
    if data.store.spec.rows == "video":
        raise InputError(
            f"store {data.store.spec.name} has one row a video, so that a list of one video's segments has one place; "
            "say split: given, or train on a store of segments"
        )
    seen = np.bincount(data.view_user, minlength=len(data.users))
    last = np.cumsum(seen) - 1
    tested = np.flatnonzero(seen >= least_videos)
    if not len(tested):
        raise InputError(
            f"no user has {least_videos} videos with features (the most is {seen.max()}), so there is nothing to test "
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


def given(data: Interactions) -> Split:
    """Positives of the source `train` train. Of the sources `validation` and `test` those count whose item no training
    user touched: the list holds all such items, and a user's are relevant. Raises InputError if there are none."""
    train, *rest = (np.flatnonzero(data.positive_part == number) for number in range(len(PARTS)))
    if not len(train):
        raise InputError(
            f"split given: none of {len(data.positive_part)} positives comes from a source called {PARTS[0]!r}; ingest "
            f"whole videos under the names {', '.join(PARTS)}, or say split: last_video"
        )
    cold = np.setdiff1d(np.arange(len(data.segment_video)), data.positive_segment[train])
    parts = [part[np.isin(data.positive_segment[part], cold)] for part in rest]
    validation, test = (_lists(data, part, cold) for part in parts)
    if not len(test):
        raise InputError(
            f"split given: training touched every item of {len(rest[1])} test positives; use vbpr for those"
        )
    trained = np.bincount(data.positive_user[train], minlength=len(data.users)) > 0
    counts = {
        "train_positives": len(train),
        "cold_items": len(cold),
        "positives_of_no_part": int((data.positive_part < 0).sum()),
        **{f"{name}_positives": len(part) for name, part in zip(PARTS[1:], parts, strict=True)},
        **{
            f"{name}_positives_of_known_items": len(every) - len(part)
            for name, every, part in zip(PARTS[1:], rest, parts, strict=True)
        },
        "validation_cases": len(validation),
        "test_cases": len(test),
        "test_users_without_training": int((~trained[test.user]).sum()),
    }
    return Split(train, validation, test, counts)


def _lists(data: Interactions, positive: np.ndarray, cold: np.ndarray) -> Cases:
    """A list of all cold items for each user of the positives (n,), which are relevant."""
    user, case = np.unique(data.positive_user[positive], return_inverse=True)
    relevant = np.zeros((len(user), len(cold)), bool)
    relevant[case, np.searchsorted(cold, data.positive_segment[positive])] = True
    start = np.arange(len(user) + 1) * len(cold)
    return Cases(user, np.full(len(user), -1), start, np.tile(cold, len(user)), relevant.ravel())


def cases(data: Interactions, pair: np.ndarray) -> tuple[Cases, int]:
    """Test cases of (user, video) pairs user · V + video (n,): all segments, of which all positives of the user are
    relevant; and how many pairs were dropped because nothing is."""
    return _cases(data, pair, np.arange(len(data.positive_user)), np.zeros(0, np.int64))


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
