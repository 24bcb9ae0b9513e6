"""SQL views for DuckDB, in which newer rows have replaced older ones as `Tables` and `FeatureStore` read them.

    labels, videos, …                 a view a table, with the columns of its schema
    features."c3d-fc6-1f0c22ab"       a view a store: video_id, segment_index, start_ms, stop_ms, mask, features FLOAT[]

A plain scan of a folder counts replaced rows too, and joins them. What these views do is what `tables` says: of each
unit the rows of the newest part that covers it, also where that part only says that the unit has none any more; of a
log each row once. Parts sort by name from the oldest to the newest. DuckDB cannot read HDF5, so the view of a store
that holds any HDF5 shard is an error that says how to export it, never a part of the rows.
"""

from collections.abc import Callable, Sequence

import pyarrow as pa

from reelmill.storage import parts
from reelmill.storage.features import Features
from reelmill.storage.place import AnyPath, AnyRoot, address, is_url, place
from reelmill.storage.schema import SCHEMAS, UNIT
from reelmill.storage.shards import SUFFIXES
from reelmill.storage.tables import EMPTY_UNITS, LOGGED

FILE = "views.sql"
ENDING = ".parquet"
TYPES = {
    pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB", pa.timestamp("ms", tz="UTC"): "TIMESTAMPTZ", pa.list_(pa.string()): "VARCHAR[]",
}  # fmt: skip
"""DuckDB's types of the columns of tables."""
STORE_COLUMNS = {
    "video_id": "VARCHAR", "segment_index": "INTEGER", "start_ms": "BIGINT", "stop_ms": "BIGINT", "mask": "UTINYINT",
    "features": "FLOAT[]",
}  # fmt: skip
"""The same of a store."""
HEADER = """\
-- The tables and Parquet feature stores of this root as DuckDB views; written by `reelmill sql --views`.
-- Paths are relative to the root:    cd ROOT && duckdb -init views.sql
-- or from anywhere else:             SET file_search_path = 'ROOT';  then  .read ROOT/views.sql
-- New rows appear by themselves. Write the file again when a store is new, or a view says so.
"""


def read_views(root: AnyRoot, reads: Callable[[str, Sequence[AnyPath]], Sequence[str] | None]) -> list[str]:
    """One statement a view, over the parts that are complete now.

    `reads(name, parts)`: paths of this machine to read these parts of a table or store from, under their own names;
    None if the view is to be an error, since the query does not name it.
    """
    statements = ["CREATE SCHEMA IF NOT EXISTS features"]
    for name in SCHEMAS:
        files = reads(name, parts.list_parts(place(root) / "tables" / name, ENDING))
        statements.append(_view(name, _unnamed(name)) if files is None else _table(name, _list(files)))
    stores = Features(root)
    for name in stores.list():
        paths = parts.list_parts(stores.folder / name, SUFFIXES)
        hdf5 = any(path.suffix != ENDING for path in paths)
        found = reads(name, [] if hdf5 else paths)
        if hdf5:
            statements.append(_view(_store_name(name), _error(STORE_COLUMNS, _export(name))))
        elif found is None:
            statements.append(_view(_store_name(name), _unnamed(name)))
        else:
            statements.append(_view(_store_name(name), _store(_list(found))))
    return statements


def file_views(root: AnyRoot) -> str:
    """The views as the text of `ROOT/views.sql`, over whatever parts there are when they are read.

    Paths are relative, so that a root that is moved, copied or mounted elsewhere keeps its views; those of an object
    store are its URLs, which have no current folder."""
    start = address(root) + "/" if is_url(address(root)) else ""
    tables, stores = place(root) / "tables", Features(root)
    statements = ["CREATE SCHEMA IF NOT EXISTS features"]
    for name in SCHEMAS:
        files = f"{start}tables/{name}/part-*{ENDING}"
        if parts.list_parts(tables / name, ENDING):
            statements.append(_table(name, _text(files)))
        else:
            again = f"table {name} has rows by now: write views.sql again, with `reelmill sql --views`"
            statements.append(_view(name, f"{_columns(_kinds(name))}\nWHERE {_no_files(files, again, 'false')}"))
    for name in stores.list():
        files = f"{start}features/{name}/part-*"
        if any(path.suffix != ENDING for path in parts.list_parts(stores.folder / name, SUFFIXES)):
            statements.append(_view(_store_name(name), _error(STORE_COLUMNS, _export(name))))
        else:
            body = f"{_store(_text(files + ENDING))}\nWHERE {_no_files(files + '.h5', _export(name))}"
            statements.append(_view(_store_name(name), body))
    return HEADER + "".join(f"\n{statement};\n" for statement in statements)


