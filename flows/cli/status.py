"""`reelmill status`: what a root holds, what is missing, what has failed."""

from typing import TYPE_CHECKING

from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.status import StatusResult

LISTED = 10
"""Most failures and warnings of the terminal tables; `status --json` has them all."""


def status(settings_file: SettingsFile = None, root: Root = None, json: Json = False) -> None:
    """Show what is done, missing and failed for each stage and store; failures; warnings; rows of each table."""
    found = find_root(settings_file, root)
    from reelmill.flows.jobs.status import status as job

    show(job(found), json, render)


def render(out: Console, result: "StatusResult") -> None:
    """Stages and stores, failures by class, the newest failures, warnings, tables."""
    out.print(f"root: {safe(result.root)}", soft_wrap=True)
    table = Table("stage or store", "done", "missing", "failed", "rows", "dimension", numbers=(1, 2, 3, 4, 5))
    for name, counts in result.stages.items():
        table.add(f"{name} ({counts.of})", *(f"{n:,}" for n in (counts.done, counts.missing, counts.failed)))
    for name, store in result.stores.items():
        of = "" if store.of == "videos" else f" ({store.of})"
        cells = (f"{n:,}" for n in (store.videos, store.missing, store.failed, store.rows, store.dim))
        table.add(safe(f"{name}{of}"), *cells)
    table.print(out)
    if result.failures:
        table = Table("failed", "class", "count", "examples", numbers=(2,))
        for what, count in result.failures.items():
            stage, _, kind = what.partition(": ")
            examples = ", ".join(safe(key) for key in result.examples[what])
            table.add(safe(stage), safe(kind), f"{count:,}", examples)
        table.print(out)
    failed = result.newest_failures
    if failed:
        table = Table("newest failure", "key", "next run", "message")
        for row in failed[:LISTED]:
            again = "not tried again" if row.permanent else "tried again"
            table.add(safe(f"{row.stage} {row.error_class}"), safe(row.key), again, safe(row.message))
        table.print(out)
        more = f"{len(failed) - LISTED:,} more: see `--json`; " if len(failed) > LISTED else ""
        out.print(f"{more}try them again with `reelmill retry --class …`", soft_wrap=True)
    if result.warnings:
        table = Table("warning", "key", "message")
        for warned in result.warnings[:LISTED]:
            table.add(safe(f"{warned.stage} {warned.kind}"), safe(warned.key), safe(warned.message))
        table.print(out)
        more = f"{len(result.warnings) - LISTED:,} more: see `--json`; " if len(result.warnings) > LISTED else ""
        out.print(f"{more}these videos are used; look at them, or leave them out", soft_wrap=True)
    if result.paused:
        table = Table("paused host", "until", "reason")
        for paused in result.paused:
            table.add(safe(paused.host), paused.until, safe(paused.reason))
        table.print(out)
    table = Table("table", "rows", numbers=(1,))
    for name, rows in result.tables.items():
        table.add(name, f"{rows:,}")
    table.print(out)
