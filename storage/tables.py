"""The tables of a root: folders of Parquet parts that any Parquet reader can open as one dataset.

For each unit that a part covers (`schema.UNIT`, mostly a video), its rows replace those of earlier parts. A part can
cover a unit without having a row for it ("this video has no labels any more"): such units are listed in its metadata.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelmill.storage import cache, parts, sources
from reelmill.storage.errors import CorruptPart, InputError, nearest
from reelmill.storage.place import AnyPath, AnyRoot, place
from reelmill.storage.schema import SCHEMAS, UNIT
from reelmill.storage.shield import shielded
from reelmill.storage.unit_writer import UnitWriter

EMPTY_UNITS = b"reelmill.empty_units"
LOGGED = {
    "outcomes": ("stage", "key", "spec", "status", "attempt", "seconds", "time"),
    "rates": ("host", "extractors", "part", "amount", "seconds", "time"),
}
"""Columns that identify a row of a log: it counts once, in however many parts it is."""
ROW_GROUP = 1 << 20
BATCH = 1 << 18
"""Rows that are read at once where not the whole table is."""


class Tables:
    """The tables under `ROOT/tables`. Nothing is cached: each read sees every part that is complete at that moment."""

    def __init__(self, root: AnyRoot, sources: frozenset[str] = frozenset()) -> None:
        """`sources`: read events and labels of these sources alone; empty: of all."""
        self.folder, self.sources = place(root) / "tables", sources

    def write(self, name: str, rows: pa.Table | Sequence[Mapping[str, Any]], covers: Iterable[str] = ()) -> int:
        """Add one complete part; return its number of rows.

        `rows`: a table or a list of dicts in the table's schema (a missing nullable column is null). `covers`: units
        whose earlier rows this part replaces even if it has no row for them. Nothing is written when both are empty.
        """
        table = _checked(name, rows)
        empty: set[str] = set()
        if (unit := UNIT[name]) is not None:
            empty = set(covers) - set(pc.unique(table[unit]).to_pylist())
        if not table.num_rows and not empty:
            return 0
        self._commit(name, table, empty)
        return table.num_rows

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The whole table as it is now; empty (with its schema) if nothing was written.

        With `sources`, events of other sources are left out, and labels that no record of these sources can have made.
        Raises InputError for labels that records of other sources may have made as well."""
        if self.sources and name in ("events", "labels"):
            return self._read_of_sources(name, columns)
        schema = _schema(name)
        unit = UNIT[name]
        wanted = list(columns) if columns is not None else schema.names
        for column in wanted:
            if column not in schema.names:
                raise InputError(f"table {name!r} has no column {column!r}: {nearest(column, schema.names)}")
        needed = {*wanted, unit} if unit else {*wanted, *LOGGED[name]}
        loaded = pa.schema([field for field in schema if field.name in needed])
        try:
            table, _ = _merged(name, parts.list_parts(self.folder / name, ".parquet"), loaded)
        except FileNotFoundError:
            return self.read(name, columns)  # removed by compaction meanwhile: list again
        return table.select(wanted).combine_chunks()

    def _read_of_sources(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        """The rows of `sources` in the table `events` or `labels`."""
        wanted, every = list(columns) if columns is not None else _schema(name).names, Tables(self.folder.parent)
        if name == "events":
            rows = every.read(name, list(dict.fromkeys([*wanted, "source"])))
            return rows.filter(pc.is_in(rows["source"], value_set=pa.array(sorted(self.sources)))).select(wanted)
        rows = every.read(name, list(dict.fromkeys([*wanted, "user_id", "video_id"])))
        records = every.read("events", ["user_id", "video_id", "kind", "source"])
        return sources.labels_of(rows, records, self.sources).select(wanted)

    def read_where(self, name: str, columns: Sequence[str], column: str, values: Sequence[str]) -> pa.Table:
        """The rows of a table with units of which a column has one of these values, as `read` gives them. Memory is
        that of these rows, however many others there are."""
        unit, schema = UNIT[name], _schema(name)
        if unit is None:
            raise InputError(f"table {name!r} is a log and has no units")
        if self.sources and name in ("events", "labels"):
            rows = self.read(name, list(dict.fromkeys([*columns, column])))
            return rows.filter(pc.is_in(rows[column], value_set=pa.array(values))).select(columns)
        loaded = pa.schema([field for field in schema if field.name in {*columns, column, unit}])
        wanted, hidden, found = pa.array(values, schema.field(column).type), set[str](), [loaded.empty_table()]
        try:
            for part in reversed(parts.list_parts(self.folder / name, ".parquet")):
                units, mine = set[str](), []
                for rows in self.batches_of(name, part, loaded):
                    units.update(pc.unique(rows[unit]).to_pylist())
                    old = pc.is_in(rows[unit], value_set=pa.array(hidden, pa.string()))
                    mine.append(rows.filter(pc.and_not(pc.is_in(rows[column], value_set=wanted), old)))
                found += reversed(mine)
                hidden |= units | set(self._empty_units(part))
        except FileNotFoundError:
            return self.read_where(name, columns, column, values)  # removed by compaction meanwhile: list again
        return pa.concat_tables(reversed(found)).select(columns)

    def rows_of(self, name: str, unit: str) -> Iterator[pa.Table]:
        """The rows of one unit, in batches of which none is empty: those of the newest part that covers it."""
        for part in reversed(parts.list_parts(self.folder / name, ".parquet")):
            found = False
            for rows in self.batches_of(name, part):
                mine = rows.filter(pc.equal(rows[UNIT[name]], unit))
                if mine.num_rows:
                    found = True
                    yield mine
            if found or unit in self._empty_units(part):
                return

    def batches_of(self, name: str, part: AnyPath, schema: pa.Schema | None = None) -> Iterator[pa.Table]:
        """The rows of one part, batch by batch, in the table's schema or some of its columns. Raises CorruptPart."""
        schema = schema or _schema(name)
        try:
            with cache.pinned(part) as path, pq.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(BATCH, columns=schema.names):
                    if batch.num_rows:
                        yield _conform(pa.Table.from_batches([batch]), schema)
        except (ValueError, TypeError, OSError) as error:
            raise _corrupt(part, error) from error

    def _empty_units(self, part: AnyPath) -> list[str]:
        """Units that a part covers without a row."""
        with cache.pinned(part) as path, pq.ParquetFile(path) as file:
            return _empties(file)

    def read_part(self, name: str, path: AnyPath) -> pa.Table:
        """One part alone, checked against its checksums and the schema. Raises CorruptPart."""
        return _merged(name, [path], _schema(name))[0]

    def units(self, name: str) -> set[str]:
        """Units (mostly video ids) that have rows in the table."""
        unit = UNIT[name]
        if unit is None:
            raise InputError(f"table {name!r} is a log and has no units")
        return set(pc.unique(self.read(name, [unit])[unit]).to_pylist())

    def compact(self, name: str, part_bytes: int = 64 << 20) -> tuple[int, int]:
        """Merge consecutive parts as long as they are under `part_bytes` together; return (parts before, parts after).

        A merged part takes the age of the newest part that it replaces, and the old parts are removed when it is
        complete. Readers ignore the duplicates that a crash in between, or another process that merges, leaves.
        """
        try:
            return self._compact(name, part_bytes)
        except FileNotFoundError:
            return self.compact(name, part_bytes)  # another process merges them too: list again

    def _compact(self, name: str, part_bytes: int) -> tuple[int, int]:
        before = parts.list_parts(self.folder / name, ".parquet")
        for run in _runs(before, parts.files(self.folder / name), part_bytes):
            if len(run) > 1:
                self._commit(name, *_merged(name, run, _schema(name)), sequence=parts.sequence(run[-1]))
                for path in run:
                    parts.remove(path)
        return len(before), len(parts.list_parts(self.folder / name, ".parquet"))

    def compacted(self, name: str, part_bytes: int = 64 << 20) -> int:
        """How many parts `compact` would leave."""
        paths = parts.list_parts(self.folder / name, ".parquet")
        return len(_runs(paths, parts.files(self.folder / name), part_bytes)) if paths else 0

    def replacing(self, name: str, unit: str) -> UnitWriter:
        """Context manager that takes the new rows of a unit batch by batch."""
        empty = _schema(name).empty_table()
        return UnitWriter(
            self.folder / name,
            _schema(name),
            current=lambda: self.rows_of(name, unit),
            added=lambda path: self.batches_of(name, path),
            clear=lambda: self.write(name, empty, covers=[unit]),
        )

    def sweep(self) -> list[Path]:
        """Remove the temporary files of dead writers in every table."""
        return [path for name in SCHEMAS for path in parts.sweep(self.folder / name)]

    def _commit(self, name: str, table: pa.Table, empty: set[str], sequence: int = 0) -> None:
        if empty:
            table = table.replace_schema_metadata({EMPTY_UNITS: json.dumps(sorted(empty)).encode()})
        with shielded(), parts.new_part(self.folder / name, ".parquet", sequence) as path:
            pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True)


