"""`reelmill extract`: videos and texts → feature stores."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.ingest import stage_table
from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table, classes, show
from reelmill.flows.cli.plan import show_plan
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.extract import ExtractResult
    from reelmill.pipeline.extract.texts import TextSummary


def extract(
    settings_file: SettingsFile = None,
    root: Root = None,
    set: Set = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the extractors: what each reads, its layers and its settings.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compute the missing features of every video."""
    if listed:
        return show_extractors(json)
    chosen = load_settings(settings_file, root, set)
    if dry_run:
        return show_plan(chosen, ("extract", "texts"), json)
    from reelmill.flows.jobs.extract import extract as job

    return work(job, chosen, json, render)


def show_extractors(json: bool) -> None:
    """Print the extractors by name: what each reads, its layers with their dimensions, the keys of its settings."""
    from reelmill.extractors.registry import descriptors

    def table(out: Console, figures: dict[str, Any]) -> None:
        rows = Table("extractor", "reads", "layers (dimension)", "settings")
        for name, about in figures.items():
            layers = ", ".join(f"{layer} ({dimension:,})" for layer, dimension in about["layers"].items())
            rows.add(name, about["reads"], layers, ", ".join(about["settings"]))
        rows.print(out)

    figures = {
        known.name: {
            "reads": known.input, "layers": dict(known.layers), "default_layers": list(known.default_layers),
            "settings": [row.name for row in known.settings.rows()], "source": known.paper,
        }
        for known in descriptors()
    }  # fmt: skip
    show(figures, json, table)


def render(out: Console, result: "ExtractResult") -> None:
    """Videos, texts and stores."""
    table = stage_table()
    add_extract(table, result)
    table.print(out)
    for store in result.stores:
        out.print(f"store: {safe(store)}", soft_wrap=True)


def add_extract(table: Table, result: "ExtractResult") -> None:
    """Extraction from videos and from texts as rows of the table of stages."""
    note = f"{result.segments:,} segments"
    if result.seconds:
        note += f", {result.video_seconds / result.seconds:.1f}× real time"
    if result.pictures:
        note += f"; key frames of {result.pictures:,} videos made again"
    if result.without:
        note += f"; {result.without:,} failed permanently before"
    if result.left:
        note += f"; {result.left:,} more have missing features and were not selected"
    if result.done or result.skipped or result.failed or not result.texts:
        table.add("extract", f"{result.done:,}", f"{result.skipped:,}", classes(result.failed), note)
    for name, read in result.texts.items():
        table.add(name, f"{read.done:,}", f"{read.skipped:,}", "", text_note(read))


def text_note(read: "TextSummary") -> str:
    """What happened to the texts that an encoder read."""
    if read.reason is not None:
        return safe(read.reason)
    notes = ["newly fitted"] if read.fitted else []
    notes += [f"{read.without_text:,} of {read.rows:,} without text"] if read.without_text else []
    notes += [f"{read.undated:,} posts without a time left out"] if read.undated else []
    return ", ".join(notes)
