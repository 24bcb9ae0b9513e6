"""`reelmill ingest`: source table → events, media, segments, labels."""

from typing import TYPE_CHECKING

from rich.console import Console

from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table, classes, show_skipped
from reelmill.flows.cli.plan import show_plan
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.ingest import IngestResult


def ingest(
    settings_file: SettingsFile = None, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Read the source, download and measure videos, build segments and labels."""
    chosen = load_settings(settings_file, root, set)
    if dry_run:
        return show_plan(chosen, ("download",), json)
    from reelmill.flows.jobs.ingest import ingest as job

    return work(job, chosen, json, render)


def render(out: Console, result: "IngestResult") -> None:
    """Source, downloads and labels."""
    table = stage_table()
    add_ingest(table, result)
    table.print(out)
    render_understood(out, result)


def render_understood(out: Console, result: "IngestResult") -> None:
    """What was found on the values of the source, and remarks about it."""
    counts = result.source.counts
    if counts is None:
        return
    for name, how in counts.understood.items():
        out.print(f"{name}: {safe(how)}", soft_wrap=True)
    show_skipped(out, counts.skipped)
    for note in counts.notes:
        out.print(f"note: {safe(note)}", soft_wrap=True)


def stage_table() -> Table:
    """The table of what each stage has done."""
    return Table("stage", "done", "already there", "failed or rejected", "", numbers=(1, 2))


def add_ingest(table: Table, result: "IngestResult") -> None:
    """The stages of ingest as rows of the table of stages."""
    source, fetched, labels = result.source.counts, result.download, result.labels
    if source is not None:
        note = f"{source.rows:,} rows, {source.videos:,} videos, {source.clipped:,} clipped"
        if source.videos_without_events:
            note += f"; of {source.videos_without_events:,} videos every row was rejected"
        table.add("events", *_done(f"{source.events:,}", source.events_written), classes(source.reasons), note)
    if fetched is not None:
        table.add("download", f"{fetched.done:,}", f"{fetched.skipped:,}", classes(fetched.failed))
    if labels is not None:
        note = f"{labels.segments:,} segments of {labels.videos:,} videos"
        table.add("labels", *_done(f"{labels.labels:,}", labels.written), "", note)


def _done(count: str, written: bool) -> tuple[str, str]:
    return (count, "0") if written else ("0", count)
