"""Watches and posts of users with their times, and the content of each video: tables and up to five stores of a root as
arrays.

**What counts as a watch.** Every event of kind `watch`, `rating` or `highlight`, whatever its value: a user who rates a
video or marks a part of it has watched it; but not a rating of 0 in a log of 0 and 1. It needs a time. Of several
watches of one video by one user the first counts.

**Roles.** `frames` and `clips` (one row a segment, window or video; the mean of a video's usable rows counts), `text`
and `topics` (one row a video), `posts` (one row a post). A role whose name is empty is left out: its part of the
picture is not there, the text is nothing but zeros, there are no topics.

**Topics** are taken as the stores have them. Their encoders (`reelmill.extractors.text.topics`,
`reelmill.extractors.text.twitter_lda`) were fitted on all text that the root had by then, of all users and months. They
do not use watches, and a post's topic depends on itself and its author's earlier posts only; but the words of a topic
can be learned from text that was written after the training months. To rule this out, ingest only the earlier text into
a root, fit its encoders there, and let them encode the rest (`reelmill extract` fits again on request only).

What is left out is counted, in `HistoryCounts`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.accounts import Account, unused_kinds
from reelmill.models.data.arrays import codes
from reelmill.models.data.events import rating_values
from reelmill.models.data.scale import Scale
from reelmill.models.data.vectors import blocks, usable
from reelmill.storage import FeatureStore, Root
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA
from reelmill.storage.place import AnyRoot

KINDS = ("watch", "rating", "highlight")
"""Kinds of events that are watches."""
OF_VIDEO, OF_POST = ("segment", "window", "video"), ("post",)


@dataclass(frozen=True)
class HistoryCounts:
    """What was read and what was left out."""

    watch_events: int
    """Events that count as watches."""
    watches_undated: int
    """… of these, those without a time."""
    watches_repeated: int
    """… and those of a video that the user had watched before."""
    watches: int
    """(user, video) pairs."""
    videos_without_picture: int
    """Watched videos of which neither frames nor clips have a usable row."""
    videos_without_frames: int
    videos_without_clips: int
    videos_without_text: int
    videos_without_topics: int
    rows_not_finite: int
    """Rows that hold NaN or infinity although their store calls them valid."""
    posts: int
    """Posts with a topic, of users who watched something."""
    posts_without_topic: int
    """Posts of such users without a word that their store's encoder knows."""
    posts_not_in_store: int
    """Posts of such users that are in the tables with a time, and not in the store."""
    posts_undated: int
    """Posts of such users without a time, which no store holds."""
    posts_of_strangers: int
    """Posts of users who watched nothing: there is nothing to learn from, and nothing to test."""
    users_without_posts: int
    users_without_watches: int
    """Users with posts or events, but without a dated watch."""
    ratings_that_say_no: int = 0
    """Ratings of 0 and below of a log that has none but −1, 0 and 1."""


@dataclass(frozen=True)
class Histories:
    """Events and contents. Users and videos are numbers; the lists hold their ids."""

    users: list[str]
    """Ids of the users who watched something, sorted."""
    videos: list[str]
    """N ids of the watched videos, sorted."""
    watch_user: np.ndarray
    """(W,) int64; watches are sorted by user, then by time, then by video."""
    watch_video: np.ndarray
    """(W,) int64."""
    watch_ms: np.ndarray
    """(W,) int64 milliseconds since 1970."""
    post_user: np.ndarray
    """(P,) int64; posts are sorted by user, then as the store has them, which is by time."""
    post_topic: np.ndarray
    """(P,) int64, the most probable one."""
    post_ms: np.ndarray
    """(P,) int64."""
    pictures: dict[str, np.ndarray]
    """{role: (N, ·) float32 mean of a video's usable rows, a row of NaN where it has none}, for `frames` and `clips`
    unless left out."""
    text: np.ndarray
    """(N, D_t) float32; NaN as above. (N, 1) if it is left out."""
    mixture: np.ndarray
    """(N, topics of videos) float32: rows sum to one, or are zero where unknown. (N, 0) if it is left out."""
    post_topics: int
    """How many topics of posts there are; 0 if they are left out."""
    stores: dict[str, str]
    """{role: name of its store}, without those left out."""
    counts: HistoryCounts
    fingerprint: str
    """64 hex digits: hash of the specs, the ids, all events and all contents."""
    accounts: tuple[Account, ...]
    """Where the rows of the tables went."""


