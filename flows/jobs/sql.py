"""Ask a root in SQL: DuckDB over the views of `storage/views.py`, which change nothing."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any

import duckdb

from reelmill.flows.jobs.results import OPTIONAL
from reelmill.storage import cache, parts
from reelmill.storage.errors import InputError, StoreError
from reelmill.storage.place import AnyPath, is_url, place
from reelmill.storage.views import FILE, file_views, read_views

TRIES = 3
"""A part may be merged into another by `reelmill compact` while it is read."""


@dataclass(frozen=True)
class Column:
    """A column of an answer, with DuckDB's name of its type."""

    name: str
    type: str


@dataclass(frozen=True)
class SqlResult:
    """The answer to a query, and the file of views that was written."""

    columns: list[Column] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    """Values that JSON has: times as ISO 8601, bytes as hex digits, numbers that are not finite as null."""
    views: str | None = field(default=None, metadata=OPTIONAL)


def write_views(root: str) -> SqlResult:
    """Write `ROOT/views.sql`, the views for any DuckDB."""
    path = place(root) / FILE
    parts.write_file(path, file_views(root).encode())
    return SqlResult(views=str(path))


def ask(root: str, query: str) -> SqlResult:
    """The answer to one SELECT over the tables and stores of a root. Raises InputError for a query that DuckDB refuses,
    StoreError for a part that it cannot read."""
    for tried in range(1, TRIES + 1):
        try:
            return _ask(root, query)
        except duckdb.IOException as error:
            if tried == TRIES:
                raise StoreError(f"{_line(error)}; `reelmill verify` names every damaged part") from error
        except duckdb.Error as error:
            raise InputError(f"SQL: {_line(error)}") from error
    raise AssertionError


def _ask(root: str, query: str) -> SqlResult:
    statements = duckdb.extract_statements(query)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise InputError("SQL: give one SELECT (also DESCRIBE, SHOW, SUMMARIZE); a root is only read")
    with ExitStack() as held, duckdb.connect(":memory:") as database:

        def reads(name: str, paths: Sequence[AnyPath]) -> list[str] | None:
            """Parts of this machine; of an object store copies of those that the query names."""
            if is_url(root) and name not in query:
                return None
            cache.near(paths)
            return [str(held.enter_context(cache.pinned(path))) for path in paths]

        database.execute("SET TimeZone = 'UTC'")
        for statement in read_views(root, reads):
            database.execute(statement)
        answer = database.execute(statements[0])
        columns = [Column(str(one[0]), str(one[1])) for one in answer.description or ()]
        return SqlResult(columns, [[_plain(value) for value in row] for row in answer.fetchall()])


def _line(error: Exception) -> str:
    """DuckDB's message in one line, without the query and its arrow."""
    return " ".join(str(error).split("\n\nLINE ")[0].split())


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)
