"""`reelmill run`: the main job."""

from typing import Any

from rich.console import Console

from reelmill.flows.cli import extract, ingest, report, train
from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table
from reelmill.flows.cli.plan import show_plan


def run(
    settings_file: SettingsFile = None, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """The main job: ingest → extract → train → report. Running it again does only what is missing."""
    chosen = load_settings(settings_file, root, set)
    if dry_run:
        return show_plan(chosen, ("download", "extract", "texts", "train"), json)
    from reelmill.flows.jobs.run import run as job

    return work(job, chosen, json, render)


def render(out: Console, figures: dict[str, Any]) -> None:
    """All stages, the metrics, the report."""
    stages(figures).print(out)
    train.render(out, figures["train"])
    report.render(out, figures)


def stages(figures: dict[str, Any]) -> Table:
    """The stages of the main job as one table."""
    table = ingest.stage_table()
    ingest.add_ingest(table, figures["ingest"])
    extract.add_extract(table, figures["extract"])
    train.add_train(table, figures["train"])
    return table
