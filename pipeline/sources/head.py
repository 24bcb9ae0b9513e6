"""The first rows of a table as text, whatever its format: what `guess` looks at."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.dialect import Dialect, suffix_of
from reelmill.pipeline.sources.tables import SUFFIXES, Wanted, open_table
from reelmill.storage.errors import InputError

ROWS = 1000
"""Maximum number of rows."""


@dataclass(frozen=True)
class Head:
    """The first rows of a table. Cells are text; a missing value is empty."""

    names: tuple[str, ...]
    columns: dict[str, list[str]]
    """{column: its first cells}"""
    described: str
    """How the file is read."""

    def filled(self, name: str) -> list[str]:
        """The cells of a column that are not empty."""
        return [cell for cell in self.columns[name] if cell]


def read_head(path: Path, told: Dialect | None = None) -> Head:
    """The first rows of a table that can be read. Raises InputError if it is none, or has no rows or no names of
    columns."""
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise InputError(f"{path} ends in {suffix!r}; a table ends in one of {', '.join(SUFFIXES)}, maybe with .gz")
    try:
        table = open_table(path, told)
        names = table.names
        if len(set(names)) < len(names):
            raise InputError(f"{path}: two columns have the same name; give each a name of its own")
        if not all(names):
            raise InputError(f"{path}: the first line must hold the names of the columns; it holds {', '.join(names)}")
        lists = frozenset(names)
        read = next(table.batches(Wanted(names, lists=lists)))
    except InputError as error:
        said = str(error)
        raise InputError(said if "two columns" in said or "must hold" in said else
                         f"{path} cannot be read as {suffix.lstrip('.')}: {said}") from error  # fmt: skip
    good = read.problem.is_null()
    columns = {name: _cells(read.values[name].filter(good).slice(0, ROWS)) for name in names}
    if not any(columns.values()):
        raise InputError(f"{path} holds no rows; give a table with some")
    return Head(names, columns, table.described)


def _cells(column: pa.ChunkedArray) -> list[str]:
    """Cells as text; lists joined by `|`."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return ["" if cell is None else "|".join(map(str, cell)) for cell in column.to_pylist()]
    try:
        text = pc.fill_null(column.cast(pa.string()), "")
    except pa.ArrowException:
        return ["" if cell is None else str(cell) for cell in column.to_pylist()]
    return [str(cell).strip() for cell in text.to_pylist()]
