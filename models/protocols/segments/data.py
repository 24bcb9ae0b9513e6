"""Who liked which segment, read from the tables and one feature store of a root.

Rows of the tables that are left out are counted, in `Counts`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.accounts import Account, unused_kinds
from reelmill.models.data.arrays import STRIDE, codes, video_key
from reelmill.models.data.events import chronological
from reelmill.models.data.spread import Spread
from reelmill.models.data.vectors import CHUNK, VectorDigest, blocks, fingerprint, usable
from reelmill.storage import Block, FeatureStore, Root, Spec
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA
from reelmill.storage.place import AnyRoot


@dataclass(frozen=True)
class Counts:
    """What was used and what was left out."""

    users: int
    """Users with at least one positive."""
    videos: int
    """Videos that such a user touched and that have usable features."""
    segments: int
    """Segments of these videos with usable features."""
    positives: int
    """(user, segment) pairs."""
    users_without_positives: int
    """Users with events but without a label on a usable segment."""
    videos_without_features: int
    """Videos with events or labels of which no segment has usable features, or no grid."""
    segments_without_features: int
    """Segments of touched videos whose feature is missing, had no decodable frame, or is not finite."""
    segments_not_finite: int
    """… of these, those whose feature holds NaN or infinity although the store calls it valid."""
    labels_without_features: int
    """Labels on such segments or videos."""
    labels_repeated: int
    """Labels that say again what another one said."""
    views_without_event: int
    """(user, video) pairs that have a label but no event to date them; taken as the user's oldest."""
    users_ordered_by_row: int
    """Users of whom some event has no time, so that the order is that of the source's rows."""


@dataclass(frozen=True)
class Interactions:
    """Positives and the order of views. Users, videos and segments are numbers; the lists hold their ids."""

    users: list[str]
    """M user ids, sorted."""
    videos: list[str]
    """V video ids, sorted."""
    segment_video: np.ndarray
    """(N,) int64, video of each segment; segments are sorted by video, then by index."""
    segment_index: np.ndarray
    """(N,) int64, place of the segment in its video's grid."""
    positive_user: np.ndarray
    """(P,) int64; positives are sorted by user, then by segment."""
    positive_segment: np.ndarray
    """(P,) int64."""
    positive_part: np.ndarray
    """(P,) int64: place in `splits.PARTS` of the source that names the positive; −1 where a source has another name, or
    labels have none."""
    view_user: np.ndarray
    """(H,) int64; views are the distinct (user, video) pairs, by user, then oldest first."""
    view_video: np.ndarray
    """(H,) int64."""
    store: FeatureStore
    """Where the vectors are."""
    rows: np.ndarray
    """(N,) int64, row of each segment in the store."""
    counts: Counts
    fingerprint: str
    """64 hex digits: hash of the spec, the ids, all arrays and all vectors."""
    accounts: tuple[Account, ...] = ()
    """Where the rows of the tables went."""

    @property
    def stores(self) -> dict[str, str]:
        return {"features": self.store.spec.name}

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return self.store.spec.dim

    @cached_property
    def video_start(self) -> np.ndarray:
        """(V + 1,) int64: video v holds segments video_start[v] … video_start[v + 1] − 1."""
        return np.searchsorted(self.segment_video, np.arange(len(self.videos) + 1))

    def vectors(self, segments: np.ndarray) -> np.ndarray:
        """Features (n, dim) float32 of segments (n,), copied out of the memory map."""
        return self.store.take(self.rows[segments]).astype(np.float32, copy=False)

    def spread(self, segments: np.ndarray) -> Spread:
        """Mean vector of segments (n,), and their distances from it."""
        chunks = [segments[i : i + CHUNK] for i in range(0, len(segments), CHUNK)]
        return Spread.of(lambda: map(self.vectors, chunks), self.dim)


def load(root: AnyRoot, features: str) -> Interactions:
    """Read labels, segments, events and one store of segment features. Raises InputError if one of them is empty, the
    features are constant, or they were cut at another grid than that of the tables."""
    root = Root(root)
    store = root.features.open(features)
    if store.spec.rows != "segment":
        raise InputError(f"store {store.spec.name} has one row a {store.spec.rows}; this model needs one row a segment")
    return _interactions(root, store, partial(_Grid.read, store))