def _runs(paths: Sequence[AnyPath], sizes: Mapping[str, int], part_bytes: int) -> list[list[AnyPath]]:
    """Consecutive parts that are under `part_bytes` together."""
    runs: list[list[AnyPath]] = [[]]
    filled = 0
    for path in paths:
        size = sizes.get(path.name, 0)
        if runs[-1] and filled + size > part_bytes:
            runs.append([])
            filled = 0
        runs[-1].append(path)
        filled += size
    return runs


def _merged(name: str, paths: Sequence[AnyPath], schema: pa.Schema) -> tuple[pa.Table, set[str]]:
    """Rows of each unit from the newest of these parts that covers it, and the units that are covered without a row."""
    unit = UNIT[name]
    read = [schema.empty_table()]
    empties: list[list[str]] = [[]]
    cache.near(paths)
    for path in paths:
        try:
            rows, empty = cache.reading(path, lambda file: _rows(file, schema))
            read.append(rows)
            empties.append(empty)
        except (ValueError, TypeError, OSError) as error:
            raise _corrupt(path, error) from error
    table = pa.concat_tables(read)
    if unit is None:
        return _once(table, LOGGED[name]) if len(paths) > 1 else table, set()
    if len(paths) > 1:
        table = _newest(table, [t.num_rows for t in read], empties, unit)
    return table, set().union(*empties) - set(pc.unique(table[unit]).to_pylist())


