"""`reelmill floors`: what rankings without features and training score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.job import find_root, load_settings
from reelmill.flows.cli.options import Json, Root, SettingsFile
from reelmill.flows.cli.output import show
from reelmill.flows.cli.train import metrics_table, render_data

if TYPE_CHECKING:
    from reelmill.flows.jobs.floors import FloorsResult

SHOWN = ("map", "highlight_ap", "highlight_ap_grouped", "nmsd")
"""Metrics of the table."""


def floors(
    settings_file: SettingsFile = None,
    root: Root = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="A published table, read into the root first.")
    ] = None,
    json: Json = False,
) -> None:
    """Score random, smoothed and early-first rankings of segments, which a trained model must beat."""
    if data is None:
        found = find_root(settings_file, root)
    else:
        found = load_settings(settings_file, root, (), makes_root=True).root
    from reelmill.flows.jobs.floors import floors as job

    show(job(found, data), json, render)


def render(out: Console, result: "FloorsResult") -> None:
    """What was read, if anything was, and both tables."""
    if result.data is not None:
        render_data(out, result.data)
    metrics_table("last video of users with five", result.rows, shown=SHOWN).print(out)
    if result.last_videos:
        metrics_table("what the source marks as last", result.last_videos, shown=SHOWN).print(out)