def load_labels(root: AnyRoot) -> Interactions:
    """The same of all segments that the tables have, with an empty store: for rankings that need no vector. Videos
    without a grid, whose duration is unknown, are left out."""
    root = Root(root)
    return _interactions(root, root.features.of(Spec("none", "none", 1, "segment")), _Grid.planned)


def _interactions(root: Root, store: FeatureStore, grid_of: "Callable[[pa.Table, pa.Array], _Grid]") -> Interactions:
    """Positives and views on the grid of (segments, ids of the videos touched)."""
    tables = root.tables
    labels = tables.read("labels", ["user_id", "video_id", "segment_index"])
    segments = tables.read("segments", ["video_id", "segment_index", "start_ms", "stop_ms"])
    events = tables.read("events", ["user_id", "video_id", "kind", "time", "last_video", "source", "source_row"])
    every, events = events, events.filter(pc.equal(events["kind"], "highlight"))
    if not labels.num_rows:
        raise InputError(f"{root} has no labels; ingest events and probe videos first (reelmill ingest)")

    touched = pc.unique(pa.chunked_array([*labels["video_id"].chunks, *events["video_id"].chunks], pa.string()))
    grid = grid_of(segments, touched)
    users = sorted(set(labels["user_id"].to_pylist()))
    user, number, lost, repeated = _positives(labels, users, grid)
    if not len(user):
        raise InputError(f"no label of {root} falls on a segment with features in {store.spec.name}; extract it first")
    alive, user = np.unique(user, return_inverse=True)
    users = [users[u] for u in alive]
    view_user, view_video, undated, by_row, dating = _views(events, users, grid, user, grid.video[number])
    seen = set(events["user_id"].to_pylist()) | set(labels["user_id"].to_pylist())
    counts = Counts(
        users=len(users),
        videos=len(grid.videos),
        segments=len(grid.rows),
        positives=len(user),
        users_without_positives=len(seen) - len(users),
        videos_without_features=len(touched) - len(grid.videos),
        segments_without_features=grid.missing,
        segments_not_finite=grid.not_finite,
        labels_without_features=lost,
        labels_repeated=repeated,
        views_without_event=undated,
        users_ordered_by_row=by_row,
    )
    arrays = (grid.video, grid.index, user, number, np.full(len(user), -1), view_user, view_video)
    print_ = fingerprint(store, [*users, "", *grid.videos], arrays, grid.digest, lengths=False)
    of_labels = {"labels_without_features": lost, "labels_repeated": repeated}
    of_events = {
        "events_of_other_users_or_videos": events.num_rows - dating,  # without a label, or without features
        **unused_kinds(every, ["highlight"]),
    }
    accounts = (
        Account("labels", labels.num_rows, len(user), of_labels),
        Account("events", every.num_rows, dating, of_events),
    )
    return Interactions(users, grid.videos, *arrays, store, grid.rows, counts, print_, accounts)


