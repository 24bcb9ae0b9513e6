"""Verbs that go on with a root and look after it: backfill."""

from typing import Annotated

import typer

from flows.arguments import Json, Root, Set, SettingsFile
from flows.command import app, chosen_settings, work
from pipeline.select import Selection

Extractors = Annotated[
    list[str] | None, typer.Option("--extractor", help="Extractor; those of the settings if not given. Repeatable.")
]
Since = Annotated[
    str | None, typer.Option("--since", help="Only videos fetched at this day or time (UTC) or later: 2026-01-31.")
]
Where = Annotated[
    str | None,
    typer.Option("--where", help="Only videos of which this is true: \"uploader = 'x' and duration_ms > 60000\"."),
]
Limit = Annotated[int | None, typer.Option("--limit", help="At most so many videos, the first in the order.")]
Ordering = Annotated[str, typer.Option("--order", help="labels (most first), newest, shortest or any.")]


@app.command()
def backfill(
    settings_file: SettingsFile = None,
    root: Root = None,
    extractor: Extractors = None,
    since: Since = None,
    where: Where = None,
    limit: Limit = None,
    order: Ordering = "labels",
    set: Set = None,
    json: Json = False,
) -> None:
    """Extract what lacks of chosen extractors and videos, the most wanted first."""
    chosen = chosen_settings(settings_file, root, set)
    asked = Selection(since, where, limit, order)  # type: ignore[arg-type]
    work("backfill", chosen, json, extractors=extractor or (), **vars(asked))
