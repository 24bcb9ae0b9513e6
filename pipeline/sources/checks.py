"""Decides which rows of a source become events; no row is lost without a reason.

Every row becomes an event, or a reject with the first reason of this list that applies:

    malformed_row        not a row of this format: number of fields, quotes, UTF-8, NUL byte, JSON
    missing_id           no user or no video
    unparsable_number    a text where a number belongs
    unparsable_time      a point in time that is neither a number, nor a date, nor ISO 8601 (`moments`)
    unknown_kind         no kind of event that reelmill knows
    not_finite           NaN or infinity as time in the video, point in time or value (as duration of a video: unknown)
    negative_time        start, stop or length below zero
    out_of_range         a point in time after the year 9999 or in another unit than its column, a video of over a week
    missing_time         a highlight with start or stop alone, a frame_like without start, a stop without start
    empty_range          stop at or before start, in whole milliseconds
    unknown_duration     a range in a video whose duration is −1, 0 or empty in the source, and was not measured
    start_beyond_end     start at or after the end of the video
    duplicate            equal in every field to an earlier event of the source

A highlight with neither start nor stop is of the whole video, and so are its labels. A video without any event, because
all its rows were rejected, is counted.

A stop beyond the end is clipped to it and counted. The end of a video is the measured duration if the caller has it,
else the claimed one; if rows claim different durations the most frequent is used, of equally frequent ones the first,
and such videos are counted. A row with an unknown duration gets that of the other rows of its video. A source without a
column for durations claims none, and its ranges are kept as they are.

Times become integer milliseconds by rounding (half to even): `start_ms`, and `stop_ms` from the unrounded start plus
length, so each is within half a millisecond of the source, and no later comparison depends on how a fraction is written
or stored.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.duplicates import Seen
from reelmill.pipeline.sources.rows import MAX_DURATION_MS, Ends, NamedVideos, Rows, is_true
from reelmill.storage.schema import EVENT_KINDS, SCHEMAS

Reason = Literal[
    "malformed_row",
    "missing_id",
    "unparsable_number",
    "unparsable_time",
    "unknown_kind",
    "not_finite",
    "negative_time",
    "out_of_range",
    "missing_time",
    "empty_range",
    "unknown_duration",
    "start_beyond_end",
    "duplicate",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

MIN_TIME_MS, MAX_TIME_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, as Python knows them

NEED_START = pa.array(["frame_like"])
NEED_STOP = pa.array(["highlight", "watch"])  # if they have a start


class _Rule(NamedTuple):
    reason: Reason
    broken: np.ndarray
    label: str = ""
    raw: pa.Array | pa.ChunkedArray | None = None
    """Detail of a reject: `label`, then the value of the row in `raw`."""


class Checks:
    """Turns the rows of a source, batch by batch, into events and rejects, and knows what they said of their videos."""

    def __init__(self, ends: Ends) -> None:
        self.ends, self.videos, self._seen = ends, NamedVideos(), Seen()
        self.rows = self.clipped = 0
        """Rows so far, and events of which the stop was moved to the end of the video."""

    def add(self, rows: Rows) -> tuple[pa.Table, pa.Table]:
        """Events and rejects of the next rows, in the schemas of the tables."""
        named = pc.dictionary_encode(pc.if_else(rows.problem.is_null(), rows.video_id, None).combine_chunks())
        ids, code = named.dictionary, np.asarray(pc.fill_null(named.indices, -1)).astype(np.int64)
        start, stop = _range(rows)
        end = np.append(self.ends.ends(ids), 0)[code]  # the last one for −1: no video
        rules = [*_reading(rows), *_numbers(rows), *_ranges(rows, start, stop, end)]
        verdict = _first_broken(rules, len(start))
        cut = (end > 0) & (stop > end)
        columns = _event_columns(rows, start, np.where(cut, end, stop), self.rows)
        original = self._seen.originals(columns, np.flatnonzero(verdict < 0), self.rows)
        rules.append(_Rule("duplicate", original >= 0, "same as row ", pa.array(original + 1)))
        verdict[original >= 0] = len(rules) - 1
        kept = verdict < 0
        measurable = np.array([rule.reason == "unknown_duration" for rule in rules] + [False])[verdict]
        self.videos.add(rows, ids, code, kept, measurable)
        rejects = _rejects(rows, rules, verdict, self.rows)
        self.rows += len(start)
        self.clipped += int(cut[kept].sum())
        return pa.table(columns, schema=SCHEMAS["events"]).filter(pa.array(kept)), rejects


def _reading(rows: Rows) -> list[_Rule]:
    rules = [_Rule("malformed_row", is_true(rows.problem.is_valid()), "", rows.problem)]
    for name in ("user_id", "video_id"):
        rules.append(_Rule("missing_id", is_true(getattr(rows, name).is_null()), name))
    for column in (rows.start, rows.stop, rows.length, rows.video_duration, rows.value):
        if column is not None:
            rules.append(_Rule("unparsable_number", column.unreadable, f"{column.name}=", column.raw))
    if rows.time is not None:
        rules.append(_Rule("unparsable_time", rows.time.unreadable, f"{rows.time.name}=", rows.time.raw))
    known = pc.is_in(rows.kind, pa.array(EVENT_KINDS))
    return [*rules, _Rule("unknown_kind", ~is_true(known), "kind=", rows.kind)]


def _numbers(rows: Rows) -> list[_Rule]:
    times = [column for column in (rows.start, rows.stop, rows.length) if column is not None]
    others = [column for column in (rows.time, rows.value) if column is not None]
    rules = [_Rule("not_finite", c.not_finite, f"{c.name}=", c.raw) for c in (*times, *others)]
    rules += [_Rule("negative_time", c.values < 0, f"{c.name}=", c.raw) for c in times]
    limits = [(column, MAX_TIME_MS) for column in (*times, rows.time)] + [(rows.video_duration, MAX_DURATION_MS)]
    for column, limit in limits:
        if column is not None:
            outside = (column.values > limit) | (column.values < MIN_TIME_MS)
            rules.append(_Rule("out_of_range", outside & column.finite, f"{column.name}=", column.raw))
    return rules


def _ranges(rows: Rows, start: np.ndarray, stop: np.ndarray, end: np.ndarray) -> list[_Rule]:
    starts, stops = start >= 0, stop >= 0
    needs_start, needs_stop = is_true(pc.is_in(rows.kind, NEED_START)), is_true(pc.is_in(rows.kind, NEED_STOP))
    for column in (rows.stop, rows.length):
        needs_start |= ~column.missing if column is not None else False
    rules = [
        _Rule("missing_time", ~starts & needs_start, "start"),
        _Rule("missing_time", starts & ~stops & needs_stop, "stop"),
        _Rule("empty_range", starts & stops & (stop <= start), "stop_ms=", pa.array(stop)),
    ]
    if (claim := rows.video_duration) is not None:
        rules.append(_Rule("unknown_duration", starts & (end <= 0), f"{claim.name}=", claim.raw))
    return [*rules, _Rule("start_beyond_end", starts & (end > 0) & (start >= end), "start_ms=", pa.array(start))]


def _range(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """start_ms and stop_ms, (n,) int64 each, −1 where there is none or it is not usable."""
    n = len(rows.problem)
    none = np.full(n, np.nan)
    start = rows.start.values if rows.start is not None else none
    stop = rows.stop.values if rows.stop is not None else none
    if rows.length is not None:
        with np.errstate(invalid="ignore"):  # infinity minus infinity; such rows are rejected
            stop = start + rows.length.values
    return _whole(start), _whole(stop)


def _whole(milliseconds: np.ndarray) -> np.ndarray:
    usable = (milliseconds >= 0) & (milliseconds <= 2 * MAX_TIME_MS)  # a start plus a length; NaN is not
    return np.where(usable, np.rint(np.where(usable, milliseconds, 0)), -1).astype(np.int64)


def _first_broken(rules: Iterable[_Rule], rows: int) -> np.ndarray:
    """(rows,) int64: index of the first rule that a row violates, −1 if none."""
    verdict = np.full(rows, -1)
    for number, rule in enumerate(rules):
        verdict[(verdict < 0) & rule.broken] = number
    return verdict


def _event_columns(rows: Rows, start: np.ndarray, stop: np.ndarray, before: int) -> dict[str, Any]:
    """Columns of the table `events`, (n,) each; values of rejected rows mean nothing. `before`: rows before these."""
    n = len(start)
    time = pa.nulls(n, pa.int64()) if rows.time is None else _integers(rows.time.values)
    value = pa.nulls(n, pa.float64()) if rows.value is None else pa.array(rows.value.values, from_pandas=True)
    return {
        "user_id": rows.user_id,
        "video_id": rows.video_id,
        "kind": rows.kind,
        "time": time.cast(pa.timestamp("ms", tz="UTC")),
        "start_ms": pa.array(start, mask=start < 0),
        "stop_ms": pa.array(stop, mask=stop < 0),
        "value": value,
        "text": pa.nulls(n, pa.string()) if rows.text is None else rows.text,
        "last_video": pa.nulls(n, pa.bool_()) if rows.last_video is None else rows.last_video,
        "source": pa.repeat(rows.source, n),
        "source_row": pa.array(np.arange(before + 1, before + n + 1)),
    }


def _integers(values: np.ndarray) -> pa.Array:
    usable = (values >= MIN_TIME_MS) & (values <= MAX_TIME_MS)
    return pa.array(np.rint(np.where(usable, values, 0)).astype(np.int64), mask=~usable)


def _rejects(rows: Rows, rules: list[_Rule], verdict: np.ndarray, before: int) -> pa.Table:
    schema = SCHEMAS["rejects"]
    found = [schema.empty_table()]
    for number, rule in enumerate(rules):
        place = pa.array(np.flatnonzero(verdict == number))
        detail = pa.repeat(rule.label, len(place))
        if rule.raw is not None:
            raw = pc.fill_null(rule.raw.take(place).cast(pa.string()), "")
            detail = pc.binary_join_element_wise(detail, raw, "")
        source, reason = pa.repeat(rows.source, len(place)), pa.repeat(rule.reason, len(place))
        readable = pa.repeat(rule.reason != "malformed_row", len(place))
        user, video = (pc.if_else(readable, ids.take(place), None) for ids in (rows.user_id, rows.video_id))
        found.append(pa.table([source, pc.add(place, before + 1), reason, detail, user, video], schema=schema))
    table = pa.concat_tables(found)
    return table.take(pc.sort_indices(table, [("source_row", "ascending")]))
