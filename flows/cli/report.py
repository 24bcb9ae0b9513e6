"""`reelmill report`: the HTML page."""

from typing import TYPE_CHECKING

from rich.console import Console

from reelmill.flows.cli.job import load_settings
from reelmill.flows.cli.options import Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.report import ReportResult


def report(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Write the HTML page over everything in the root."""
    chosen = load_settings(settings_file, root, set)
    from reelmill.flows.jobs.report import report as job

    show(job(chosen), json, render)


def render(out: Console, result: "ReportResult") -> None:
    """Where the page is."""
    unchanged = "" if result.report_written else " (unchanged)"
    out.print(f"report: {safe(result.report)}{unchanged}", soft_wrap=True)
