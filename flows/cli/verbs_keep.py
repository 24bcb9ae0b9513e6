"""Verbs that go on with a root and look after it: backfill, plan, retry, compact, export, doctor."""

from typing import Annotated

import typer

from reelmill.flows.cli import tell_keep
from reelmill.flows.cli.arguments import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.command import app, bars, chosen_settings, existing, planned, show, work
from reelmill.pipeline.planning.select import Selection

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
        from reelmill.flows.jobs.backfill import narrowed

        return planned("backfill", narrowed(chosen, extractor or (), asked), json, selection=asked)
    given = {"since": since, "where": where, "limit": limit, "order": order}
    return work("backfill", chosen, json, extractors=extractor or (), **given)


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
    from reelmill.flows.jobs.backfill import narrowed
    from reelmill.flows.jobs.plan import STAGES
    from reelmill.flows.jobs.plan import plan as planning

    asked = Selection(since, where, limit, order)  # type: ignore[arg-type]
    chosen, stages = chosen_settings(settings_file, root, set), tuple(STAGES)
    if extractor or asked.narrows:
        chosen, stages = narrowed(chosen, extractor or (), asked), ("extract", "texts")
    with bars(json):
        figures = planning(chosen, asked, stages, calibrate)
    show(figures, json, tell_keep.plan)


@app.command()
def retry(
    settings_file: SettingsFile = None,
    root: Root = None,
    kind: Annotated[
        list[str] | None, typer.Option("--class", help="Class of failures, as `reelmill status` tells. Repeatable.")
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="download or extract; both if not given. Repeatable.")
    ] = None,
    set: Set = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Try again what failed with a class, permanent or not: those videos alone, in the stages where they failed."""
    from reelmill.flows.jobs import retry as trying

    chosen = chosen_settings(settings_file, root, set)
    found = trying.failures(chosen, kind or (), stage or ())
    if dry_run or not found:
        return show({**trying.described(chosen, kind or (), found), "dry": dry_run}, json, tell_keep.retry)
    return work("retry", chosen, json, classes=kind or (), stages=stage or ())


@app.command()
def compact(
    root: Annotated[str, typer.Option(help="Folder of tables and features, or s3://….")] = "reelmill",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Merge small parts of stores and tables, and drop blocks that newer ones replaced."""
    from reelmill.flows.jobs import keep

    existing(root)
    show(keep.compact(root, dry_run), json, tell_keep.compact)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="Feature store, or a prefix that fits one.")],
    to: Annotated[str, typer.Option(help="Root that gets the copy.")],
    root: Annotated[str, typer.Option(help="Folder of tables and features, or s3://….")] = "reelmill",
    format: Annotated[str, typer.Option(help="parquet or hdf5.")] = "parquet",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Copy a feature store under another root, as Parquet or HDF5; what is there already stays."""
    from reelmill.flows.jobs import keep

    existing(root)
    show(keep.export(root, name, to, format, dry_run), json, tell_keep.export)  # type: ignore[arg-type]


@app.command()
def doctor(
    root: Annotated[str, typer.Option(help="Where the disk is looked at.")] = "reelmill", json: Json = False
) -> None:
    """Try everything that the work needs: packages, weights, decoder, yt-dlp, JavaScript, ffmpeg, disk, server."""
    from reelmill.flows.jobs.doctor import doctor as examine

    figures = examine(root)
    show(figures, json, tell_keep.doctor)
    if figures["errors"]:
        raise typer.Exit(1)
