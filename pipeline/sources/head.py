"""The first rows of a table as text, whatever its format: what `guess` looks at."""

import csv
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reelmill.pipeline.sources.mapped import SEPARATOR, SUFFIXES
from reelmill.storage.errors import InputError

ROWS = 1000
"""Maximum number of rows."""
BYTES = 1 << 20
"""Bytes of a text file that are read, after unpacking."""


@dataclass(frozen=True)
class Head:
    """The first rows of a table. Cells are text; a missing value is empty."""

    names: tuple[str, ...]
    columns: dict[str, list[str]]
    """{column: its first cells}"""

    def filled(self, name: str) -> list[str]:
        """The cells of a column that are not empty."""
        return [cell for cell in self.columns[name] if cell]


def suffix_of(path: Path) -> str:
    """`.csv` of `likes.CSV.gz`."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def read_head(path: Path) -> Head:
    """The first rows of a CSV, TSV, JSON-lines or Parquet file. Raises InputError if it is none, or has no rows or no
    names of columns."""
    suffix = suffix_of(path)
    try:
        if suffix in SEPARATOR:
            head = _delimited(path, SEPARATOR[suffix])
        elif suffix == ".parquet":
            head = _parquet(path)
        elif suffix in SUFFIXES:
            head = _json_lines(path)
        else:
            raise InputError(f"{path} ends in {suffix!r}; a table ends in one of {', '.join(SUFFIXES)}, maybe with .gz")
    except (OSError, EOFError, ValueError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as {suffix.lstrip('.')}: {error}") from error
    if len(set(head.names)) < len(head.names):
        raise InputError(f"{path}: two columns have the same name; give each a name of its own")
    if not any(head.columns.values()):
        raise InputError(f"{path} holds no rows; give a table with some")
    return head


def first_lines(path: Path) -> list[str]:
    """Whole lines at the beginning of a text file. Raises ValueError if it is not UTF-8."""
    with path.open("rb") as file:
        data = file.read(BYTES)
    if path.suffix == ".gz":
        data = zlib.decompressobj(wbits=31).decompress(data, BYTES)
    if len(data) >= BYTES:
        data = data[: data.rfind(b"\n") + 1]
    text = data.removeprefix(b"\xef\xbb\xbf").decode()
    return text.splitlines()[: ROWS + 1]


def _delimited(path: Path, separator: str) -> Head:
    names, *rows = csv.reader(first_lines(path), delimiter=separator) or [[]]
    names = [name.strip() for name in names]
    if any(_is_number(name) for name in names) or not all(names):
        raise InputError(f"{path}: the first line must hold the names of the columns; it holds {', '.join(names)}")
    whole = [row for row in rows if len(row) == len(names)]
    return Head(tuple(names), {name: [row[at].strip() for row in whole] for at, name in enumerate(names)})


def _json_lines(path: Path) -> Head:
    rows = []
    for line in first_lines(path):
        try:
            row = json.loads(line)
        except ValueError:
            continue  # ingest makes it a reject
        rows += [row] if isinstance(row, dict) else []
    return _table(dict.fromkeys(name for row in rows for name in row), rows)


def _parquet(path: Path) -> Head:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        batch = next(file.iter_batches(batch_size=ROWS), None)
    return _table(names, batch.to_pylist() if batch is not None else [])


def _table(names: Iterable[str], rows: list[dict[str, object]]) -> Head:
    names = tuple(names)
    return Head(names, {name: [_text(row.get(name)) for row in rows] for name in names})


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return "|".join(map(str, cell)) if isinstance(cell, list) else str(cell).strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
