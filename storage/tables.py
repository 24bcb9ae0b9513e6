"""The tables of a root: folders of Parquet parts that any Parquet reader can open as one dataset.

A part replaces, for each unit it covers (`schema.UNIT`, mostly a video), what earlier parts say of that unit. A part
can cover a unit without having a row of it ("this video has no labels any more"): such units stand in its metadata.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import parts
from storage.errors import InputError, StoreError, nearest
from storage.schema import SCHEMAS, UNIT

EMPTY_UNITS = b"reelmill.empty_units"
ROW_GROUP = 1 << 20


class Tables:
    """The tables under `ROOT/tables`. Nothing is cached: each read sees every part that is complete at that moment."""

    def __init__(self, root: str | Path) -> None:
        self.folder = local_root(root) / "tables"

    def write(self, name: str, rows: pa.Table | Sequence[Mapping[str, Any]], covers: Iterable[str] = ()) -> int:
        """Add one complete part; return its number of rows.

        `rows`: a table or a list of dicts in the table's schema (a missing nullable column is null). `covers`: units
        that this part speaks for even where it has no row of them. Nothing is written when both are empty.
        """
        schema = _schema(name)
        table = _conform(name, rows, schema)
        empty: set[str] = set()
        if (unit := UNIT[name]) is not None:
            empty = set(covers) - set(pc.unique(table[unit]).to_pylist())
        if not table.num_rows and not empty:
            return 0
        if empty:
            metadata = {**(schema.metadata or {}), EMPTY_UNITS: json.dumps(sorted(empty)).encode()}
            table = table.replace_schema_metadata(metadata)
        with parts.new_part(self.folder / name, ".parquet") as path:
            pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)
        return table.num_rows

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The whole table as it stands, shape (rows, columns); empty (with its schema) if nothing was written."""
        schema = _schema(name)
        unit = UNIT[name]
        wanted = list(columns) if columns is not None else schema.names
        for column in wanted:
            if column not in schema.names:
                raise InputError(f"table {name!r} has no column {column!r}: {nearest(column, schema.names)}")
        loaded = sorted({*wanted, unit} - {None}, key=schema.names.index)  # type: ignore[arg-type]
        read, empties = [], []
        for path in parts.list_parts(self.folder / name, ".parquet"):
            try:
                with pq.ParquetFile(path) as file:
                    read.append(file.read(columns=loaded).cast(pa.schema([schema.field(c) for c in loaded])))
                    empties.append(json.loads((file.schema_arrow.metadata or {}).get(EMPTY_UNITS, b"[]")))
            except FileNotFoundError:
                return self.read(name, columns)  # compacted away under our hands: list again
            except (pa.ArrowInvalid, OSError) as error:
                raise StoreError(f"{path} cannot be read ({error}); remove it and run the stage again") from error
        if not read:
            return pa.schema([schema.field(c) for c in wanted]).empty_table()
        if unit is None or len(read) == 1:
            table = pa.concat_tables(read)
        else:
            table = _newest(read, empties, unit)
        return table.select(wanted).combine_chunks()

    def units(self, name: str) -> set[str]:
        """Units (mostly video ids) that have rows in the table."""
        unit = UNIT[name]
        if unit is None:
            raise InputError(f"table {name!r} is a log and has no units")
        return set(pc.unique(self.read(name, [unit])[unit]).to_pylist())

    def sweep(self) -> list[Path]:
        """Remove what dead writers left behind in every table."""
        return [path for name in SCHEMAS for path in parts.sweep(self.folder / name)]


def local_root(root: str | Path) -> Path:
    """The root as a path; `file://` is understood, other URLs are refused by name."""
    text = str(root)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif "://" in text:
        raise InputError(f"root {text!r}: only local folders can be a root in this version; give a path")
    return Path(text)


def _newest(read: list[pa.Table], empties: list[list[str]], unit: str) -> pa.Table:
    """Rows of each unit from the newest part that covers it, without a loop over rows."""
    table = pa.concat_tables(read)
    encoded = pc.dictionary_encode(table[unit]).combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    part = np.repeat(np.arange(len(read)), [t.num_rows for t in read])
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


def _conform(name: str, rows: pa.Table | Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    if not isinstance(rows, pa.Table):
        unknown = {key for row in rows for key in row} - set(schema.names)
        if unknown:
            raise InputError(f"table {name!r} has no column {sorted(unknown)[0]!r}: known: {', '.join(schema.names)}")
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    else:
        absent = [f.name for f in schema if f.name not in rows.column_names]
        for column in absent:
            rows = rows.append_column(schema.field(column), pa.nulls(rows.num_rows, schema.field(column).type))
        table = rows.select(schema.names).cast(schema)
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise InputError(f"table {name!r}: column {field.name!r} may not be null")
    return table
