"""`reelmill compact`: fewer and larger parts."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import DryRun, Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe


def compact(settings_file: SettingsFile = None, root: Root = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Merge small parts of stores and tables, and drop blocks that newer ones replaced."""
    found = find_root(settings_file, root)
    from reelmill.flows.jobs import keep

    show(keep.compact(found, dry_run), json, render)


def render(out: Console, figures: Mapping[str, Any]) -> None:
    """Parts before and after."""
    table = Table("store or table", "parts before", "parts after", "blocks dropped", numbers=(1, 2, 3))
    for kind in ("stores", "tables"):
        for name, one in figures[kind].items():
            table.add(safe(name), f"{one['before']:,}", f"{one['after']:,}", f"{one['dropped']:,}")
    table.print(out)
    if figures["dry"]:
        out.print("nothing was done (--dry-run)")
