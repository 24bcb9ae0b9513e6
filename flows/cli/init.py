"""`reelmill init`: a settings file for a table that is looked at."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.options import Json
from reelmill.flows.cli.output import Table, classes, show
from reelmill.flows.jobs.results import INLINE
from reelmill.flows.progress import console, safe
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.pipeline.sources import SourceResult
    from reelmill.pipeline.sources.guess import Guess

SHOWN = 5
"""First events, or videos, that are shown."""


@dataclass(frozen=True)
class Counts:
    """What `ingest` will find in the table."""

    rows: int
    events: int
    videos: int
    rejected: dict[str, int]
    """By reason."""
    notes: list[str]


@dataclass(frozen=True)
class InitResult:
    """What was understood of a table."""

    settings: str
    source: str
    format: str
    mapping: dict[str, str]
    """{our column: theirs}."""
    reasons: dict[str, str]
    """Why, by our column."""
    missing: list[str]
    """Columns of ours that none of theirs seems to be."""
    unused: list[str]
    has_videos: bool
    """A column holds addresses of videos."""
    first_rows: list[str]
    counts: Counts | None = field(metadata=INLINE)


def init(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="CSV, TSV, JSON lines, Parquet, PHD², MovieLens, or videos.")
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
    from reelmill.flows.settings.starter import starter
    from reelmill.pipeline.sources.guess import guess

    if output.exists() and not force:
        raise InputError(f"{output} exists already; give another --output, or --force to overwrite it")
    found = guess(table, _given(map or ()))
    read = None if found.missing else _read(found)
    result = _result(found, read, output)
    text = starter(found, output, root or _root(output.parent), result.first_rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    show(result, json, render)
    if found.missing:
        free = ", ".join(found.unused) or "none is left"
        console.print(
            f"[bold red]error:[/] which column is {' and which is '.join(found.missing)}? Say so in "
            f"{safe(str(output))}, or with --map {found.missing[0]}=COLUMN --force; free columns: {safe(free)}",
            soft_wrap=True,
        )
        raise typer.Exit(2)


def _given(pairs: list[str] | tuple[()]) -> dict[str, str]:
    from reelmill.pipeline.sources.mapped import TARGETS
    from reelmill.storage.errors import nearest

    given = dict(pair.partition("=")[::2] for pair in pairs)
    for name, column in given.items():
        if name not in TARGETS:
            raise InputError(f"--map {name!r}: there is no such column of ours; {nearest(name, TARGETS)}")
        if not column:
            raise InputError(f"--map {name!r}: give ours=yours, such as user_id=viewer")
    return given


def _read(found: "Guess") -> "SourceResult":
    """The source as `ingest` will read it. Raises InputError if it cannot."""
    from reelmill.pipeline import sources

    if found.format == "folder":
        return sources.read_folder(found.path)
    mapping = found.mapping if found.format == "mapped" else None
    return sources.read(found.path, found.format, mapping=mapping, url_template=found.url_template)  # type: ignore[arg-type]


def _root(folder: Path) -> str:
    """`data`, unless the folder has one that is no root."""
    taken = (folder / "data").exists() and not (folder / "data" / "tables").is_dir()
    return "reelmill" if taken else "data"


def _result(found: "Guess", read: "SourceResult | None", output: Path) -> InitResult:
    from reelmill.flows.settings.starter import has_videos

    first: list[str] = []
    counts = None
    if read is not None:
        events = read.events.slice(0, SHOWN).to_pylist()
        first = [_event(row) for row in events] or read.videos["video_id"].slice(0, SHOWN).to_pylist()
        counts = Counts(read.rows, read.events.num_rows, read.videos.num_rows, read.reasons(), list(read.notes))
    return InitResult(
        settings=str(output),
        source=str(found.path),
        format=found.format,
        mapping=found.mapping,
        reasons=found.reasons,
        missing=list(found.missing),
        unused=list(found.unused),
        has_videos=has_videos(found),
        first_rows=first,
        counts=counts,
    )


def _event(row: dict[str, Any]) -> str:
    """`user 13000: highlight of vKU7ITgAz4k, 79.99–84.13 s`."""
    said = f"user {row['user_id']}: {row['kind']} of {row['video_id']}"
    if row["start_ms"] is not None:
        said += f", {row['start_ms'] / 1000:g}–{row['stop_ms'] / 1000:g} s"
    if row["value"] is not None:
        said += f", value {row['value']:g}"
    if row["time"] is not None:
        said += f", at {row['time']:%Y-%m-%d %H:%M}"
    return " ".join(said.split())


def render(out: Console, result: InitResult) -> None:
    """The columns and the first rows as they are understood."""
    out.print(f"{safe(result.source)}: format {result.format}", soft_wrap=True)
    if result.mapping:
        table = Table("our column", "yours", "why")
        for name, column in result.mapping.items():
            table.add(name, safe(column), safe(result.reasons[name]))
        table.print(out)
    if result.unused:
        out.print(f"not used: {safe(', '.join(result.unused))}", soft_wrap=True)
    if result.first_rows:
        out.print("the first, as understood:")
        for line in result.first_rows:
            out.print(f"  {safe(line)}", soft_wrap=True)
    if (counts := result.counts) is not None:
        rejected = classes(counts.rejected)
        out.print(
            f"{counts.rows:,} rows: {counts.events:,} events, {counts.videos:,} videos"
            + (f"; rejected: {rejected}" if rejected else ""),
            soft_wrap=True,
        )
        for note in counts.notes:
            out.print(f"note: {safe(note)}", soft_wrap=True)
    if not result.has_videos:
        out.print("no column holds addresses of videos: see url_template in the settings file", soft_wrap=True)
    out.print(f"settings: {safe(result.settings)}; next: reelmill ingest {safe(result.settings)}", soft_wrap=True)
