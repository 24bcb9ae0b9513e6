"""Any table of events, by a mapping from our names to its columns: CSV, TSV, JSON lines or Parquet.

    mapping:
      user_id: viewer                  needed
      video_id: clip                   needed
      kind: highlight                  a column, or one of `schema.EVENT_KINDS`; if it is not mapped:
                                       highlight if a start is mapped, else rating if a value is, else watch
      start_s: from                    or start_ms; numbers, or times such as 0:02 and 1:02:03.5
      stop_s: to                       or stop_ms, duration_s, duration_ms (length of the range)
      video_duration_s: length         or video_duration_ms; −1, 0 or empty: unknown
      time: when                       Unix time in any unit, YYYYMMDD, ISO 8601 (UTC without a zone), Arrow timestamps
      last_video: is_last              true or false: the row's video is the user's last one
      value: stars                     and text; of the video: url, title, description, tags, categories, uploader,
      text: =bought                    upload_date; tags and categories are lists, or texts split at `|`

A value that begins with `=` is a constant for all rows, unless a column has exactly this name. `.gz` is unpacked. In
CSV and TSV a quoted field may hold line ends, but no identity, kind, number or time. Identities are read by one rule in
every format (`values.identities`): a text as it is, an integer as its digits, a float only if it is whole and exact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources import moments, text, values
from reelmill.pipeline.sources.moments import TimeUnit
from reelmill.pipeline.sources.rows import Rows
from reelmill.pipeline.sources.tables import JsonTable, Table, Wanted
from reelmill.pipeline.sources.values import Numbers
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.schema import EVENT_KINDS

NEEDED = ("user_id", "video_id")
LISTS = ("tags", "categories")
FACTS = ("url", "title", "description", "uploader", "upload_date", *LISTS)
STARTS = ("start_s", "start_ms")
STOPS = ("stop_s", "stop_ms", "duration_s", "duration_ms")
ENDS = ("video_duration_s", "video_duration_ms")
TARGETS = (*NEEDED, "kind", *STARTS, *STOPS, *ENDS, "time", "value", "text", "last_video", *FACTS)


@dataclass(frozen=True)
class Found:
    """What was found on whole columns, without which no row of them can be read."""

    time: TimeUnit | None = None
    floats: Mapping[str, bool] = field(default_factory=dict)
    """{user_id or video_id: its texts are floats as programs write them}"""


@dataclass(frozen=True)
class Columns:
    """A mapping that fits a table: which column or constant each of ours is."""

    mapping: Mapping[str, str]
    constants: Mapping[str, str]
    """{our column: its value in every row}"""
    wanted: Wanted

    @classmethod
    def of(cls, mapping: Mapping[str, str], table: Table) -> "Columns":
        """The name of a column takes precedence over a constant. Raises InputError for a column that is not there, or
        there twice. Of JSON lines a later piece may have it: see `missing`."""
        check_targets(mapping)
        mapping = {"kind": f"={kind_of(mapping)}", **mapping}
        constants = {}
        for target, said in mapping.items():
            if table.names.count(said) > 1:
                many = table.names.count(said)
                raise InputError(f"{table.path}: {many} columns are called {said!r}; give them names of their own")
            if said in table.names:
                continue
            if (constant := _constant(target, said)) is not None:
                constants[target] = constant
            elif not isinstance(table, JsonTable):
                raise cls.missing(target, said, table)
        columns = {target: said for target, said in mapping.items() if target not in constants}
        bound = {said for target, said in columns.items() if target not in ("text", *FACTS)}
        wanted = Wanted(
            tuple(dict.fromkeys(columns.values())),
            frozenset(columns[target] for target in NEEDED if target in columns),
            frozenset(columns[target] for target in LISTS if target in columns),
            frozenset({*table.names} - bound),
        )
        return cls(columns, constants, wanted)

    @staticmethod
    def missing(target: str, said: str, table: Table) -> InputError:
        """The error for a column that a table does not have."""
        return InputError(
            f"{table.path} has no column {said!r}, which the mapping names for {target!r}; "
            f"{nearest(said, list(table.names))}"
        )

    def column(self, target: str, read: text.Columns) -> pa.ChunkedArray:
        """Our column in a batch."""
        if target in self.mapping:
            return read.values[self.mapping[target]]
        return pa.chunked_array([pa.repeat(self.constants[target], read.rows)])

    def name(self, target: str) -> str:
        """What the table calls our column."""
        return self.mapping.get(target, f"={self.constants.get(target, '')}")

    def has(self, target: str) -> bool:
        """Whether it is mapped."""
        return target in self.mapping or target in self.constants

    def rows(self, source: str, read: text.Columns, found: Found) -> Rows:
        """A batch, before any rule is applied."""

        def read_as(reader: Callable[..., Any], target: str, **options: Any) -> Any:
            """Our column, read by a function of `values`; None if it is not mapped."""
            return reader(self.name(target), self.column(target, read), **options) if self.has(target) else None

        def timed(name: str) -> Numbers | None:
            second, millisecond = f"{name}_s", f"{name}_ms"
            return read_as(values.clock_times, second, scale=1000) or read_as(values.clock_times, millisecond, scale=1)

        return Rows(
            source,
            read.problem,
            **{name: read_as(values.identities, name, floats=found.floats.get(name)) for name in NEEDED},
            kind=read_as(values.texts, "kind", trim=True),
            start=timed("start"),
            stop=timed("stop"),
            length=timed("duration"),
            video_duration=timed("video_duration"),
            time=read_as(moments.read, "time", how=found.time),
            value=read_as(values.numbers, "value"),
            text=read_as(values.texts, "text"),
            last_video=read_as(_flags, "last_video"),
            facts={
                name: read_as(values.text_lists if name in LISTS else values.texts, name)
                for name in FACTS
                if self.has(name)
            },
        )


def _flags(_: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """True and False in any case; null for anything else."""
    said = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    return pc.if_else(pc.is_in(said, pa.array(["true", "false"])), pc.equal(said, "true"), None)


def check_targets(mapping: Mapping[str, str]) -> None:
    """Raise InputError for a mapping that cannot be, whatever the table."""
    for target in mapping:
        if target not in TARGETS:
            raise InputError(f"mapping: there is no {target!r} to map a column to; {nearest(target, TARGETS)}")
    for target in NEEDED:
        if target not in mapping:
            raise InputError(f"mapping: {target!r} is missing; map a column to it, or write '=…' for a constant")
    for rivals in (STARTS, STOPS, ENDS):
        if len(both := [target for target in rivals if target in mapping]) > 1:
            raise InputError(f"mapping: {' and '.join(both)} mean the same; keep one")
    if any(target in mapping for target in STOPS) and not any(target in mapping for target in STARTS):
        raise InputError("mapping: a stop or duration needs a start; map start_s or start_ms")


def kind_of(mapping: Mapping[str, str]) -> str:
    """The kind of events, for a mapping without one."""
    if any(target in mapping for target in STARTS):
        return "highlight"
    return "rating" if "value" in mapping else "watch"


def _constant(target: str, said: str) -> str | None:
    """The constant that a mapping gives, None if it names a column."""
    if said.startswith("="):
        return said[1:]
    return said if target == "kind" and said in EVENT_KINDS else None
