"""`reelmill compact`: fewer and larger parts."""

from typing import TYPE_CHECKING

from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import DryRun, Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.keep import CompactResult


def compact(settings_file: SettingsFile = None, root: Root = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Merge small parts of stores and tables, and drop blocks that newer ones replaced."""
    found = find_root(settings_file, root)
    from reelmill.flows.jobs import keep

    show(keep.compact(found, dry_run), json, render)


def render(out: Console, result: "CompactResult") -> None:
    """Parts before and after."""
    table = Table("store or table", "parts before", "parts after", "blocks dropped", numbers=(1, 2, 3))
    for kind in (result.stores, result.tables):
        for name, one in kind.items():
            table.add(safe(name), f"{one.before:,}", f"{one.after:,}", f"{one.dropped:,}")
    table.print(out)
    if result.dry:
        out.print("nothing was done (--dry-run)")
