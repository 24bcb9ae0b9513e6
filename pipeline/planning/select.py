"""Which videos are processed, and in which order.

A filter (`where`) can use the columns of `videos` and `media`, and two counts: `labels` (liked segments) and `events`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.planning import where
from reelmill.storage import Tables
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.place import AnyRoot

Order = Literal["labels", "newest", "shortest", "any"]


@dataclass(frozen=True)
class Selection:
    """Which videos, and in which order."""

    since: str | None = None
    """Only videos whose media was fetched (or first seen) at this time or later: a day or a time, UTC."""
    where: str | None = None
    """Only videos that match this filter, see `pipeline/planning/where.py`."""
    limit: int | None = None
    """At most this many of the videos with missing features."""
    order: Order = "labels"
    """labels: most labels first, then most events, then newest; newest: last fetched first; shortest: least to decode
    first; any: by id, where each process starts at a random place, for several processes on one root."""
    videos: frozenset[str] | None = None
    """Only these."""

    def __post_init__(self) -> None:
        """Raises InputError for a value that is not valid."""
        if self.order not in get_args(Order):
            raise InputError(f"--order {self.order!r}: {nearest(self.order, list(get_args(Order)))}")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: at least one video; leave it out for all of them")
        if self.since is not None:
            try:
                where.time_of(self.since)
            except ValueError:
                raise InputError(f"--since {self.since!r}: give a day or a time, such as 2026-01-31") from None

    @property
    def narrows(self) -> bool:
        """Whether it excludes any video."""
        return any(value is not None for value in (self.since, self.where, self.limit, self.videos))


def ordered(root: AnyRoot, selection: Selection) -> list[str]:
    """Ids of the selected videos, by priority; `limit` is not applied, since only the caller knows which features are
    missing. Raises InputError for a filter that is not valid."""
    facts = described(root)
    if selection.where is not None:
        facts = where.chosen(facts, selection.where)
    if selection.since is not None:
        since = pa.scalar(where.time_of(selection.since), facts["fetched_at"].type)
        facts = facts.filter(pc.greater_equal(facts["fetched_at"], since))
    keys = {
        "labels": [("labels", "descending"), ("events", "descending"), ("fetched_at", "descending")],
        "newest": [("fetched_at", "descending")],
        "shortest": [("duration_ms", "ascending")],
        "any": [],
    }[selection.order]
    return facts.sort_by([*keys, ("video_id", "ascending")])["video_id"].to_pylist()


def described(root: AnyRoot) -> pa.Table:
    """A row for each video that has an address or media: the columns of `videos` and `media`, `labels`, `events`."""
    tables = Tables(root)
    videos, media = tables.read("videos"), tables.read("media")
    ids = pa.chunked_array([*videos["video_id"].chunks, *media["video_id"].chunks], pa.string()).unique()
    columns: dict[str, pa.Array] = {"video_id": ids}
    for table in (videos, media):
        rows = pc.index_in(ids, value_set=table["video_id"])
        columns |= {name: table[name].take(rows) for name in table.column_names if name not in columns}
    for name in ("labels", "events"):
        counts = tables.read(name, ["video_id"])["video_id"].value_counts()
        found = counts.field("counts").take(pc.index_in(ids, value_set=counts.field("values")))
        columns[name] = pc.fill_null(found, 0)
    return pa.table(columns)


def first(selection: Selection, order: Sequence[str], lacking: Iterable[str]) -> list[str]:
    """The videos to process, in order, of those with missing features; at most as many as the selection allows."""
    wanted = set(lacking)
    if selection.videos is not None:
        wanted &= selection.videos
    return [video for video in order if video in wanted][: selection.limit]