def load(
    root: AnyRoot, frames: str = "", clips: str = "", text: str = "", topics: str = "", posts: str = ""
) -> Histories:
    """Read events and stores. Raises InputError if a store is of the wrong kind, there is no watch with a time, or of a
    role's features there are none."""
    root = Root(root)
    given = {"frames": frames, "clips": clips, "text": text, "topics": topics, "posts": posts}
    stores = {role: root.features.open(name) for role, name in given.items() if name}
    for role, store in stores.items():
        _check(role, store)
    events = root.tables.read("events", ["user_id", "video_id", "kind", "time", "value"])
    every = events.filter(pc.is_in(events["kind"], value_set=pa.array(KINDS)))
    watches = every.filter(pa.array(Scale.chosen(rating_values(every))))
    dated = watches.filter(pc.is_valid(watches["time"]))
    if not dated.num_rows:
        raise InputError(
            f"{root} has no event of kind {', '.join(KINDS)} with a time ({watches.num_rows} without one): what comes "
            "after what cannot be known; ingest a source that says when (reelmill ingest)"
        )
    users, videos = (sorted(pc.unique(dated[name]).to_pylist()) for name in ("user_id", "video_id"))
    watched = _first(codes(dated["user_id"], users), codes(dated["video_id"], videos), _ms(dated))
    contents, not_finite = _contents(stores, videos)
    posted, lost = _posts(stores.get("posts"), events, users)
    there = {role: np.isfinite(rows).all(axis=1) for role, rows in contents.items()}
    none = np.zeros(len(videos), bool)
    counts = HistoryCounts(
        watch_events=watches.num_rows,
        watches_undated=watches.num_rows - dated.num_rows,
        watches_repeated=dated.num_rows - len(watched[0]),
        watches=len(watched[0]),
        videos_without_picture=int((~(there.get("frames", none) | there.get("clips", none))).sum()),
        **{f"videos_without_{r}": int((~there.get(r, none)).sum()) for r in ("frames", "clips", "text", "topics")},
        rows_not_finite=not_finite,
        ratings_that_say_no=every.num_rows - watches.num_rows,
        users_without_watches=len(pc.unique(events["user_id"]).filter(_outside(pc.unique(events["user_id"]), users))),
        **lost,
    )
    arrays = (*watched, *posted, *contents.values())
    digest = _digest([*(f"{role} {s.spec.to_json()}" for role, s in stores.items()), *users, "", *videos], arrays)
    mixture = np.nan_to_num(contents.get("topics", np.zeros((len(videos), 0), np.float32)))
    return Histories(
        users, videos, *watched, *posted,
        pictures={role: contents[role] for role in ("frames", "clips") if role in contents},
        text=contents.get("text", np.full((len(videos), 1), np.nan, np.float32)),
        mixture=mixture,
        post_topics=stores["posts"].spec.dim if "posts" in stores else 0,
        stores={role: store.spec.name for role, store in stores.items()},
        counts=counts,
        fingerprint=digest,
        accounts=(_account(events, counts, "posts" in stores),),
    )  # fmt: skip


def _account(events: pa.Table, counts: HistoryCounts, reads_posts: bool) -> Account:
    """Of the events. A post is used if its store has it, whether with a topic or without."""
    left_out = {n: getattr(counts, n) for n in ("watches_undated", "watches_repeated", "ratings_that_say_no")}
    said = 0
    if reads_posts:
        left_out |= {name: getattr(counts, name) for name in ("posts_of_strangers", "posts_undated",
                                                              "posts_not_in_store")}  # fmt: skip
        posts = int(pc.sum(pc.equal(events["kind"], "post")).as_py() or 0)
        said = posts - counts.posts_of_strangers - counts.posts_undated - counts.posts_not_in_store
    left_out |= unused_kinds(events, (*KINDS, "post") if reads_posts else KINDS)
    return Account("events", events.num_rows, counts.watches + said, left_out)


