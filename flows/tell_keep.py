"""Figures of the verbs that look after a root as short tables for people, as in `tell`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.progress import safe

MOST = 3
"""Examples of one kind."""


def amount(count: float | None) -> str:
    """`1.2 GB`, as disks are sold; `?` for None."""
    if count is None:
        return "?"
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def lasting(seconds: float | None) -> str:
    """`3 min 20 s`, `2 h 05 min`, `4 days 3 h`; `?` for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 or not seconds else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def plan(out: Console, figures: Mapping[str, Any]) -> None:
    """What is missing, and what it will cost."""
    stages = figures["stages"]
    if "source" in figures:
        out.print(f"source: {safe(figures['source'])}", soft_wrap=True)
    table = Table("stage", box=SIMPLE_HEAD)
    for name in ("missing", "frames", "bytes", "time"):
        table.add_column(name, justify="right")
    table.add_column("")
    if "download" in stages:
        found = stages["download"]
        row = f"{found['videos']:,} videos", "", amount(found["bytes"]), lasting(found["seconds"])
        table.add_row("download", *row, "" if found["seconds"] is not None else "none was downloaded yet")
    if "extract" in stages:
        found = stages["extract"]
        row = f"{found['videos']:,} videos", f"{found['frames']:,}", amount(found["bytes"]), lasting(found["seconds"])
        table.add_row("extract", *row, _extract_note(found))
    for name, found in stages.get("texts", {}).items():
        table.add_row(name, f"{found['missing']:,} texts", "", "", "" if found["fitted"] else "to be fitted")
    for name in stages.get("train", {}):
        table.add_row("train", name, "", "", "", "unless it is complete")
    out.print(table)
    if stages.get("extract", {}).get("stores"):
        out.print(_stores(stages["extract"]["stores"]))
    if figures["seconds"] is None:
        out.print("how long it takes here was never measured: `--calibrate` does it", soft_wrap=True)
    elif figures["seconds"]:
        finish = datetime.fromisoformat(figures["finish"]).astimezone()
        out.print(
            f"started now it ends about {finish:%Y-%m-%d %H:%M}, and the root grows by {amount(figures['bytes'])}"
        )
    elif "download" in stages or "extract" in stages:
        out.print("nothing is to be downloaded or extracted")
    if figures.get("dry_run"):
        out.print("nothing was done (--dry-run)")


def _extract_note(found: Mapping[str, Any]) -> str:
    notes = [f"{lasting(found['load_seconds'])} for weights"] if found["seconds"] else []
    notes += [f"{found['not_fetched']:,} not fetched yet"] if found["not_fetched"] else []
    notes += [f"{found['left']:,} not selected"] if found["left"] else []
    return ", ".join(notes)


def _stores(stores: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table("feature store", box=SIMPLE_HEAD)
    for name in ("there", "missing", "rows", "bytes"):
        table.add_column(name, justify="right")
    for name, cells in stores.items():
        row = f"{cells['there']:,}", f"{cells['videos']:,}", f"{cells['rows']:,}", amount(cells["bytes"])
        table.add_row(name, *row)
    return table