@dataclass(frozen=True)
class _Grid:
    """The usable segments of the touched videos."""

    videos: list[str]
    video: np.ndarray
    index: np.ndarray
    rows: np.ndarray
    missing: int
    not_finite: int
    digest: bytes

    @classmethod
    def read(cls, store: FeatureStore, segments: pa.Table, touched: pa.Array) -> "_Grid":
        """Pass once over the blocks of the touched videos; keep what is on the grid, valid and finite."""
        wanted = sorted(touched.to_pylist())
        of, index = codes(segments["video_id"], wanted), segments["segment_index"].to_numpy().astype(np.int64)
        planned, place = np.unique(np.where(of >= 0, video_key(of, index), -1), return_index=True)
        ranges = np.column_stack([segments[name].to_numpy() for name in ("start_ms", "stop_ms")])[place]
        planned, ranges = planned[planned >= 0], ranges[planned >= 0]
        found: list[np.ndarray] = []
        not_finite, digest = 0, VectorDigest(store.spec.dim)
        for code, block in blocks(store, wanted):
            key = video_key(np.full(len(block), code), block.segment_index.astype(np.int64))
            start, stop = np.searchsorted(planned, [code * STRIDE, (code + 1) * STRIDE])
            on_grid = np.isin(key, planned[start:stop])
            _check_grid(store, block, on_grid, ranges[np.searchsorted(planned, key[on_grid])])
            kept = usable(block) & on_grid
            not_finite += int(((block.mask > NO_DATA) & on_grid & ~kept).sum())
            found.append(key[kept])
            digest.add(block.features[kept])
        if not any(map(len, found)):
            raise InputError(f"{store.spec.name} holds no feature of a labelled video; extract them first")
        if digest.constant:
            raise InputError(f"features of {store.spec.name} are constant: every segment has one vector; extract anew")
        keys = np.concatenate(found)
        number, index = np.divmod(keys, STRIDE)
        alive, video = np.unique(number, return_inverse=True)
        videos = [wanted[v] for v in alive]
        rows = store.locate(zip([wanted[v] for v in number], index.tolist(), strict=True))
        missing = int(len(planned) - len(keys))
        return cls(videos, video.astype(np.int64), index, rows, missing, not_finite, digest.digest())

    @classmethod
    def planned(cls, segments: pa.Table, touched: pa.Array) -> "_Grid":
        """All segments of the touched videos that have any; there are no rows of a store."""
        wanted = sorted(touched.to_pylist())
        of, index = codes(segments["video_id"], wanted), segments["segment_index"].to_numpy().astype(np.int64)
        number, index = np.divmod(np.unique(video_key(of, index)[of >= 0]), STRIDE)
        alive, video = np.unique(number, return_inverse=True)
        rows = np.full(len(video), -1)
        return cls([wanted[v] for v in alive], video.astype(np.int64), index, rows, 0, 0, b"")

    def number(self, video: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Segment number (n,) of video numbers and indices (n,); −1 where it is not usable."""
        known, wanted = video_key(self.video, self.index), video_key(video, index)
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where((known[at] == wanted) & (video >= 0), at, -1)


def _check_grid(store: FeatureStore, block: Block, on_grid: np.ndarray, ranges: np.ndarray) -> None:
    """Raise InputError unless the rows of a block that are on the grid (rows,) bool cover what the tables say, (n, 2)
    start_ms and stop_ms: a vector of another piece of the video would pass for this segment's."""
    cut = np.column_stack([block.start_ms, block.stop_ms])[on_grid]
    wrong = np.flatnonzero((cut != ranges).any(axis=1))
    if len(wrong):
        (a, b), (start, stop) = cut[wrong[0]].tolist(), ranges[wrong[0]].tolist()
        raise InputError(
            f"store {store.spec.name} has segment {block.segment_index[on_grid][wrong[0]]} of video "
            f"{block.video_id!r} at {a}–{b} ms, the tables at {start}–{stop} ms: the grid has changed since; run "
            "`reelmill extract` with the settings of the last ingest (segments.segment_ms) and train on what it "
            "writes, or ingest with those of the store"
        )


def _positives(labels: pa.Table, users: list[str], grid: _Grid) -> tuple[np.ndarray, np.ndarray, int, int]:
    """User and segment (P,) of the distinct labels on usable segments; how many labels were lost and repeated."""
    user = codes(labels["user_id"], users)
    number = grid.number(codes(labels["video_id"], grid.videos), labels["segment_index"].to_numpy().astype(np.int64))
    kept = number >= 0
    pair = np.unique(user[kept] * len(grid.rows) + number[kept])
    user, number = np.divmod(pair, len(grid.rows))
    return user, number, int((~kept).sum()), int(kept.sum()) - len(pair)


def _views(
    events: pa.Table, users: list[str], grid: _Grid, positive_user: np.ndarray, positive_video: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int, int, int]:
    """User and video (H,) of the distinct views, by user and then in the order in which they began: by time where all
    events of the user have one, else by the source's rows; the video that the source marks as the last comes last.
    Views known from labels only come first. Then how many views have no event, how many users are ordered by row, and
    how many events date a view."""
    user, video = codes(events["user_id"], users), codes(events["video_id"], grid.videos)
    kept = (user >= 0) & (video >= 0)
    user, video = user[kept], video[kept]
    pair = user * len(grid.videos) + video
    order, by_row = chronological(events.filter(pa.array(kept)), user, pair, len(users))
    pair = pair[order]
    pair = pair[np.sort(np.unique(pair, return_index=True)[1])]
    undated = np.setdiff1d(positive_user * len(grid.videos) + positive_video, pair)
    pair = np.concatenate([undated, pair])
    user, video = np.divmod(pair, len(grid.videos))
    order = np.argsort(user, kind="stable")
    return user[order], video[order], len(undated), int(by_row.sum()), int(kept.sum())
