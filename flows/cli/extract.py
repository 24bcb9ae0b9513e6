"""`reelmill extract`: videos and texts → feature stores."""

from typing import Any

from rich.console import Console

from reelmill.flows.cli.ingest import stage_table
from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table, classes
from reelmill.flows.cli.plan import show_plan
from reelmill.flows.progress import safe


def extract(
    settings_file: SettingsFile = None, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Compute the missing features of every video."""
    chosen = load_settings(settings_file, root, set)
    if dry_run:
        return show_plan(chosen, ("extract", "texts"), json)
    from reelmill.flows.jobs.extract import extract as job

    return work(job, chosen, json, render)


def render(out: Console, figures: dict[str, Any]) -> None:
    """Videos, texts and stores."""
    table = stage_table()
    add_extract(table, figures)
    table.print(out)
    for store in figures["stores"]:
        out.print(f"store: {safe(store)}", soft_wrap=True)


def add_extract(table: Table, figures: dict[str, Any]) -> None:
    """Extraction from videos and from texts as rows of the table of stages."""
    note = f"{figures['segments']:,} segments"
    if figures["seconds"]:
        note += f", {figures['video_seconds'] / figures['seconds']:.1f}× real time"
    if figures["without"]:
        note += f"; {figures['without']:,} failed permanently before"
    if figures["left"]:
        note += f"; {figures['left']:,} more have missing features and were not selected"
    if figures["done"] or figures["skipped"] or figures["failed"] or not figures["texts"]:
        table.add("extract", f"{figures['done']:,}", f"{figures['skipped']:,}", classes(figures["failed"]), note)
    for name, read in figures["texts"].items():
        table.add(name, f"{read['done']:,}", f"{read['skipped']:,}", "", text_note(read))


def text_note(read: dict[str, Any]) -> str:
    """What happened to the texts that an encoder read."""
    if read["reason"] is not None:
        return safe(read["reason"])
    notes = ["newly fitted"] if read["fitted"] else []
    notes += [f"{read['without_text']:,} of {read['rows']:,} without text"] if read["without_text"] else []
    notes += [f"{read['undated']:,} posts without a time left out"] if read["undated"] else []
    return ", ".join(notes)
