"""Verbs that go on with a root: backfill, and plan, which says what it costs."""

from typing import Annotated

import typer

from flows import tell_keep
from flows.arguments import DryRun, Json, Root, Set, SettingsFile
from flows.command import app, bars, chosen_settings, planned, show, work
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
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Extract what lacks of chosen extractors and videos, the most wanted first."""
    chosen = chosen_settings(settings_file, root, set)
    asked = Selection(since, where, limit, order)  # type: ignore[arg-type]
    if dry_run:
        from flows.backfill import narrowed

        return planned("backfill", narrowed(chosen, extractor or (), asked), json, selection=asked)
    return work("backfill", chosen, json, extractors=extractor or (), **vars(asked))


@app.command()
def plan(
    settings_file: SettingsFile = None,
    root: Root = None,
    extractor: Extractors = None,
    since: Since = None,
    where: Where = None,
    limit: Limit = None,
    order: Ordering = "labels",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure first how fast this machine is, for some seconds.")
    ] = False,
    set: Set = None,
    json: Json = False,
) -> None:
    """What is missing, and what it will cost: frames, hours, bytes, finish time."""
    from flows.backfill import narrowed
    from flows.plan import STAGES
    from flows.plan import plan as planning

    asked = Selection(since, where, limit, order)  # type: ignore[arg-type]
    chosen, stages = chosen_settings(settings_file, root, set), tuple(STAGES)
    if extractor or asked.narrows:
        chosen, stages = narrowed(chosen, extractor or (), asked), ("extract", "texts")
    with bars(json):
        figures = planning(chosen, asked, stages, calibrate)
    show(figures, json, tell_keep.plan)
