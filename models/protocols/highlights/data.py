"""Highlights that users marked, and the steps of each video: tables and one store of a root as arrays.

**A step** is one row of the store: a 16-frame window in a store of windows, a whole segment in a store of segments.
Steps are sorted by video, then by time. All rows of a video are steps, for a gap must stay a gap to the encoder;
*usable* are those that were decoded and are finite.

**A highlight** is an event of kind `highlight`. Its steps are those of which it covers more than half; if there is
none, the one that it covers best, of equal ones the first. The same holds for the segments of the grid, the cells of
the 5-second version.

What is left out is counted, in `HighlightCounts`.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.accounts import Account, unused_kinds
from reelmill.models.data.arrays import codes, video_key
from reelmill.models.data.events import chronological
from reelmill.models.data.vectors import VectorDigest, blocks, fingerprint, usable
from reelmill.models.protocols.highlights.cells import Cells
from reelmill.storage import FeatureStore, Root, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA
from reelmill.storage.place import AnyRoot


@dataclass(frozen=True)
class HighlightCounts:
    """What was read and what was left out."""

    users: int
    """Users with a highlight on a usable step."""
    users_without_highlights: int
    """Users of whom no highlight falls on a usable step."""
    users_ordered_by_row: int
    """Users of whom some highlight has no time, so that the order is that of the source's rows."""
    videos: int
    """Videos with a highlight and a usable step."""
    videos_without_features: int
    """Videos with a highlight, but without a usable step."""
    steps: int
    """Rows of these videos."""
    steps_without_data: int
    """… of these, those that the store calls empty: nothing could be decoded."""
    steps_not_finite: int
    """… and those that hold NaN or infinity although the store calls them valid."""
    highlights: int
    """Highlights that are used."""
    highlights_without_range: int
    """Events that do not say from when to when, or stop before they start."""
    highlights_repeated: int
    """Events that say again what another one of the user said."""
    highlights_without_features: int
    """Highlights in videos without features."""
    highlights_off_steps: int
    """Highlights beyond the steps of their video, or on steps none of which is usable."""
    highlights_of_one_step: int
    """Highlights too short to cover half of any step; they have the one that they cover best."""
    positives: int
    """(user, usable step) pairs."""
    videos_without_grid: int
    """Videos without rows in the table of segments; they are left out of the 5-second version."""


@dataclass(frozen=True)
class Highlights:
    """Highlights and steps. Users, videos and steps are numbers; the lists hold their ids."""

    users: list[str]
    """M user ids, sorted."""
    videos: list[str]
    """V video ids, sorted."""
    steps: Cells
    """S steps."""
    row: np.ndarray
    """(S,) int64, place of each step in its video's block."""
    usable: np.ndarray
    """(S,) bool."""
    grid: Cells
    """The segments of the videos."""
    user: np.ndarray
    """(H,) int64; highlights are sorted by user, the newest first."""
    video: np.ndarray
    """(H,) int64."""
    first: np.ndarray
    """(H,) int64, the first step of each; its steps are neighbours."""
    size: np.ndarray
    """(H,) int64, how many."""
    began: np.ndarray
    """(H,) int64, when the user began the video: how many of their highlights are older than its oldest one."""
    positive: np.ndarray
    """(P,) int64, user · S + step, ascending: usable steps of the user's highlights."""
    grid_positive: np.ndarray
    """(G,) int64, user · len(grid) + segment, ascending."""
    store: FeatureStore
    """Where the vectors are."""
    counts: HighlightCounts
    fingerprint: str
    """64 hex digits: hash of the spec, the ids, all arrays and all vectors."""
    accounts: tuple[Account, ...] = ()
    """Where the rows of the tables went."""

    @property
    def stores(self) -> dict[str, str]:
        return {"steps": self.store.spec.name}

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return self.store.spec.dim

    def vectors(self, steps: np.ndarray) -> np.ndarray:
        """Features (n, dim) float32 of steps (n,), read a video at a time; those of steps that are not usable may hold
        anything."""
        out = np.empty((len(steps), self.dim), np.float32)
        number = np.searchsorted(self.steps.start, steps, side="right") - 1
        order = np.argsort(number, kind="stable")
        edges = np.flatnonzero(np.diff(number[order], prepend=-1, append=-1))
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            here = order[a:b]
            out[here] = self.store.read(self.videos[number[here[0]]]).features[self.row[steps[here]]]
        return out