def _check(role: str, store: FeatureStore) -> None:
    """Raise InputError unless the store has the rows that the role needs."""
    wanted = {"posts": OF_POST, "text": ("video",), "topics": ("video",)}.get(role, OF_VIDEO)
    if store.spec.rows not in wanted:
        raise InputError(
            f"store {store.spec.name} has one row a {store.spec.rows}; {role!r} needs one row a {' or '.join(wanted)}"
        )


def _first(user: np.ndarray, video: np.ndarray, ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, video and time of the first watch of each pair, by user, then by time, then by video."""
    order = np.lexsort((ms, video, user))
    user, video, ms = user[order], video[order], ms[order]
    new = np.ones(len(user), bool)
    new[1:] = (np.diff(user) != 0) | (np.diff(video) != 0)
    order = np.flatnonzero(new)[np.lexsort((video[new], ms[new], user[new]))]
    return user[order], video[order], ms[order]


def _contents(stores: Mapping[str, FeatureStore], videos: Sequence[str]) -> tuple[dict[str, np.ndarray], int]:
    """{role: (N, dim) float32} of all roles but posts, NaN where a video has no usable row; and how many rows were not
    finite. Raises InputError."""
    found, not_finite = {}, 0
    for role, store in stores.items():
        if role == "posts":
            continue
        found[role] = np.full((len(videos), store.spec.dim), np.nan, np.float32)
        for place, block in blocks(store, videos):
            kept = usable(block)
            not_finite += int(((block.mask > NO_DATA) & ~kept).sum())
            if kept.any():
                found[role][place] = block.features[kept].mean(axis=0, dtype=np.float64)
        there = found[role][np.isfinite(found[role]).all(axis=1)]
        if not len(there):
            raise InputError(f"{store.spec.name} holds no usable row of a watched video; extract them, or leave out "
                             f"{role!r} by an empty name")  # fmt: skip
        if role == "topics" and ((there < 0).any() or (np.abs(there.sum(axis=1) - 1) > 1e-3).any()):
            raise InputError(f"rows of {store.spec.name} are no mixtures of topics: they must be ≥ 0 and sum to 1")
    return found, not_finite


def _posts(
    store: FeatureStore | None, events: pa.Table, users: list[str]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], dict[str, int]]:
    """User, topic and time of the posts with a topic, and the counts about them."""
    said = events.filter(pc.equal(events["kind"], "post"))
    strange = _outside(said["user_id"], users)
    said = said.filter(pc.invert(strange))
    undated = said["time"].null_count
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(np.zeros(0, np.int64),) * 3]
    stored = 0
    for number, block in blocks(store, users) if store else ():
        known = usable(block)
        stored += len(block)
        topic = block.features[known].argmax(axis=1).astype(np.int64)
        found.append((np.full(len(topic), number), topic, block.start_ms[known].astype(np.int64)))
    user, topic, ms = (np.concatenate(column) for column in zip(*found, strict=True))
    return (user, topic, ms), {
        "posts": len(user),
        "posts_without_topic": stored - len(user),
        "posts_not_in_store": max(said.num_rows - undated - stored, 0) if store else 0,
        "posts_undated": undated,
        "posts_of_strangers": int(pc.sum(strange).as_py() or 0),
        "users_without_posts": len(users) - len(np.unique(user)),
    }


def _outside(names: pa.ChunkedArray, known: list[str]) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(names, value_set=pa.array(known, pa.string())))


def _ms(events: pa.Table) -> np.ndarray:
    return events["time"].cast(pa.int64()).to_numpy()


def _digest(names: Sequence[str], arrays: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256("\0".join(names).encode())
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).view(np.uint8).data)
    return sha.hexdigest()
