"""Which user likes which segment: the 50 % rule.

A (user, video, segment) is a label when one record of the user covers strictly more than θ of that segment's own length
(the last segment of a video may be short). Records are not added up; the cover of the best one is kept. Everything is
computed in integers, with θ as a fraction, so exactly 50 % is never more than 50 %.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.segments import SEGMENT_MS, check_durations, count, grid
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot
from reelmill.storage.schema import SCHEMAS
from reelmill.storage.tables import Tables

KINDS = ("highlight",)
CELLS_AT_ONCE = 1 << 22
"""Records are compared with about this many segments at once; each needs some 100 bytes."""

WHOLE = 1 << 60
"""Stop of a record of a whole video, which is cut to the end of the video."""

Durations = Mapping[str, int] | tuple[Sequence[str] | pa.Array, np.ndarray | Sequence[int]]
"""Milliseconds by video_id, as a mapping or as ids and (videos,) integers."""


@dataclass(frozen=True)
class LabelCounts:
    """What `write_labels` found and wrote."""

    videos: int
    """Videos with segments."""
    measured: int
    """Those whose segments are made from a measured duration; those of the others from a claimed one."""
    segments: int
    labels: int
    users: int
    """Users with at least one label."""
    events: int
    """Records that were compared with segments."""
    events_without_duration: int
    """Records of videos without a known duration; not used yet."""
    videos_written: int
    """Videos whose segments or labels are new or changed."""
    written: bool
    """Whether the tables were changed."""


def label(
    events: pa.Table,
    durations: Durations,
    segment_ms: int = SEGMENT_MS,
    theta: float | str | Fraction = 0.5,
    kinds: Sequence[str] = KINDS,
) -> pa.Table:
    """The `labels` table of records, by video in the order of `durations`, then by segment, then by user.

    `events`: table with user_id, video_id, kind, start_ms, stop_ms. Only events of the `kinds` are used that have a
    range, or are of the whole video, and whose video has a duration; the part of a range beyond the end of the video is
    ignored. `theta`: in [0, 1), taken as the decimal number that it is written as. Raises InputError for durations that
    are not positive, or a theta out of range.
    """
    ids, duration = _arrays(durations)
    over, under = _ratio(theta, segment_ms)
    events = _ranges(events, kinds)
    events = events.filter(pc.is_in(events["video_id"], value_set=ids))
    users = events["user_id"].combine_chunks().dictionary_encode()
    video = pc.index_in(events["video_id"], value_set=ids).to_numpy()
    start = np.maximum(events["start_ms"].to_numpy(), 0)
    stop = np.minimum(events["stop_ms"].to_numpy(), duration[video])
    record, segment, covered = _covers(start, stop, duration[video], segment_ms, over, under)

    # one number for each (video, segment, user), in the order of the labels
    first = np.cumsum(np.append(0, count(duration, segment_ms)))  # where the segments of each video begin
    many = max(len(users.dictionary), 1)
    key = (first[video[record]] + segment) * many + np.asarray(users.indices, np.int64)[record]
    order = np.lexsort((-covered, key))
    best = order[np.unique(key[order], return_index=True)[1]]
    columns = [
        users.take(pa.array(record[best])).cast(pa.string()),
        ids.take(pa.array(video[record[best]])),
        segment[best].astype(np.int32),
        covered[best],
    ]
    return pa.table(columns, schema=SCHEMAS["labels"])


def _covers(
    start: np.ndarray, stop: np.ndarray, duration: np.ndarray, segment_ms: int, over: int, under: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a record and a segment of which it covers more than `over`/`under`: record, segment index, covered
    ms."""
    first = start // segment_ms
    cells = np.where(stop > start, -(-stop // segment_ms) - first, 0)
    run = np.cumsum(cells) // CELLS_AT_ONCE
    edges = np.concatenate(([0], np.flatnonzero(np.diff(run)) + 1, [len(cells)]))
    found = []
    for a, b in itertools.pairwise(edges):
        record = np.repeat(np.arange(a, b), cells[a:b])
        segment = first[record] + np.arange(len(record)) - np.repeat(np.cumsum(cells[a:b]) - cells[a:b], cells[a:b])
        begin = segment * segment_ms
        end = np.minimum(begin + segment_ms, duration[record])
        covered = np.minimum(stop[record], end) - np.maximum(start[record], begin)
        liked = covered * under > over * (end - begin)
        found.append((record[liked], segment[liked], covered[liked]))
    record, segment, covered = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return record, segment, covered


def _arrays(durations: Durations) -> tuple[pa.Array, np.ndarray]:
    if isinstance(durations, Mapping):
        durations = list(durations), list(durations.values())
    ids, duration = durations
    ids = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
    duration = np.asarray(duration, np.int64)
    check_durations(ids, duration)
    return ids, duration


def _ratio(theta: float | str | Fraction, segment_ms: int) -> tuple[int, int]:
    """θ as numerator and denominator, small enough for 64-bit products."""
    try:
        exact = Fraction(str(theta))  # through text: 0.1 is a tenth, not the nearest binary number
    except ValueError as error:
        raise InputError(f"theta {theta!r} is no number; give a share such as 0.5") from error
    if not 0 <= exact < 1:
        raise InputError(f"theta is {theta}; it must be at least 0 and below 1")
    if exact.denominator * segment_ms >= 1 << 62:
        raise InputError(f"theta {theta} has too many digits; give a share such as 0.5")
    return exact.numerator, exact.denominator


def _ranges(events: pa.Table, kinds: Sequence[str]) -> pa.Table:
    """Events of these kinds that have a range; one with neither start nor stop is of the whole video."""
    events = events.filter(pc.is_in(events["kind"], value_set=pa.array(kinds, pa.string())))
    whole = pc.and_(events["start_ms"].is_null(), events["stop_ms"].is_null())
    for name, edge in (("start_ms", 0), ("stop_ms", WHOLE)):
        column = pc.if_else(whole, pa.scalar(edge, pa.int64()), events[name])
        events = events.set_column(events.column_names.index(name), events.schema.field(name), column)
    return events.filter(pc.and_(events["start_ms"].is_valid(), events["stop_ms"].is_valid()))


def write_labels(root: AnyRoot, segment_ms: int = SEGMENT_MS, theta: float | str | Fraction = 0.5) -> LabelCounts:
    """Bring the tables `segments` and `labels` of a root up to date with `videos`, `media` and `events`.

    Segments are made from the measured duration if there is one, else from the claimed one. Only videos whose
    segments or labels have changed are written.
    """
    tables = Tables(root)
    ids, duration, measured = _known_durations(tables)
    events = _ranges(
        tables.read_where("events", ["user_id", "video_id", "kind", "start_ms", "stop_ms"], "kind", KINDS), KINDS
    )
    used = int(pc.sum(pc.is_in(events["video_id"], value_set=ids)).as_py() or 0)
    labels = label(events, (ids, duration), segment_ms, theta)
    sources = pc.if_else(pa.array(measured), "measured", "claimed")
    fresh, gone = _changed_grids(tables, ids, duration, sources, segment_ms)
    grids = grid(ids.filter(fresh), duration[np.asarray(fresh)], segment_ms, sources.filter(fresh))
    regridded = {*ids.filter(fresh).to_pylist(), *gone}
    relabelled = regridded | _changed_labels(tables.read("labels"), labels)
    tables.write("segments", grids, covers=gone)
    stale = pc.is_in(labels["video_id"], value_set=pa.array(sorted(relabelled), pa.string()))
    tables.write("labels", labels.filter(stale), covers=relabelled)
    return LabelCounts(
        videos=len(ids),
        measured=int(measured.sum()),
        segments=int(count(duration, segment_ms).sum()),
        labels=labels.num_rows,
        users=len(labels["user_id"].unique()),
        events=used,
        events_without_duration=events.num_rows - used,
        videos_written=len(relabelled),
        written=bool(relabelled),
    )


def _known_durations(tables: Tables) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Videos with a duration: ids, milliseconds, whether measured; each (videos,)."""
    media = tables.read("media", ["video_id", "duration_ms"])
    videos = tables.read("videos", ["video_id", "claimed_duration_ms"])
    ids = pa.chunked_array([*media["video_id"].chunks, *videos["video_id"].chunks]).unique()

    def lookup(table: pa.Table, column: str) -> np.ndarray:
        place = pc.index_in(ids, value_set=table["video_id"])
        return pc.fill_null(table[column].take(place), 0).to_numpy()

    measured, claimed = lookup(media, "duration_ms"), lookup(videos, "claimed_duration_ms")
    duration = np.where(measured > 0, measured, claimed)
    known = duration > 0
    return ids.filter(pa.array(known)), duration[known], (measured > 0)[known]


def _changed_grids(
    tables: Tables, ids: pa.Array, duration: np.ndarray, sources: pa.Array, segment_ms: int
) -> tuple[pa.Array, list[str]]:
    """Which videos have other segments than in the table, (videos,) bool; and videos of the table without segments
    now."""
    old = tables.read("segments", ["video_id", "start_ms", "stop_ms", "duration_source"])
    last = [("start_ms", "max"), ("stop_ms", "max"), ("duration_source", "max"), ("stop_ms", "count")]
    old = old.group_by("video_id").aggregate(last)
    place = pc.index_in(ids, value_set=old["video_id"])
    cells = count(duration, segment_ms)
    # the start of the last segment and their number give the length of the others
    wanted = ((cells - 1) * segment_ms, duration, sources, cells)
    same = pa.repeat(True, len(ids))
    for name, column in zip(
        ("start_ms_max", "stop_ms_max", "duration_source_max", "stop_ms_count"), wanted, strict=True
    ):
        same = pc.and_(same, pc.fill_null(pc.equal(old[name].take(place), pa.array(column)), False))
    gone = old["video_id"].filter(pc.invert(pc.is_in(old["video_id"], value_set=ids)))
    return pc.invert(same).combine_chunks(), gone.to_pylist()


def _changed_labels(old: pa.Table, new: pa.Table) -> set[str]:
    """Videos with a label that is in only one of the tables."""
    if old.equals(new):
        return set()
    rows = pa.concat_tables([old, new]).group_by(new.column_names).aggregate([([], "count_all")])
    return set(rows.filter(pc.equal(rows["count_all"], 1))["video_id"].to_pylist())
