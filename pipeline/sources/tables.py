"""The file of a table, read piece by piece: delimited text, JSON lines, or Parquet; packed or not.

    table = open_table(path)  # table.names, table.described
    for columns in table.batches(Wanted(("user", "item"))):  # text.Columns: values, problem, rows

Memory is that of some batches, whatever the length of the file; only a `.json` that is one array is read as a whole.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelmill.pipeline.sources import dialect, text, values
from reelmill.pipeline.sources.bounds import check_rows
from reelmill.pipeline.sources.dialect import BY_SUFFIX, Dialect, Form, suffix_of
from reelmill.pipeline.sources.rows import is_true
from reelmill.storage.errors import InputError

JSON = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*(s for s in BY_SUFFIX if s not in (".item", ".user")), *JSON, ".parquet")
"""Of tables, before `.gz`."""
BATCH_ROWS = 1 << 18
"""Rows of Parquet in a batch."""


@dataclass(frozen=True)
class Wanted:
    """Columns to read, and what they hold."""

    names: tuple[str, ...]
    identities: frozenset[str] = frozenset()
    """Users or videos: a JSON number that may be another's is not read."""
    lists: frozenset[str] = frozenset()
    """JSON may hold lists there."""
    breakable: frozenset[str] = frozenset()
    """Free text: a quoted field may hold line breaks."""


class Table(Protocol):
    """The file of a table."""

    path: Path
    names: tuple[str, ...]
    """Names of the columns; of JSON lines, those in the first piece of the file."""
    described: str
    """How the file is read, in words."""

    def batches(self, wanted: Wanted) -> Iterator[text.Columns]:
        """The wanted columns, batch by batch, one at least. Raises InputError for a file that cannot be read."""


def open_table(path: Path, told: Dialect | None = None) -> Table:
    """Find the form of a file. Raises InputError for an unknown suffix, or a file that cannot be read."""
    suffix, told = suffix_of(path), told or Dialect()
    if suffix in JSON or suffix == ".parquet":
        if told != Dialect():
            raise InputError(f"{path}: header, separator, encoding and quote are of text tables, not of {suffix}")
        return JsonTable(path) if suffix in JSON else ParquetTable(path)
    if suffix in BY_SUFFIX or told.separator is not None:
        return TextTable(path, dialect.find(path, told))
    raise InputError(f"{path}: a table ends in one of {', '.join(SUFFIXES)}, maybe with .gz, this one in {suffix!r}")


def first_line(path: Path) -> str:
    """The first line of a text, its first 1,000 bytes at most."""
    beginning = b"".join(dialect.raw_pieces(path, 1000))
    return beginning.partition(b"\n")[0].decode("utf-8", "replace")


class TextTable:
    """A delimited text."""

    def __init__(self, path: Path, form: Form) -> None:
        self.path, self.form, self.names, self.described = path, form, form.names, form.described()

    def batches(self, wanted: Wanted) -> Iterator[text.Columns]:
        """See `Table`."""
        form, rest = self.form, b""
        options: dict[str, Any] = {"wanted": wanted.names, "quote": form.quote, "broken_in": wanted.breakable}
        for piece in dialect.pieces(self.path, form):
            rest += piece
            if len(rest) < dialect.PIECE_BYTES and b"\n" not in rest:
                continue
            columns, used = text.split_some(rest, form.separator, form.names, more=True, **options)
            rest = rest[used:]
            if len(rest) > dialect.MOST_LINE:
                raise InputError(f"{self.path} has a line of more than {dialect.MOST_LINE:,} bytes, as no table has")
            if columns.rows:
                yield columns
        columns, _ = text.split_some(rest, form.separator, form.names, more=False, **options)
        yield columns


class ParquetTable:
    """A Parquet file."""

    described = "Parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                self.schema, self.rows = file.schema_arrow, file.metadata.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as Parquet ({error})") from error
        check_rows(self.rows, path)
        self.names = tuple(self.schema.names)

    def batches(self, wanted: Wanted) -> Iterator[text.Columns]:
        """See `Table`."""
        names = list(wanted.names)
        if not names:  # constants alone
            yield text.Columns({}, pa.nulls(self.rows, pa.string()), self.rows)
            return
        rows = 0
        try:
            with pq.ParquetFile(self.path) as file:
                empty = self.schema.empty_table().select(names)
                for batch in file.iter_batches(BATCH_ROWS, columns=names):
                    rows += batch.num_rows
                    yield _sound(pa.Table.from_batches([batch]).select(names))
                if not self.rows:
                    yield _sound(empty)
            if rows != self.rows:
                raise pa.ArrowInvalid(f"it claims {self.rows} rows and has {rows}")
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path} cannot be read as Parquet ({error})") from error


