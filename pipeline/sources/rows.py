"""The input and the result of `checks`, and what a source says about its videos."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol

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
class Summary:
    """What a source held, but for its events and rejects."""

    source: str
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
    users: pa.Table = field(default_factory=SCHEMAS["users"].empty_table)
    """What the source says about users with events, one row each."""
    videos_without_events: int = 0
    """Videos that the source names and of which no row became an event."""
    understood: Mapping[str, str] = field(default_factory=dict)
    """{our column, or `file`: what it was taken for}, where that was found on the file."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Files of a folder that are no videos, by kind, the most frequent first."""


class AnySource(Protocol):
    """A source to be written: one that is read meanwhile, or one that was read."""

    @property
    def source(self) -> str:
        """Its name in the tables."""

    @property
    def path(self) -> str | None:
        """Absolute path of the table; None for a folder of videos."""

    @property
    def named(self) -> bool:
        """Whether the name was given; else it is taken from the file."""

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Events and rejects, batch by batch; together one row for each row of the source."""

    def summary(self) -> Summary:
        """The rest, after the last batch."""


@dataclass(frozen=True)
class SourceResult:
    """A source as tables. `events` and `rejects` together have one row for each row of the source."""

    source: str
    events: pa.Table
    rejects: pa.Table
    videos: pa.Table
    """See `Summary`, here and below."""
    rows: int
    clipped: int = 0
    conflicting_durations: int = 0
    notes: tuple[str, ...] = ()
    path: str | None = None
    named: bool = True
    users: pa.Table = field(default_factory=SCHEMAS["users"].empty_table)
    videos_without_events: int = 0
    understood: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)

    def reasons(self) -> dict[str, int]:
        """How many rows were rejected for each reason that occurred."""
        return by_reason(self.rejects)

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """See `AnySource`."""
        yield self.events, self.rejects

    def summary(self) -> Summary:
        """See `AnySource`."""
        return Summary(**{f.name: getattr(self, f.name) for f in fields(Summary)})


def by_reason(rejects: pa.Table) -> dict[str, int]:
    """How many rejects there are for each reason, the most frequent first."""
    counts = rejects["reason"].value_counts().to_pylist()
    return {count["values"]: count["counts"] for count in sorted(counts, key=lambda count: -count["counts"])}


@dataclass(frozen=True)
class Ends:
    """Where videos end, in milliseconds: as measured, else as most rows of the source claim."""

    claimed: pa.Table
    """video_id and ms, one row a video with a claim."""
    measured: pa.Table
    """The same of measured durations."""
    conflicting: int = 0
    """Videos for which rows claim different durations."""

    @classmethod
    def of(cls, measured: Mapping[str, int], claims: "Claims | None" = None) -> "Ends":
        """Raises InputError for a measured duration that is not positive."""
        for video, duration in measured.items():
            if duration <= 0:
                raise InputError(f"measured duration of video {video!r} is {duration} ms; it must be positive")
        columns = [pa.array(measured, pa.string()), pa.array(measured.values(), pa.int64())]
        claimed, conflicting = claims.result() if claims is not None else (EMPTY_ENDS, 0)
        return cls(claimed, pa.table(columns, names=EMPTY_ENDS.column_names), conflicting)

    def claims(self, ids: pa.Array) -> np.ndarray:
        """(videos,) int64: the claimed duration of each, 0 where unknown."""
        return _looked_up(self.claimed, ids)

    def ends(self, ids: pa.Array) -> np.ndarray:
        """(videos,) int64: the measured duration of each, else the claimed one, 0 where unknown."""
        measured = _looked_up(self.measured, ids)
        return np.where(measured > 0, measured, self.claims(ids))


EMPTY_ENDS = pa.table({"video_id": pa.array([], pa.string()), "ms": pa.array([], pa.int64())})


def _looked_up(table: pa.Table, ids: pa.Array) -> np.ndarray:
    if not len(table):
        return np.zeros(len(ids), np.int64)
    place = pc.index_in(ids, value_set=table["video_id"], skip_nulls=True)
    return np.asarray(pc.fill_null(table["ms"].combine_chunks().take(place), 0)).astype(np.int64)


class Claims:
    """What rows claim of the durations of their videos, gathered batch by batch.

    The most frequent claim of a video counts, of equally frequent ones the first."""

    def __init__(self) -> None:
        self._rows, self._parts = 0, [_NO_CLAIMS]

    def add(self, video_id: pa.ChunkedArray, claims: Numbers, problem: pa.Array) -> None:
        """The next rows."""
        named = is_true(video_id.is_valid()) & is_true(problem.is_null())
        usable = np.flatnonzero(named & (np.rint(claims.values) > 0) & (claims.values <= MAX_DURATION_MS))
        columns = {
            "video_id": video_id.take(pa.array(usable)),
            "ms": np.rint(claims.values[usable]).astype(np.int64),
            "first": usable + self._rows,
            "count": np.ones(len(usable), np.int64),
        }
        self._rows += len(problem)
        self._parts.append(pa.table(columns, schema=_NO_CLAIMS.schema))
        if sum(map(len, self._parts[1:])) > max(len(self._parts[0]), 1 << 20):
            self._parts = [self._grouped()]

    def _grouped(self) -> pa.Table:
        """One row for each video and claim."""
        rows = (
            pa.concat_tables(self._parts).group_by(["video_id", "ms"]).aggregate([("first", "min"), ("count", "sum")])
        )
        return rows.rename_columns(["video_id", "ms", "first", "count"]).cast(_NO_CLAIMS.schema)

    def result(self) -> tuple[pa.Table, int]:
        """video_id and ms of the claim that counts; and the number of videos with different claims."""
        every = self._grouped().sort_by([("count", "descending"), ("first", "ascending")])
        ids = pc.unique(every["video_id"])
        best = every.take(pc.index_in(ids, value_set=every["video_id"]))
        return best.select(["video_id", "ms"]), int(np.sum(np.asarray(every["video_id"].value_counts().field(1)) > 1))


_NO_CLAIMS = pa.schema(
    [("video_id", pa.string()), ("ms", pa.int64()), ("first", pa.int64()), ("count", pa.int64())]
).empty_table()


class NamedVideos:
    """The videos that rows name, in the order of their first rows, and what they say of them, batch by batch."""

    def __init__(self) -> None:
        self.ids = pa.array([], pa.string())
        self.with_events = np.zeros(0, bool)
        """(videos,) bool: a row of it became an event."""
        self.measurable = np.zeros(0, bool)
        """(videos,) bool: a row of it was rejected only because the duration is not known."""
        self._facts: dict[str, pa.Array] = {}

    def add(self, rows: Rows, ids: pa.Array, code: np.ndarray, kept: np.ndarray, measurable: np.ndarray) -> None:
        """The next rows. `ids`: their videos, in the order of their first rows; `code` (n,): which of them a row names,
        −1 for none; `kept`, `measurable`: (n,) bool."""
        place = pc.index_in(ids, value_set=self.ids)
        new = np.asarray(place.is_null())
        number = np.asarray(pc.fill_null(place, 0)).astype(np.int64)
        number[new] = len(self.ids) + np.arange(new.sum())
        self.ids = pa.concat_arrays([self.ids, ids.filter(pa.array(new))])
        grow = len(self.ids) - len(self.with_events)
        self.with_events = np.append(self.with_events, np.zeros(grow, bool))
        self.measurable = np.append(self.measurable, np.zeros(grow, bool))
        self.with_events[number[code[kept & (code >= 0)]]] = True
        self.measurable[number[code[measurable & (code >= 0)]]] = True
        for name, fact in rows.facts.items():
            said = np.flatnonzero((code >= 0) & is_true(fact.is_valid()))
            video, first = np.unique(code[said], return_index=True)
            place = np.full(len(self.ids), -1)
            place[number[video]] = said[first]
            here = fact.take(pa.array(place, mask=place < 0)).combine_chunks()
            before = self._facts.get(name)
            if before is not None:
                before = pa.concat_arrays([before, pa.nulls(grow, before.type)])
                here = pc.if_else(before.is_valid(), before, here)
            self._facts[name] = here

    def table(self, ends: Ends, url_template: str | None) -> pa.Table:
        """The table `videos` of those with events, or that are to be measured; the first row with a value gives each
        fact."""
        wanted = pa.array(np.flatnonzero(self.with_events | self.measurable))
        ids = self.ids.take(wanted)
        claimed = ends.claims(ids)
        columns = {"video_id": ids, "claimed_duration_ms": pa.array(claimed, mask=claimed <= 0)}
        columns |= {name: fact.take(wanted) for name, fact in self._facts.items()}
        if url_template is not None:
            pieces = [piece for text in url_template.split(PLACEHOLDER) for piece in (text, ids)][:-1]
            url = pc.binary_join_element_wise(*pieces, "")
            columns["url"] = pc.coalesce(columns["url"], url) if "url" in columns else url
        schema = SCHEMAS["videos"]
        return pa.table([columns.get(f.name, pa.nulls(len(ids), f.type)) for f in schema], schema=schema)


def is_true(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(n,) bool: true, and not null."""
    return np.asarray(pc.fill_null(column, False)).astype(bool)
