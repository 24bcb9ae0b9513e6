"""Writes a source to the tables of a root: `videos` and `users` are merged, `events` and `rejects` replaced. Writing
the same source again changes nothing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.rows import AnySource, by_reason, is_true
from reelmill.storage.errors import InputError
from reelmill.storage.outcomes import Outcome, Outcomes
from reelmill.storage.place import AnyRoot
from reelmill.storage.tables import Tables


@dataclass(frozen=True)
class IngestCounts:
    """What a source contained, and what was written."""

    source: str
    rows: int
    events: int
    rejects: int
    reasons: dict[str, int]
    """Rejects by reason."""
    videos: int
    clipped: int
    conflicting_durations: int
    videos_written: int
    """Rows of `videos` that are new or changed."""
    users_written: int
    """Rows of `users` that are new or changed."""
    events_written: bool
    """Whether events or rejects are new or changed."""
    written: bool
    """Whether any table was changed."""
    videos_without_events: int = 0
    """Videos that the source names and of which every row was rejected."""
    understood: Mapping[str, str] = field(default_factory=dict)
    """{our column: what its values were taken for}, where that was found on the values."""
    notes: tuple[str, ...] = ()
    """Remarks about the source and the files beside it."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Files of a folder that are no videos, by kind, the most frequent first."""


def write_source(root: AnyRoot, source: AnySource) -> IngestCounts:
    """Write a source's videos, users, events and rejects, batch by batch.

    What the source says about a video or user replaces what the table has; what it does not say stays. Events and
    rejects of this source are replaced as a whole. Nothing is written that is in the tables already.

    The path of the table is stored as the outcome of the ingestion. Raises InputError if the name was not given but
    taken from the file, and another table has it already: its rows would be replaced.
    """
    tables, outcomes = Tables(root), Outcomes(root)
    before = outcomes.latest("ingest").get(source.source, {}).get("message")
    if before not in (None, source.path) and not source.named:
        raise InputError(
            f"source name {source.source!r} belongs to {before} already; give source.name: another name to keep the "
            f"rows of both, or this one to replace them by those of {source.path}"
        )
    kept, reasons = 0, Counter[str]()
    with tables.replacing("rejects", source.source) as rejects, tables.replacing("events", source.source) as events:
        for new, rejected in source.batches():
            events.add(new)
            rejects.add(rejected)
            kept += new.num_rows
            reasons.update(by_reason(rejected))
        summary = source.summary()
        videos = _changed(tables.read("videos"), summary.videos, "video_id")
        tables.write("videos", videos)
        users = _changed(tables.read("users"), summary.users, "user_id")
        tables.write("users", users)
    if source.path not in (None, before):
        outcomes.write([Outcome("ingest", source.source, "done", message=source.path)])
    changed = events.written or rejects.written
    return IngestCounts(
        source.source,
        summary.rows,
        kept,
        reasons.total(),
        dict(reasons.most_common()),
        summary.videos.num_rows,
        summary.clipped,
        summary.conflicting_durations,
        videos.num_rows,
        users.num_rows,
        changed,
        changed or bool(videos.num_rows or users.num_rows),
        summary.videos_without_events,
        dict(summary.understood),
        summary.notes,
        dict(summary.skipped),
    )


def _changed(old: pa.Table, new: pa.Table, key: str) -> pa.Table:
    """The new rows, with nulls filled from the old ones, without rows that are unchanged."""
    place = pc.index_in(new[key], value_set=old[key])
    before = old.take(place)
    merged = pa.table([pc.coalesce(new[name], before[name]) for name in new.column_names], schema=new.schema)
    same = np.ones(new.num_rows, bool)
    for name in new.column_names:
        a, b = (_comparable(table[name]) for table in (merged, before))
        same &= is_true(pc.equal(a, b)) | is_true(pc.and_(a.is_null(), b.is_null()))
    return merged.filter(pa.array(~same))


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists of texts joined to one text, since Arrow cannot compare lists; no text of a source holds a NUL byte."""
    return pc.binary_join(column, "\0") if pa.types.is_list(column.type) else column
