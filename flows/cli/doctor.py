"""`reelmill doctor`: can this machine do the work?"""

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings
from reelmill.flows.cli.options import Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.doctor import DoctorResult

COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(settings_file: SettingsFile = None, root: Root = None, json: Json = False) -> None:
    """Try everything that the work needs: packages, weights, decoder, yt-dlp, JavaScript, ffmpeg, disk, server."""
    from reelmill.flows.jobs.doctor import doctor as job

    result = job(load_settings(settings_file, root, (), makes_root=True).root)
    show(result, json, render)
    if result.errors:
        raise typer.Exit(1)


def render(out: Console, result: "DoctorResult") -> None:
    """A line a check."""
    table = Table("state", "check", "found", fold=(2,))
    for row in result.checks:
        advice = f"; {row.advice}" if row.advice else ""
        state = f"[{COLOURS[row.state]}]{row.state}[/]"
        table.add(state, safe(row.name), safe(f"{row.found}{advice}"))
    table.print(out)
