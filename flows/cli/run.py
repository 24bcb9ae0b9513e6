"""`reelmill run`: the main job."""

from typing import TYPE_CHECKING

from rich.console import Console

from reelmill.flows.cli import extract, ingest, report, train
from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table
from reelmill.flows.cli.plan import show_plan

if TYPE_CHECKING:
    from reelmill.flows.jobs.run import RunResult


def run(
    settings_file: SettingsFile = None, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """The main job: ingest → extract → train → report. Running it again does only what is missing."""
    chosen = load_settings(settings_file, root, set)
    if dry_run:
        return show_plan(chosen, ("download", "extract", "texts", "train"), json)
    from reelmill.flows.jobs.run import run as job

    return work(job, chosen, json, render)


def render(out: Console, result: "RunResult") -> None:
    """All stages, the metrics, the report."""
    stages(result).print(out)
    ingest.render_understood(out, result.ingest)
    train.render(out, result.train)
    report.render(out, result.page)


def stages(result: "RunResult") -> Table:
    """The stages of the main job as one table."""
    table = ingest.stage_table()
    ingest.add_ingest(table, result.ingest)
    extract.add_extract(table, result.extract)
    train.add_train(table, result.train)
    return table