def _rows(path: Path, schema: pa.Schema) -> tuple[pa.Table, list[str]]:
    """Rows of a part, and the units that it covers without a row."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return _conform(file.read(schema.names), schema), _empties(file)


def _empties(file: pq.ParquetFile) -> list[str]:
    """Units that the file of a part covers without a row."""
    units: list[str] = json.loads((file.schema_arrow.metadata or {}).get(EMPTY_UNITS, b"[]"))
    return units


def _corrupt(path: AnyPath, error: Exception) -> Exception:
    """CorruptPart for a part that cannot be read; an error of the system as it is, since the file may be sound."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return CorruptPart(f"{path} cannot be read ({error}); move it away and run the stage again")


def _once(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """A log without duplicate rows: of each the last is kept, in the order in which they were written."""
    numbered = table.select(columns).append_column("row", pa.array(np.arange(len(table))))
    last = numbered.group_by(list(columns)).aggregate([("row", "max")])["row_max"]
    return table if len(last) == len(table) else table.take(np.sort(last.to_numpy()))


def _newest(table: pa.Table, sizes: Sequence[int], empties: Sequence[Sequence[str]], unit: str) -> pa.Table:
    """The rows of each unit from its newest part, without a loop over rows. `sizes`: rows of each part."""
    encoded = pc.dictionary_encode(table[unit]).combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    part = np.repeat(np.arange(len(sizes)), sizes)
    newest = np.full(len(encoded.dictionary), -1)
    np.maximum.at(newest, codes, part)
    position = {u: i for i, u in enumerate(encoded.dictionary.to_pylist())} if any(empties) else {}
    for number, units in enumerate(empties):
        for name in units:
            if (i := position.get(name)) is not None:
                newest[i] = max(newest[i], number)
    return table.filter(pa.array(part == newest[codes]))


def _schema(name: str) -> pa.Schema:
    if name not in SCHEMAS:
        raise InputError(f"there is no table {name!r}: {nearest(name, list(SCHEMAS))}")
    return SCHEMAS[name]


def _checked(name: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows in the table's schema; raises InputError where they do not fit it."""
    schema = _schema(name)
    given = set(rows.column_names) if isinstance(rows, pa.Table) else {key for row in rows for key in row}
    if unknown := sorted(given - set(schema.names)):
        raise InputError(f"table {name!r} has no column {unknown[0]!r}: {nearest(unknown[0], schema.names)}")
    try:
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        return _conform(rows, schema)
    except (ValueError, TypeError) as error:
        raise InputError(f"rows for table {name!r} do not fit its schema: {error}") from error


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema in its types; missing columns are null. Raises ValueError or TypeError."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(table.num_rows, field.type))
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise ValueError(f"column {field.name!r} may not be null")
    return table.select(schema.names).cast(schema)
