"""`reelmill retry`: failures of a class, tried again."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.retry import RetryResult


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
        return show(jobs.described(chosen, kind or (), found, dry_run), json, render)
    return work(jobs.retry, chosen, json, render, classes=kind or (), stages=stage or ())


def render(out: Console, result: "RetryResult") -> None:
    """What is tried again, and what came of it."""
    if not result.retried:
        out.print(f"nothing of {safe(', '.join(result.classes))} has failed; {safe(result.others)}", soft_wrap=True)
        return
    table = Table("tried again", "failures", "now done", "failed again", numbers=(1, 2, 3))
    for what, count in result.retried.items():
        again = result.again.get(what, 0)
        came = ("", "") if result.dry else (f"{count - again:,}", f"{again:,}")
        table.add(safe(what), f"{count:,}", *came)
    table.print(out)
    if result.dry:
        out.print("nothing was done (--dry-run)")
