"""The split of the Dynamic RNN (§4.1, §4.2) and the figures of its lists (§4.2)."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from reelmill.models.metrics.ranking import rank, recall
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import MONTH_MS
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.storage.errors import InputError

Events: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""User, video or topic, and time of events, each (·,) int64."""


@dataclass(frozen=True)
class Split:
    """Users to train on, to validate and to test, with the events of all of them. Users and videos have the model's
    numbers."""

    users: np.ndarray
    """(U,) int64 numbers in the data: first those who train, then those who validate, then those who test."""
    train: int
    """How many train."""
    validation: int
    """How many validate."""
    videos: np.ndarray
    """(N,) int64 numbers in the data."""
    watched: Events
    posted: Events
    moments: np.ndarray
    """(sessions − 1,) int64 milliseconds: ends of the sessions that another one follows."""
    counts: dict[str, int]


def by_user(data: Histories, settings: HistorySettings, rng: np.random.Generator) -> Split:
    """Leave out users with few videos (or posts, in the cross network), then videos with few of these users, as the
    paper does it: once. Divide the users at random. Raises InputError if there is no user to train on or to test."""
    end = settings.end_ms if settings.end_ms is not None else int(data.watch_ms.max()) + 1
    user, video, ms, early = _until(end, data.watch_user, data.watch_video, data.watch_ms)
    writer, topic, post_ms, early_posts = _until(end, data.post_user, data.post_topic, data.post_ms)
    of_user, posts = np.bincount(user, minlength=len(data.users)), np.bincount(writer, minlength=len(data.users))
    many = of_user >= settings.least_videos
    talks = posts >= settings.posts_wanted
    here = (many & talks)[user]
    common = np.bincount(video[here], minlength=len(data.videos)) >= settings.least_watchers
    kept = here & common[video]
    if not kept.any():
        raise InputError(
            f"no users with {settings.least_videos} videos that {settings.least_watchers} of them share (the most of a "
            f"user is {of_user.max()} videos and {posts.max()} posts); ingest more watches, or lower least_videos, "
            "least_watchers or least_posts"
        )
    users, videos = rng.permutation(np.unique(user[kept])), np.unique(video[kept])
    tested = round(settings.test_share * len(users))
    checked = round(settings.validation_share * (len(users) - tested))
    train = len(users) - tested - checked
    if not tested or not train:
        raise InputError(f"{len(users)} users leave {train} to train and {tested} to test; ingest more of them")
    place = np.full(len(data.users), -1)
    place[users] = np.arange(len(users))
    heard = place[writer] >= 0
    counts = {
        "users": len(users),
        "users_with_few_videos": int((~many).sum()),
        "users_with_few_posts": int((many & ~talks).sum()),
        "users_of_rare_videos_only": len(np.unique(user[here])) - len(users),
        "videos": len(videos),
        "videos_with_few_watchers": len(data.videos) - len(videos),
        "watches_after_end": early,
        "watches_of_these_users_and_videos": len(ms) - int(kept.sum()),
        "posts_after_end": early_posts,
        "posts_used": int(heard.sum()),
        "train_users": train,
        "validation_users": checked,
        "test_users": tested,
    }
    moments = end - MONTH_MS * np.arange(settings.sessions - 1, 0, -1, dtype=np.int64)
    watched = place[user[kept]], np.searchsorted(videos, video[kept]), ms[kept]
    return Split(users, train, checked, videos, watched, (place[writer[heard]], topic[heard], post_ms[heard]),
                 moments, counts)  # fmt: skip


def _until(
    end: int, user: np.ndarray, what: np.ndarray, ms: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The events before `end`, and the number of those after it."""
    kept = ms < end
    return user[kept], what[kept], ms[kept], int((~kept).sum())


def of_lists(lists: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Precision and recall (C, 2) of lists (C, k) of videos, −1 where one is short, against truth (C, N) bool:

    precision = |list ∩ truth| / k,  recall = |list ∩ truth| / |truth|."""
    hits = (np.take_along_axis(truth, lists.clip(0), axis=1) & (lists >= 0)).sum(axis=1)
    return np.stack([hits / lists.shape[1], hits / truth.sum(axis=1)], axis=1)


def of_scores(scores: np.ndarray, truth: np.ndarray, closed: np.ndarray, length: int) -> np.ndarray:
    """The same of the first `length` videos that are not closed (C, N), by falling score (C, N); equal scores count by
    expectation."""
    size = (~closed).sum(axis=1)
    ranking = rank(scores[~closed], truth[~closed], np.concatenate([[0], np.cumsum(size)]))
    found = recall(ranking, length)
    return np.stack([found * truth.sum(axis=1) / length, found], axis=1)


def f_score(means: np.ndarray) -> np.ndarray:
    """F = 2 P R / (P + R) of the means over users (…, 2) of precision and recall, 0 if both are; this, and not the mean
    of each user's F, gives the paper's columns."""
    precision, found = means[..., 0], means[..., 1]
    return 2 * precision * found / np.maximum(precision + found, 1e-12)