def _table(name: str, files: str | None) -> str:
    """The view of a table. `files`: the parts as an argument of `read_parquet`; None if there are none."""
    columns, unit = _kinds(name), UNIT[name]
    if files is None:
        return _view(name, f"{_columns(columns)}\nWHERE false")
    # an older part may have fewer columns, so the schema's stand first
    stored = f"{_columns(columns)} WHERE false\n    UNION ALL BY NAME\n    SELECT * FROM {_scan(files)}"
    picked = ", ".join(f"stored.{_name(column)}" for column in columns)
    if unit is None:
        # one part alone is read as it is: `Tables` does the same
        same, last = ", ".join(map(_name, LOGGED[name])), "parse_filename(filename) DESC, file_row_number DESC"
        rule = f"QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY {last}) = 1\n"
        rule += "    OR min(filename) OVER () = max(filename) OVER ()"
        return _view(name, f"WITH stored AS (\n    {stored}\n)\nSELECT {picked} FROM stored\n{rule}")
    covered = (
        f"SELECT {_name(unit)} AS unit, filename FROM {_scan(files)}\n    UNION ALL\n"
        f"    SELECT unnest(from_json(decode(value), '[\"VARCHAR\"]')), file_name FROM parquet_kv_metadata({files})\n"
        f"    WHERE key = '{EMPTY_UNITS.decode()}'::BLOB"
    )
    return _view(name, f"WITH stored AS (\n    {stored}\n), {_newest(covered)}\nSELECT {picked} {_joined(unit)}")


def _store(files: str | None) -> str:
    """The query of a Parquet store. Its shards list their videos, also those without a row, in their metadata."""
    if files is None:
        return f"{_columns(STORE_COLUMNS)} WHERE false"
    covered = (
        'SELECT unnest(from_json(decode(value), \'{"video_id": ["VARCHAR"]}\').video_id) AS unit, '
        f"file_name AS filename\n    FROM parquet_kv_metadata({files}) WHERE key = 'reelmill.index'::BLOB"
    )
    picked = ", ".join(f"stored.{_name(column)}::{kind} AS {_name(column)}" for column, kind in STORE_COLUMNS.items())
    return f"WITH stored AS (SELECT * FROM {_scan(files)}), {_newest(covered)}\nSELECT {picked} {_joined('video_id')}"


def _scan(files: str) -> str:
    """Every row of these parts. A folder above the root may be called `year=2026`, which is no column."""
    options = "filename = true, file_row_number = true, union_by_name = true, hive_partitioning = false"
    return f"read_parquet({files}, {options})"


def _newest(covered: str) -> str:
    """The newest part that covers each unit. Paths compare as names: the parts of a view lie in one folder, except the
    copies of an object store, so folders are left out."""
    part = "max(parse_filename(filename))"
    return f"covered AS (\n    {covered}\n), newest AS (SELECT unit, {part} AS part FROM covered GROUP BY unit)"


def _joined(unit: str) -> str:
    return (
        f"FROM stored\nJOIN newest ON stored.{_name(unit)} = newest.unit "
        "AND parse_filename(stored.filename) = newest.part"
    )


def _kinds(name: str) -> dict[str, str]:
    return {field.name: TYPES[field.type] for field in SCHEMAS[name]}


def _columns(kinds: dict[str, str]) -> str:
    """A row of nulls in the types of a schema."""
    return "SELECT " + ", ".join(f"NULL::{kind} AS {_name(column)}" for column, kind in kinds.items())


def _view(name: str, body: str) -> str:
    return f"CREATE OR REPLACE VIEW {name} AS\n{body}"


def _error(kinds: dict[str, str], message: str) -> str:
    """A query that fails with this message. It stands in the condition: DuckDB drops a column that nobody reads."""
    return f"{_columns(kinds)}\nWHERE error({_text(message)}) IS NULL"


def _unnamed(name: str) -> str:
    kinds = _kinds(name) if name in SCHEMAS else STORE_COLUMNS
    return _error(kinds, f"{name} was not fetched from the object store: write its name in the query")


def _no_files(pattern: str, message: str, without: str = "true") -> str:
    """A condition that is `without` if there are no such files, and fails with this message if there are."""
    count = f"(SELECT count(*) FROM glob({_text(pattern)}))"
    return f"CASE WHEN {count} > 0 THEN error({_text(message)}) IS NULL ELSE {without} END"


def _export(name: str) -> str:
    return (
        f"store {name} holds HDF5, which DuckDB cannot read: "
        f"`reelmill export {name} --root ROOT --to ROOT2 --format parquet`, then query ROOT2"
    )


def _store_name(name: str) -> str:
    return f"features.{_name(name)}"


def _name(name: str) -> str:
    quoted = name.replace('"', '""')
    return f'"{quoted}"'


def _text(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _list(files: Sequence[str]) -> str | None:
    return "[" + ", ".join(map(_text, files)) + "]" if files else None
