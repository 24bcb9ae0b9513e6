"""Who rated which item, the frames of each item, and who liked which frame: tables and one store of a root as arrays.

**What counts as a rating.** Every event of kind `rating`, whatever its value (the paper's data are implicit), but a 0
of a log of 0 and 1. A root
without any such event takes `highlight` and `watch` events in their place: who marks or watches a video chose it.

**What counts as a frame.** Every usable row of the store: a sampled frame in a store of windows, a whole segment in a
store of segments. A frame is on screen from its start to the start of the next one; the last one until its stop, or as
long as the one before it if that is later.

**What counts as a frame like.** Every `frame_like` event whose start falls into a frame. A root without any such event
takes its labels in their place: who likes a segment likes each frame that starts in it.

What is left out is counted, in `RatingCounts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.accounts import Account, unused_kinds
from reelmill.models.data.arrays import codes, spans, video_key
from reelmill.models.data.events import counted_kinds, interactions, rating_values
from reelmill.models.data.scale import Scale
from reelmill.models.data.spread import Spread
from reelmill.models.data.vectors import VectorDigest, blocks, fingerprint, usable
from reelmill.storage import FeatureStore, Root, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA
from reelmill.storage.place import AnyRoot


@dataclass(frozen=True)
class RatingCounts:
    """What was read and what was left out."""

    rating_events: int
    """Events that count as ratings."""
    ratings_repeated: int
    """… of these, those whose user and item another one names."""
    items_without_frames: int
    """Rated items of which the store has no usable frame; they are rated without the visual part."""
    frames: int
    """Usable frames of rated items."""
    frames_without_data: int
    """Rows of rated items that the store calls empty: nothing could be decoded."""
    frames_not_finite: int
    """Rows that hold NaN or infinity although the store calls them valid."""
    frame_likes: int
    """(user, frame) pairs, of rated items."""
    frame_likes_from_labels: int
    """1 if they are labels of segments, since the root has no likes of frames."""
    frame_likes_of_strangers: int
    """Likes of a user or item without any rating."""
    frame_likes_off_frame: int
    """Likes at a time without a usable frame, and labels whose segment is in no table or has no usable frame."""
    frame_likes_repeated: int
    """Likes of a (user, frame) pair beyond the first."""
    ratings_that_say_no: int = 0
    """Ratings of 0 and below of a log that has none but −1, 0 and 1."""


@dataclass(frozen=True)
class Ratings:
    """Ratings and likes. Users, items and frames are numbers here; frames are sorted by item, then by time."""

    users: list[str]
    """User ids, sorted."""
    items: list[str]
    """Video ids, sorted."""
    user: np.ndarray
    """(P,) int64; ratings are distinct pairs, by user, then by item."""
    item: np.ndarray
    """(P,) int64."""
    frame_start: np.ndarray
    """(items + 1,) int64: item i has frames frame_start[i] … frame_start[i + 1] − 1, or none."""
    frame_row: np.ndarray
    """(L,) int64, place of each frame in its item's block."""
    like_user: np.ndarray
    """(K,) int64; likes are distinct pairs, by user, then by frame."""
    like_frame: np.ndarray
    """(K,) int64."""
    store: FeatureStore
    """Where the vectors are."""
    counts: RatingCounts
    fingerprint: str
    """64 hex digits: hash of the spec, the ids, all arrays and all vectors."""
    accounts: tuple[Account, ...] = ()
    """Where the rows of the tables went."""

    @property
    def stores(self) -> dict[str, str]:
        return {"frames": self.store.spec.name}

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return self.store.spec.dim

    @cached_property
    def frame_count(self) -> np.ndarray:
        """(items,) int64, frames of each item."""
        return np.diff(self.frame_start)

    def vectors(self, items: np.ndarray) -> Iterator[np.ndarray]:
        """Features (frames, dim) float32 of each item of (n,) that has any, in that order."""
        for item in items[self.frame_count[items] > 0].tolist():
            rows = self.frame_row[self.frame_start[item] : self.frame_start[item + 1]]
            yield self.store.read(self.items[item]).features[rows].astype(np.float32, copy=False)

    def spread(self, items: np.ndarray) -> Spread:
        """Mean vector of the frames of items (n,), and their distances from it. Raises InputError if they have no
        frame."""
        if not self.frame_count[items].any():
            raise InputError(f"no item that is trained on has a frame in {self.store.spec.name}; extract them first")
        return Spread.of(lambda: self.vectors(items), self.dim)