def load(root: AnyRoot, steps: str) -> Highlights:
    """Read events, segments and one store of steps. Raises InputError if the store has other rows than windows or
    segments, no highlight is marked, or the features are missing or constant."""
    root = Root(root)
    tables, store = root.tables, root.features.open(steps)
    if store.spec.rows not in ("window", "segment"):
        raise InputError(
            f"store {store.spec.name} has one row a {store.spec.rows}; this model reads steps: a store with one row a "
            "window (reelmill extract with c3d, layers: [conv5] and rows: window) or a segment"
        )
    columns = ["user_id", "video_id", "kind", "time", "start_ms", "stop_ms", "last_video", "source", "source_row"]
    events = tables.read("events", columns)
    every, events = events, events.filter(pc.equal(events["kind"], "highlight"))
    if not events.num_rows:
        raise InputError(f"{root} has no event of kind highlight; ingest some first (reelmill ingest)")
    users, videos = (sorted(pc.unique(events[name]).to_pylist()) for name in ("user_id", "video_id"))
    read = _Steps.read(store, videos)
    ranges, lost = Ranges.read(events, users, read.videos)
    of, step = read.cells.covered(ranges.video, ranges.start_ms, ranges.stop_ms)
    works = np.bincount(of, weights=read.usable[step], minlength=len(ranges)) > 0
    if not works.any():
        raise InputError(f"no highlight of {root} falls on a step with features in {store.spec.name}; extract it first")
    names = [users[u] for u in np.unique(ranges.user[works]).tolist()]
    lost["highlights_off_steps"] = int((~works).sum())
    lost["users_without_highlights"] = len(users) - len(names)
    lost["videos_without_features"] = len(videos) - len(read.videos)
    ranges = ranges.of_users(works)
    of, step = (np.cumsum(works) - 1)[of[works[of]]], step[works[of]]
    first, size, short = extent(ranges, of, step, read.cells)
    good = read.usable[step]
    positive = np.unique(ranges.user[of[good]] * len(read.cells) + step[good])
    grid = _grid(tables, read.videos)
    of, segment = grid.covered(ranges.video, ranges.start_ms, ranges.stop_ms)
    newest = np.lexsort((-np.arange(len(ranges)), ranges.user))
    own = (ranges.user, ranges.video, first, size, ranges.began())
    user, video, first, size, began = (column[newest] for column in own)
    arrays = (user, video, first, size, began, positive, np.unique(ranges.user[of] * len(grid) + segment))
    counts = HighlightCounts(
        users=len(names),
        videos=len(read.videos),
        steps=len(read.cells),
        steps_without_data=read.empty,
        steps_not_finite=read.not_finite,
        highlights=len(ranges),
        highlights_of_one_step=short,
        positives=len(positive),
        videos_without_grid=int((np.diff(grid.start) == 0).sum()),
        **lost,
    )
    cells = [a for c in (read.cells, grid) for a in (c.start, c.start_ms, c.stop_ms)]
    print_ = fingerprint(store, [*names, "", *read.videos], [*cells, read.row, read.usable, *arrays], read.digest)
    rules = ("highlights_without_range", "highlights_without_features", "highlights_repeated", "highlights_off_steps")
    left_out = {**{rule: lost[rule] for rule in rules}, **unused_kinds(every, ["highlight"])}
    account = Account("events", every.num_rows, len(ranges), left_out)
    return Highlights(
        names, read.videos, read.cells, read.row, read.usable, grid, *arrays, store, counts, print_, (account,)
    )


