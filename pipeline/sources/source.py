"""A source file from its first to its last row, without ever holding all of them.

A file is read twice at most: the first time for what only whole columns tell (the unit of times, whether identities
are floats, what rows claim of the durations of videos), the second time for events and rejects. Where the first batch
tells enough, once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources import beside, moments, values
from reelmill.pipeline.sources.checks import Checks
from reelmill.pipeline.sources.layouts import Layout
from reelmill.pipeline.sources.mapped import NEEDED, Columns, Found
from reelmill.pipeline.sources.moments import TimeUnit, Unit, UnitCounts
from reelmill.pipeline.sources.rows import Claims, Ends, SourceResult, Summary, is_true
from reelmill.pipeline.sources.tables import JsonTable, Table, Wanted
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS

ADDRESS = "(?i)://|^(https?|file):"
"""Distinguishes an address from the path of a file, as the downloader does."""
DURATIONS = ("video_duration_s", "video_duration_ms")


@dataclass
class Source:
    """A source that is opened but not read: `batches` once, then `summary`."""

    source: str
    path: str
    named: bool
    table: Table
    columns: Columns
    layout: Layout | None = None
    url_template: str | None = None
    durations: Mapping[str, int] | None = None
    time_unit: Unit | None = None

    def __post_init__(self) -> None:
        self._state = self._stat()
        self.understood: dict[str, str] = {"file": self.table.described}
        if self.layout is not None:
            self.understood["file"] = f"{self.layout.title}: {self.table.described}"
        self._checks: Checks | None = None
        self._users = pa.array([], pa.string())

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Events and rejects, batch by batch. Raises InputError for a file that cannot be read or is changed."""
        found = self._found()
        checks = Checks(Ends.of(self.durations or {}, self._claims(found)))
        for read in self.table.batches(self.columns.wanted):
            events, rejects = checks.add(self.columns.rows(self.source, read, found))
            if self.layout is not None and self.layout.users:
                self._users = pc.unique(pa.chunked_array([self._users, *events["user_id"].chunks]))
            yield events, rejects
        if isinstance(self.table, JsonTable) and self.table.seen:
            for target, said in self.columns.mapping.items():
                if said not in self.table.seen:
                    raise Columns.missing(target, said, self.table)
        if self._stat() != self._state:
            raise InputError(f"{self.path} was changed while it was read; start again when it is complete")
        self._checks = checks

    def summary(self) -> Summary:
        """What the source held, after the last batch."""
        if (checks := self._checks) is None:
            raise RuntimeError("the batches come first")
        named = checks.videos
        videos, users = named.table(checks.ends, self.url_template), SCHEMAS["users"].empty_table()
        notes: tuple[str, ...] = ()
        if (layout := self.layout) is not None:
            side = beside.read(
                Path(self.path),
                layout.items,
                layout.users,
                layout.tags,
                videos["video_id"].combine_chunks(),
                self._users,
            )
            videos, users, notes = beside.join(videos, side), side.users, side.notes
        return Summary(
            self.source,
            _relative(Path(self.path).parent, videos),
            checks.rows,
            checks.clipped,
            checks.ends.conflicting,
            notes,
            users,
            videos_without_events=len(named.ids) - int(named.with_events.sum()),
            understood=self.understood,
        )

    def result(self) -> SourceResult:
        """The whole source."""
        events, rejects = zip(*self.batches(), strict=True)
        summary = self.summary()
        tables = (pa.concat_tables(parts).combine_chunks() for parts in (events, rejects))
        return SourceResult(
            events=next(tables), rejects=next(tables), path=self.path, named=self.named, **vars(summary)
        )

    def first_rows(self, count: int) -> list[dict[str, Any]]:
        """The cells of the first rows that are mapped, {our column: text}, as the file has them."""
        read = next(self.table.batches(self.columns.wanted))
        cells = {
            ours: column.slice(0, count).cast(pa.string()).to_pylist()
            for ours, name in self.columns.mapping.items()
            if not pa.types.is_nested((column := read.values[name]).type)
        }
        return [{ours: column[row] for ours, column in cells.items()} for row in range(min(count, read.rows))]

    def _stat(self) -> tuple[int, int]:
        stat = Path(self.path).stat()
        return stat.st_size, stat.st_mtime_ns

    def _found(self) -> Found:
        """What whole columns tell of identities and times."""
        floats: dict[str, bool | None] = {target: None for target in NEEDED if target in self.columns.mapping}
        names = tuple(dict.fromkeys(self.columns.mapping[target] for target in floats))
        for read in self.table.batches(Wanted(names, frozenset(names))):
            good = read.problem.is_null()
            for target in [target for target, known in floats.items() if known is not False]:
                column = read.values[self.columns.mapping[target]].filter(good)
                if not values.is_text(column.type):
                    floats[target] = False
                elif (written := values.written_floats(values.texts(target, column, trim=True))) is not None:
                    floats[target] = written
            if all(known is False for known in floats.values()):
                break
        for target, written in floats.items():
            if written:
                self.understood[target] = "floats, read as the integers that they are"
        return Found(self._time(), {target: bool(written) for target, written in floats.items()})

    def _time(self) -> TimeUnit | None:
        """How times are read."""
        name = self.columns.mapping.get("time")
        if self.time_unit is not None or name is None:
            if self.time_unit is not None:
                self.understood["time"] = f"{moments.NAMES[self.time_unit]}, as time_unit says"
            return None if self.time_unit is None else TimeUnit(self.time_unit)
        counts, typed = UnitCounts(), False
        for read in self.table.batches(Wanted((name,))):
            column = read.values[name]
            if typed := moments.is_typed(column.type):
                break
            counts += moments.count(name, column.filter(read.problem.is_null()))
        how = counts.found(name)
        self.understood["time"] = "times of the file" if typed else counts.described(how.unit)
        return how

    def _claims(self, found: Found) -> Claims | None:
        """What rows claim of the durations of videos; None if no column does."""
        target = next((name for name in DURATIONS if name in self.columns.mapping), None)
        if target is None or "video_id" not in self.columns.mapping:
            return None
        claims, video = Claims(), self.columns.mapping["video_id"]
        name, scale = self.columns.mapping[target], 1000 if target.endswith("_s") else 1
        for read in self.table.batches(Wanted((video, name) if video != name else (video,), frozenset({video}))):
            ids = values.identities("video_id", read.values[video], floats=found.floats.get("video_id"))
            claims.add(ids, values.clock_times(name, read.values[name], scale), read.problem)
        return claims


def _relative(folder: Path, videos: pa.Table) -> pa.Table:
    """The videos, with paths among their URLs resolved against this folder."""
    urls = videos["url"].combine_chunks()
    local = pa.array(is_true(pc.invert(pc.match_substring_regex(urls, ADDRESS))))
    paths = [str(folder / url) for url in urls.filter(local).to_pylist()]
    urls = pc.replace_with_mask(urls, local, pa.array(paths, pa.string()))
    return videos.set_column(videos.column_names.index("url"), videos.schema.field("url"), urls)