def load(root: AnyRoot, frames: str) -> Ratings:
    """Read events, labels and one store of frames. Raises InputError if the store has other rows than frames, there is
    no rating, or the frames are missing or constant."""
    root = Root(root)
    tables, store = root.tables, root.features.open(frames)
    if store.spec.rows not in ("window", "segment"):
        raise InputError(
            f"store {store.spec.name} has one row a {store.spec.rows}; this model reads frames: a store with one row a "
            "window (reelmill extract with vgg19 and rows: window) or a segment"
        )
    events = tables.read("events", ["user_id", "video_id", "kind", "start_ms", "value"])
    every, by_rating = interactions(root, events)
    rated = every.filter(pa.array(Scale.chosen(rating_values(every)))) if by_rating else every
    users, items = (sorted(pc.unique(rated[name]).to_pylist()) for name in ("user_id", "video_id"))
    pair = np.unique(codes(rated["user_id"], users) * len(items) + codes(rated["video_id"], items))
    user, item = np.divmod(pair, len(items))
    read = _Frames.read(store, items)
    likes, from_labels = _likes(tables, events)
    like_user, like_frame, lost = _place(likes, users, items, read)
    start = np.concatenate([[0], np.cumsum(np.bincount(read.item[read.usable], minlength=len(items)))])
    counts = RatingCounts(
        rating_events=rated.num_rows,
        ratings_repeated=rated.num_rows - len(pair),
        items_without_frames=int((np.diff(start) == 0).sum()),
        frames=int(start[-1]),
        frames_without_data=read.empty,
        frames_not_finite=read.not_finite,
        frame_likes=len(like_user),
        frame_likes_from_labels=int(from_labels),
        ratings_that_say_no=every.num_rows - rated.num_rows,
        **lost,
    )
    arrays = (user, item, start, read.row[read.usable], like_user, like_frame)
    print_ = fingerprint(store, [*users, "", *items], arrays, read.digest)
    accounts = _accounts(events, counts, by_rating, likes.num_rows, len(pair))
    return Ratings(users, items, *arrays, store, counts, print_, accounts)


def _accounts(events: pa.Table, counts: RatingCounts, by_rating: bool, likes: int, ratings: int) -> tuple[Account, ...]:
    """Of the events, and of the labels where these are the likes of frames."""
    lost = {name: getattr(counts, name) for name in ("frame_likes_of_strangers", "frame_likes_off_frame")}
    kinds = [*counted_kinds(by_rating)]
    left_out = {name: getattr(counts, name) for name in ("ratings_repeated", "ratings_that_say_no")}
    if counts.frame_likes_from_labels or not likes:
        account = Account("events", events.num_rows, ratings, {**left_out, **unused_kinds(events, kinds)})
        return account, Account("labels", likes, likes - sum(lost.values()), lost)
    lost["frame_likes_repeated"] = counts.frame_likes_repeated
    left_out |= {**lost, **unused_kinds(events, [*kinds, "frame_like"])}
    return (Account("events", events.num_rows, ratings + counts.frame_likes, left_out),)


