"""`reelmill doctor`: can this machine do the work?"""

from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings
from reelmill.flows.cli.options import Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(settings_file: SettingsFile = None, root: Root = None, json: Json = False) -> None:
    """Try everything that the work needs: packages, weights, decoder, yt-dlp, JavaScript, ffmpeg, disk, server."""
    from reelmill.flows.jobs.doctor import doctor as job

    figures = job(load_settings(settings_file, root, (), makes_root=True).root)
    show(figures, json, render)
    if figures["errors"]:
        raise typer.Exit(1)


def render(out: Console, figures: Mapping[str, Any]) -> None:
    """A line a check."""
    table = Table("state", "check", "found", fold=(2,))
    for row in figures["checks"]:
        advice = f"; {row['advice']}" if row["advice"] else ""
        state = f"[{COLOURS[row['state']]}]{row['state']}[/]"
        table.add(state, safe(row["name"]), safe(f"{row['found']}{advice}"))
    table.print(out)