def _sound(table: pa.Table) -> text.Columns:
    """The columns, without texts that are not UTF-8 or hold a NUL byte."""
    problem = pa.nulls(table.num_rows, pa.string())
    columns = {}
    for name in table.column_names:
        column = table[name]
        if values.is_text(column.type):
            column, bad = _sound_texts(column.cast(pa.string()))
            problem = pc.if_else(bad, f"{name}: not UTF-8, or a NUL byte", problem)
        columns[name] = column
    return text.Columns(columns, problem, table.num_rows)


def _sound_texts(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array]:
    """The texts, with those removed that are not UTF-8 or hold a NUL byte; and which those were, (rows,) bool."""
    binary = column.cast(pa.binary())
    bad = is_true(pc.greater_equal(pc.find_substring(binary, b"\0"), 0))
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        lines = pc.replace_substring(pc.fill_null(binary, b""), b"\n", b" ").to_pylist()
        bad[text.undecodable_lines(b"\n".join(lines))] = True
    return pc.if_else(pa.array(bad), None, binary).cast(pa.string()), pa.array(bad)


class JsonTable:
    """JSON lines, each parsed alone, since a reader of whole files fails at the first bad line; or one array.

    All values become text."""

    described = "JSON"

    def __init__(self, path: Path) -> None:
        self.path = path
        first = next(self._rows(), [])
        self.names = tuple(dict.fromkeys(name for row in first if isinstance(row, dict) for name in row))
        self.seen: set[str] = set()
        """Names of columns in the pieces that were read."""

    def batches(self, wanted: Wanted) -> Iterator[text.Columns]:
        """See `Table`. Columns that no object has are null."""
        none = True
        for rows in self._rows():
            none = False
            yield self._columns(rows, wanted)
        if none:
            yield self._columns([], wanted)

    def _columns(self, parsed: list[dict[str, Any] | str], wanted: Wanted) -> text.Columns:
        objects = [row if isinstance(row, dict) else {} for row in parsed]
        self.seen.update(*objects)
        problem: list[str | None] = [row if isinstance(row, str) else None for row in parsed]
        columns = {}
        for name in wanted.names:
            many, is_id = name in wanted.lists, name in wanted.identities
            cells = [_identity(row.get(name)) if is_id else _cell(row.get(name), many) for row in objects]
            for number, cell in enumerate(cells):
                if cell is UNUSABLE and problem[number] is None:
                    problem[number] = f"{name}: {_flaw(objects[number][name])}"
            kind = pa.list_(pa.string()) if many else pa.string()
            columns[name] = pa.chunked_array([pa.array([None if c is UNUSABLE else c for c in cells], kind)])
        return text.Columns(columns, pa.array(problem, pa.string()), len(parsed))

    def _rows(self) -> Iterator[list[dict[str, Any] | str]]:
        """The objects of each piece of the file; of a line that is none, what is wrong with it."""
        rest = b""
        for number, piece in enumerate(dialect.raw_pieces(self.path)):
            if number == 0:
                piece = piece.removeprefix(b"\xef\xbb\xbf")
                if suffix_of(self.path) == ".json" and piece.lstrip().startswith(b"["):
                    yield self._array()
                    return
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > dialect.MOST_LINE:
                raise InputError(f"{self.path} has a line of more than {dialect.MOST_LINE:,} bytes, as no table has")
            if lines:
                yield [_parse(line) for line in lines]
        if rest:
            yield [_parse(rest)]

    def _array(self) -> list[dict[str, Any] | str]:
        try:
            rows = json.loads(b"".join(dialect.raw_pieces(self.path)).decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.path} begins as one JSON array and is none ({error}); write JSON lines") from error
        return [row if isinstance(row, dict) else "not a JSON object" for row in rows]


UNUSABLE = object()


def _parse(line: bytes) -> dict[str, Any] | str:
    """The object in a line, or what is wrong with it."""
    if not line.strip():
        return "empty line"
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict) else "not a JSON object"


def _identity(value: Any) -> Any:
    """A JSON value as identity, by the rule of `values.identities`; UNUSABLE if it may be that of another."""
    if isinstance(value, float):
        if isnan(value):
            return None
        return str(int(value)) if abs(value) < values.EXACT[pa.float64()] and value.is_integer() else UNUSABLE
    return _cell(value, False)


def _flaw(value: Any) -> str:
    """Why a JSON value is UNUSABLE."""
    if isinstance(value, float):
        above = values.EXACT[pa.float64()]
        return f"{value!r} is no identity; {values.WHOLE} below {above:,}; write an integer or a text"
    return "a list, an object, or a NUL or half a character in a text"


def _cell(value: Any, many: bool) -> Any:
    """A JSON value as text (or list of texts), null as None, UNUSABLE if it has no such form."""
    if value is None:
        return None
    if many:
        items = value if isinstance(value, list) else str(value).split("|")
        cells = [_cell(item, False) for item in items]
        return UNUSABLE if UNUSABLE in cells else cells
    if isinstance(value, list | dict):
        return UNUSABLE
    said = value if isinstance(value, str) else json.dumps(value)
    return UNUSABLE if "\0" in said or any("\ud800" <= c <= "\udfff" for c in said) else said
