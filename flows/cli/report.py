"""`reelmill report`: the HTML page."""

from typing import Any

from rich.console import Console

from reelmill.flows.cli.job import load_settings
from reelmill.flows.cli.options import Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import show
from reelmill.flows.progress import safe


def report(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Write the HTML page over everything in the root."""
    chosen = load_settings(settings_file, root, set)
    from reelmill.flows.jobs.report import report as job

    show(vars(job(chosen)), json, render)


def render(out: Console, figures: dict[str, Any]) -> None:
    """Where the page is."""
    unchanged = "" if figures["report_written"] else " (unchanged)"
    out.print(f"report: {safe(figures['report'])}{unchanged}", soft_wrap=True)