@dataclass(frozen=True)
class _Steps:
    """The rows of the videos that have a usable one."""

    videos: list[str]
    cells: Cells
    row: np.ndarray
    usable: np.ndarray
    empty: int
    not_finite: int
    digest: bytes

    @classmethod
    def read(cls, store: FeatureStore, videos: list[str]) -> "_Steps":
        """Pass once over the blocks of the videos. Raises InputError."""
        found: list[tuple[np.ndarray, ...]] = []
        names: list[str] = []
        empty = not_finite = 0
        digest = VectorDigest(store.spec.dim)
        for place, block in blocks(store, videos):
            valid, good = block.mask > NO_DATA, usable(block)
            if not good.any():
                continue
            row = np.argsort(block.start_ms, kind="stable")
            empty, not_finite = empty + int((~valid).sum()), not_finite + int((valid & ~good).sum())
            digest.add(block.features[row][good[row]])
            names.append(videos[place])
            found.append((row, block.start_ms[row], block.stop_ms[row], good[row]))
        if not found:
            raise InputError(f"{store.spec.name} holds no usable step of a video with highlights; extract them first")
        if digest.constant:
            raise InputError(f"features of {store.spec.name} are constant: every step has one vector; extract anew")
        start = np.cumsum([0, *(len(columns[0]) for columns in found)])
        row, start_ms, stop_ms, good = (np.concatenate(column) for column in zip(*found, strict=True))
        return cls(names, Cells(start, start_ms, stop_ms), row, good, empty, not_finite, digest.digest())


@dataclass(frozen=True)
class Ranges:
    """Distinct highlights, by user, the oldest first."""

    user: np.ndarray
    video: np.ndarray
    start_ms: np.ndarray
    stop_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def read(cls, events: pa.Table, users: list[str], videos: list[str]) -> tuple["Ranges", dict[str, int]]:
        """Out of all highlights, and what was lost.

        In the order of time where all highlights of the user have one, else of the source's rows; the video that the
        source marks as the last comes last."""
        ranged = pc.fill_null(pc.greater(events["stop_ms"], events["start_ms"]), False).to_numpy(zero_copy_only=False)
        user, video = codes(events["user_id"], users), codes(events["video_id"], videos)
        kept = ranged & (video >= 0)
        events, user, video = events.filter(pa.array(kept)), user[kept], video[kept]
        order, by_row = chronological(events, user, user * len(videos) + video, len(users))
        times = (events[name].to_numpy().astype(np.int64) for name in ("start_ms", "stop_ms"))
        table = np.column_stack([user, video, *times])[order]
        once = np.sort(np.unique(table, axis=0, return_index=True)[1])
        lost = {
            "highlights_without_range": int((~ranged).sum()),
            "highlights_without_features": int((ranged & ~kept).sum()),
            "highlights_repeated": len(table) - len(once),
            "users_ordered_by_row": int(by_row.sum()),
        }
        return cls(*np.ascontiguousarray(table[once].T)), lost

    def of_users(self, kept: np.ndarray) -> "Ranges":
        """Those that are kept (n,) bool, with their users numbered anew."""
        user = np.unique(self.user[kept], return_inverse=True)[1]
        return Ranges(user, self.video[kept], self.start_ms[kept], self.stop_ms[kept])

    def began(self) -> np.ndarray:
        """(n,) how many of the user's are older than the oldest one of the same video."""
        place = np.arange(len(self)) - np.searchsorted(self.user, self.user)
        pair = np.column_stack([self.user, self.video])
        _, first, of = np.unique(pair, axis=0, return_index=True, return_inverse=True)
        return place[first][of]


def extent(ranges: Ranges, of: np.ndarray, step: np.ndarray, cells: Cells) -> tuple[np.ndarray, np.ndarray, int]:
    """First step and number of steps (n,) of each range, by its pairs with steps; how many cover no step by half."""
    each = np.arange(len(ranges))
    first, last = step[np.searchsorted(of, each)], step[np.searchsorted(of, each, side="right") - 1]
    covered = np.minimum(ranges.stop_ms, cells.stop_ms[first]) - np.maximum(ranges.start_ms, cells.start_ms[first])
    short = 2 * covered <= cells.stop_ms[first] - cells.start_ms[first]
    return first, last - first + 1, int(short.sum())


def _grid(tables: Tables, videos: list[str]) -> Cells:
    """The segments of these videos."""
    table = tables.read("segments", ["video_id", "start_ms", "stop_ms"])
    video = codes(table["video_id"], videos)
    order = np.argsort(video_key(video, table["start_ms"].to_numpy()), kind="stable")
    order = order[video[order] >= 0]
    start = np.searchsorted(video[order], np.arange(len(videos) + 1))
    return Cells(start, *(table[name].to_numpy().astype(np.int64)[order] for name in ("start_ms", "stop_ms")))
