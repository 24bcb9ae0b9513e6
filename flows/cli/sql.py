"""`reelmill sql`: ask a root in SQL."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.flows.jobs.sql import SqlResult


def sql(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help='One SELECT: "select count(*) from videos".')
    ] = None,
    settings_file: SettingsFile = None,
    root: Root = None,
    views: Annotated[
        bool, typer.Option("--views", help="Write ROOT/views.sql, the same views for any DuckDB, instead of a query.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask tables and feature stores in SQL (DuckDB); newer rows have replaced older ones, as reelmill reads them."""
    if (query is None) != views:
        raise InputError("give a QUERY, or --views to write ROOT/views.sql, not both")
    found = find_root(settings_file, root)
    from reelmill.flows.jobs.sql import ask, write_views

    show(ask(found, query) if query is not None else write_views(found), json, render)


def render(out: Console, result: "SqlResult") -> None:
    """The rows as a table, or the file that was written."""
    if result.views is not None:
        out.print(f"written: {safe(result.views)}", soft_wrap=True)
        return
    kinds = [column.type for column in result.columns]
    numbers = [place for place, kind in enumerate(kinds) if kind.endswith(("INT", "INTEGER", "DOUBLE", "FLOAT"))]
    table = Table(*(column.name for column in result.columns), numbers=numbers)
    for row in result.rows:
        table.add(*("" if value is None else safe(str(value)) for value in row))
    table.print(out)
    out.print(f"{len(result.rows):,} rows" if len(result.rows) != 1 else "1 row")
