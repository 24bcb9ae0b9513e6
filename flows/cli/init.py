"""`reelmill init`: a settings file for a table that is looked at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.options import Json
from reelmill.flows.cli.output import Table, classes, show
from reelmill.flows.progress import console, safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.init import InitResult


def init(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="CSV, TSV, JSON lines, Parquet, a published table, or videos.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The settings file to write.")] = Path(
        "settings.yaml"
    ),
    root: Annotated[
        str | None, typer.Option("--root", metavar="ROOT", help="Root that the settings name; data if not given.")
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OURS=YOURS", help="What a column is, if it is guessed wrong. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the settings file.")] = False,
    json: Json = False,
) -> None:
    """Look at a table, guess its columns, and write a commented settings file for it."""
    from reelmill.flows.jobs.init import init as job

    given = dict(pair.partition("=")[::2] for pair in map or ())
    result = job(table, output, root, given, force)
    show(result, json, render)
    if result.missing:
        free = ", ".join(result.unused) or "none is left"
        console.print(
            f"[bold red]error:[/] which column is {' and which is '.join(result.missing)}? Say so in "
            f"{safe(str(output))}, or with --map {result.missing[0]}=COLUMN --force; free columns: {safe(free)}",
            soft_wrap=True,
        )
        raise typer.Exit(2)


def render(out: Console, result: "InitResult") -> None:
    """The columns and the first rows as they are understood."""
    out.print(f"{safe(result.source)}: format {result.format}", soft_wrap=True)
    if result.mapping:
        table = Table("our column", "yours", "why")
        for name, column in result.mapping.items():
            table.add(name, safe(column), safe(result.reasons[name]))
        table.print(out)
    if result.unused:
        out.print(f"not used: {safe(', '.join(result.unused))}", soft_wrap=True)
    if not result.missing:
        _render_read(out, result)
    if not result.has_videos:
        out.print("no column holds addresses of videos: see url_template in the settings file", soft_wrap=True)
    file = safe(result.settings)
    out.print(f"settings: {file}; next: reelmill ingest {file}", soft_wrap=True)


def _render_read(out: Console, result: "InitResult") -> None:
    for name, how in result.understood.items():
        out.print(f"{name}: {safe(how)}", soft_wrap=True)
    out.print("the first, as understood:", soft_wrap=True)
    for line in result.first_rows:
        out.print(f"  {safe(line)}", soft_wrap=True)
    rejected = f"; rejected: {classes(result.rejected)}" if result.rejected else ""
    out.print(f"{result.rows:,} rows: {result.events:,} events, {result.videos:,} videos{rejected}", soft_wrap=True)
    for note in result.notes:
        out.print(f"note: {safe(note)}", soft_wrap=True)
