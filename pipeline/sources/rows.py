"""The input and the result of `checks`, and what a source says about its videos."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.values import Numbers
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS

MAX_DURATION_MS = 7 * 24 * 3600 * 1000  # longer than any published video; a grid of it has 120,960 segments
PLACEHOLDER = "{video_id}"  # in a template of URLs


@dataclass(frozen=True)
class Rows:
    """What an adapter read, n rows, before any rule is applied. Columns that the source does not have are None."""

    source: str
    problem: pa.Array
    """(n,) string: why the row cannot be read, null if it can."""
    user_id: pa.ChunkedArray
    video_id: pa.ChunkedArray
    kind: pa.ChunkedArray
    """(n,) string each, null where missing."""
    start: Numbers | None = None
    stop: Numbers | None = None
    length: Numbers | None = None
    video_duration: Numbers | None = None
    time: Numbers | None = None
    """Milliseconds, not yet rounded. `length` is stop minus start; a source has one of `stop` and `length`."""
    value: Numbers | None = None
    text: pa.ChunkedArray | None = None
    last_video: pa.ChunkedArray | None = None
    """(n,) bool: the source marks the row's video as the user's last one."""
    facts: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    """Columns of the table `videos`, (n,) each; the first non-null value of a video is used."""


@dataclass(frozen=True)
class SourceResult:
    """A source as tables. `events` and `rejects` together have one row for each row of the source."""

    source: str
    events: pa.Table
    rejects: pa.Table
    videos: pa.Table
    """Videos of the events, and those whose rows were rejected only because the duration is missing: once it is
    measured, they can be read again."""
    rows: int
    clipped: int = 0
    """Events whose stop was moved to the end of the video."""
    conflicting_durations: int = 0
    """Videos for which rows claim different durations."""
    notes: tuple[str, ...] = ()
    """Remarks about files beside the source, for the user."""
    path: str | None = None
    """Absolute path of the table; None for a folder of videos."""
    named: bool = True
    """Whether the name was given; else it is taken from the file."""
    users: pa.Table = field(default_factory=SCHEMAS["users"].empty_table)
    """What the source says about users with events, one row each."""

    videos_without_events: int = 0
    """Videos that the source names and of which no row became an event."""
    understood: Mapping[str, str] = field(default_factory=dict)
    """{our column: what its values were taken for}, where that was found on the values."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Files of a folder that are no videos, by kind, the most frequent first."""

    def reasons(self) -> dict[str, int]:
        """How many rows were rejected for each reason that occurred."""
        counts = self.rejects["reason"].value_counts().to_pylist()
        return {count["values"]: count["counts"] for count in sorted(counts, key=lambda count: -count["counts"])}


@dataclass(frozen=True)
class Videos:
    """What n rows say about their videos."""

    ids: pa.Array
    """(videos,) string, in the order of their first rows."""
    code: np.ndarray
    """(n,) int64: index of the video in `ids`, −1 if the row has none."""
    claimed_ms: np.ndarray
    """(videos,) int64: the claimed duration, 0 where unknown."""
    end_ms: np.ndarray
    """(videos,) int64: the measured duration, else the claimed one."""
    conflicting: int
    """Videos for which rows claim different durations."""


def videos_of(rows: Rows, durations: Mapping[str, int]) -> Videos:
    """The videos of rows, and their durations; the rule for conflicting claims is in `checks`."""
    named = pc.dictionary_encode(pc.if_else(rows.problem.is_null(), rows.video_id, None).combine_chunks())
    ids, code = named.dictionary, np.asarray(pc.fill_null(named.indices, -1)).astype(np.int64)
    claimed, conflicting = _claims(rows.video_duration, code, len(ids))
    end = claimed.copy()
    if durations:
        measured = np.fromiter(durations.values(), np.int64, len(durations))
        if (measured <= 0).any():
            video = list(durations)[int(np.argmax(measured <= 0))]
            raise InputError(f"measured duration of video {video!r} is {durations[video]} ms; it must be positive")
        place = pc.index_in(ids, value_set=pa.array(durations, pa.string()))
        end[is_true(place.is_valid())] = measured[place.drop_null().to_numpy()]
    return Videos(ids, code, claimed, end, conflicting)


def _claims(claims: Numbers | None, code: np.ndarray, videos: int) -> tuple[np.ndarray, int]:
    """Milliseconds that most rows claim for each video, (videos,), 0 for unknown; and the number of videos with
    conflicting claims."""
    claimed = np.zeros(videos, np.int64)
    if claims is None:
        return claimed, 0
    usable = np.flatnonzero((code >= 0) & (np.rint(claims.values) > 0) & (claims.values <= MAX_DURATION_MS))
    pairs = np.stack([code[usable], np.rint(claims.values[usable]).astype(np.int64)], axis=1)
    pairs, first, count = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    best = pairs[np.lexsort((first, -count, pairs[:, 0]))]
    video, winner = np.unique(best[:, 0], return_index=True)
    claimed[video] = best[winner, 1]
    return claimed, int((np.bincount(pairs[:, 0]) > 1).sum())


def video_table(rows: Rows, videos: Videos, wanted: np.ndarray, url_template: str | None) -> pa.Table:
    """The table `videos` of the wanted indices into `videos.ids`; the first row with a value gives each fact."""
    ids = videos.ids.take(pa.array(wanted, pa.int64()))
    claimed = videos.claimed_ms[wanted]
    columns = {"video_id": ids, "claimed_duration_ms": pa.array(claimed, mask=claimed <= 0)}
    for name, fact in rows.facts.items():
        said = np.flatnonzero((videos.code >= 0) & is_true(fact.is_valid()))
        video, first = np.unique(videos.code[said], return_index=True)
        place = np.full(len(videos.ids), -1)
        place[video] = said[first]
        columns[name] = fact.take(pa.array(place[wanted], mask=place[wanted] < 0))
    if url_template is not None:
        pieces = [piece for text in url_template.split(PLACEHOLDER) for piece in (text, ids)][:-1]
        url = pc.binary_join_element_wise(*pieces, "")
        columns["url"] = pc.coalesce(columns["url"], url) if "url" in columns else url
    schema = SCHEMAS["videos"]
    return pa.table([columns.get(f.name, pa.nulls(len(ids), f.type)) for f in schema], schema=schema)


def is_true(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(n,) bool: true, and not null."""
    return np.asarray(pc.fill_null(column, False)).astype(bool)
