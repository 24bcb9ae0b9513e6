"""What `serve` registered, for people."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reelmill.flows.progress import safe


def serve(out: Console, figures: dict[str, Any]) -> None:
    """Deployments with their schedules, and how their runs are done."""
    table = Table("deployment", "schedule", box=SIMPLE_HEAD)
    for row in figures["deployments"]:
        when = f"{row['schedule']} {row['timezone']}" if row["schedule"] else "by hand"
        table.add_row(safe(row["deployment"]), safe(when))
    out.print(table)
    first = figures["deployments"][0]["deployment"]
    if figures["work_pool"] is not None:
        out.print(f"workers do their runs: prefect worker start --pool {safe(figures['work_pool'])}", soft_wrap=True)
    else:
        out.print("this process does their runs; Ctrl-C ends it", soft_wrap=True)
    out.print(f"one at once: prefect deployment run {safe(first)}", soft_wrap=True)