@dataclass(frozen=True)
class _Frames:
    """All rows of the rated items, (R,) by item, then by time; not all of them are usable."""

    item: np.ndarray
    row: np.ndarray
    start_ms: np.ndarray
    stop_ms: np.ndarray
    """Where the next one begins, or the last one ends."""
    usable: np.ndarray
    empty: int
    not_finite: int
    digest: bytes

    @classmethod
    def read(cls, store: FeatureStore, items: list[str]) -> "_Frames":
        """Pass once over the blocks of the items. Raises InputError."""
        found: list[tuple[np.ndarray, ...]] = []
        empty = not_finite = 0
        digest = VectorDigest(store.spec.dim)
        for number, block in blocks(store, items):
            if not len(block):
                continue
            row = np.argsort(block.start_ms, kind="stable")
            valid, good = block.mask > NO_DATA, usable(block)
            empty, not_finite = empty + int((~valid).sum()), not_finite + int((valid & ~good).sum())
            start, stop = on_screen(block.start_ms[row], block.stop_ms[row])
            found.append((np.full(len(row), number), row, start, stop, good[row]))
            digest.add(block.features[row][good[row]])
        item, row, start_ms, stop_ms, good = (
            (np.concatenate(c) for c in zip(*found, strict=True)) if found else [np.zeros(0, bool)] * 5
        )
        if not good.any():
            raise InputError(f"{store.spec.name} holds no usable frame of a rated item; extract them first")
        if digest.constant:
            raise InputError(f"features of {store.spec.name} are constant: every frame has one vector; extract anew")
        return cls(item, row, start_ms, stop_ms, good, empty, not_finite, digest.digest())


def on_screen(start_ms: np.ndarray, stop_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From when to when each frame (L,) of an item, in order of time, is on screen: until the next one starts; the last
    one until its own stop, or as long as the one before it if that is later."""
    last = max(stop_ms[-1], 2 * start_ms[-1] - start_ms[-2] if len(start_ms) > 1 else 0)
    return start_ms, np.append(start_ms[1:], last)


def _likes(tables: Tables, events: pa.Table) -> tuple[pa.Table, bool]:
    """user_id, video_id, start_ms, stop_ms of what was liked, and whether that is labels. A like of a frame stops where
    it starts; a label without its segment has neither."""
    liked = events.filter(pc.equal(events["kind"], "frame_like"))
    if liked.num_rows:
        return liked.select(["user_id", "video_id", "start_ms"]).append_column("stop_ms", liked["start_ms"]), False
    labels = tables.read("labels", ["user_id", "video_id", "segment_index"])
    grid = tables.read("segments", ["video_id", "segment_index", "start_ms", "stop_ms"])
    keys = ["video_id", "segment_index"]
    return labels.join(grid, keys, join_type="left outer").drop_columns(["segment_index"]), bool(labels.num_rows)


def _place(
    likes: pa.Table, users: list[str], items: list[str], frames: _Frames
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """User and usable frame (K,) of the distinct likes, and what was lost on the way.

    A moment belongs to the frame on screen then, a range to the frames that start in it."""
    user, item = codes(likes["user_id"], users), codes(likes["video_id"], items)
    start, stop = (pc.fill_null(likes[name], -1).to_numpy().astype(np.int64) for name in ("start_ms", "stop_ms"))
    known = (user >= 0) & (item >= 0)
    dated = known & (start >= 0)
    user, item, start, stop = (a[dated] for a in (user, item, start, stop))
    keys = video_key(frames.item, frames.start_ms)
    instant = start == stop
    at = np.searchsorted(keys, video_key(item, start), side="right") - 1  # the last frame that starts no later
    here = (at >= 0) & (frames.item[at] == item) & (start < frames.stop_ms[at])
    first = np.where(instant, at, np.searchsorted(keys, video_key(item, start), side="left"))
    beyond = np.where(instant, at + here, np.searchsorted(keys, video_key(item, stop), side="left"))
    size = beyond - first
    like = np.repeat(np.arange(len(size)), size)
    frame = spans(first, size)
    like, frame = like[frames.usable[frame]], frame[frames.usable[frame]]
    number = (np.cumsum(frames.usable) - 1)[frame]
    total = int(frames.usable.sum())
    pair = np.unique(user[like] * total + number)
    lost = {
        "frame_likes_of_strangers": int((~known).sum()),
        "frame_likes_off_frame": int(known.sum()) - len(np.unique(like)),
        "frame_likes_repeated": len(like) - len(pair),
    }
    return *np.divmod(pair, total), lost
