"""`reelmill retry`: failures of a class, tried again."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe


def retry(
    settings_file: SettingsFile = None,
    root: Root = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Class of failures, as `reelmill status` shows it. Repeatable."),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="download or extract; both if not given. Repeatable."),
    ] = None,
    set: Set = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Try failures of a class again, permanent or not: their videos alone, in the stages where they failed."""
    chosen = load_settings(settings_file, root, set)
    from reelmill.flows.jobs import retry as jobs

    found = jobs.failures(chosen, kind or (), stage or ())
    if dry_run or not found:
        return show({**jobs.described(chosen, kind or (), found), "dry": dry_run}, json, render)
    return work(jobs.retry, chosen, json, render, classes=kind or (), stages=stage or ())


def render(out: Console, figures: Mapping[str, Any]) -> None:
    """What is tried again, and what came of it."""
    if not figures["retried"]:
        out.print(
            f"nothing of {safe(', '.join(figures['classes']))} has failed; {safe(figures['else'])}", soft_wrap=True
        )
        return
    table = Table("tried again", "failures", "now done", "failed again", numbers=(1, 2, 3))
    for what, count in figures["retried"].items():
        again = figures["again"].get(what, 0)
        came = ("", "") if figures["dry"] else (f"{count - again:,}", f"{again:,}")
        table.add(safe(what), f"{count:,}", *came)
    table.print(out)
    if figures["dry"]:
        out.print("nothing was done (--dry-run)")
