"""Figures of the verbs that look after a root as short tables for people, as in `tell`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reelmill.flows.progress import safe

LISTED = 10
"""Most failures of the terminal table; `status --json` has them all."""


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
    table = _counted("stage", "missing", "frames", "bytes", "time")
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


def status(out: Console, figures: Mapping[str, Any]) -> None:
    """Stages and stores, failures by class, tables."""
    out.print(f"root: {safe(figures['root'])}", soft_wrap=True)
    table = _counted("stage or store", "there", "missing", "failed", "rows", "numbers a row")
    for name, counts in figures["stages"].items():
        table.add_row(
            f"{name} ({counts['of']})", *(f"{counts[key]:,}" for key in ("done", "missing", "failed")), "", ""
        )
    for name, counts in figures["stores"].items():
        of = "" if counts["of"] == "videos" else f" ({counts['of']})"
        row = (f"{counts[key]:,}" for key in ("videos", "missing", "failed", "rows", "dim"))
        table.add_row(safe(f"{name}{of}"), *row)
    out.print(table)
    if figures["failures"]:
        table = Table("failed", "class", "", "such as", box=SIMPLE_HEAD)
        for what, count in figures["failures"].items():
            stage, _, kind = what.partition(": ")
            examples = ", ".join(safe(key) for key in figures["examples"][what])
            table.add_row(safe(stage), safe(kind), f"{count:,}", examples)
        out.print(table)
    failed = figures["newest_failures"]
    if failed:
        table = Table("newest failure", "what", "", "message", box=SIMPLE_HEAD)
        for row in failed[:LISTED]:
            again = "permanent" if row["permanent"] else "tried again"
            table.add_row(safe(f"{row['stage']} {row['class']}"), safe(row["key"]), again, safe(row["message"]))
        out.print(table)
        more = f"{len(failed) - LISTED:,} more: `--json`; " if len(failed) > LISTED else ""
        out.print(f"{more}try them again with `reelmill retry SETTINGS --class …`", soft_wrap=True)
    table = _counted("table", "rows")
    for name, rows in figures["tables"].items():
        table.add_row(name, f"{rows:,}")
    out.print(table)


def verify(out: Console, figures: Mapping[str, Any]) -> None:
    """Sound or not, a line a store; what is damaged, and what makes it again."""
    for kind in ("stores", "tables", "encoders"):
        wrong = {name: messages for name, messages in figures[kind].items() if messages}
        if figures[kind]:
            out.print(f"{kind}: {len(figures[kind]) - len(wrong)} of {len(figures[kind])} sound")
        for name, messages in wrong.items():
            out.print(f"[bold red]{safe(name)}[/]: {len(messages)} damaged", highlight=False)
            for line in messages:
                out.print(f"  {safe(line)}", soft_wrap=True)
    for video, line in figures.get("media", {}).items():
        out.print(f"[bold red]{safe(video)}[/]: {safe(line)}", soft_wrap=True)
    if figures.get("media") == {}:
        out.print("media: sound")
    for name, constant in figures["constant"].items():
        some = ", ".join(safe(video) for video in constant["videos"])
        out.print(f"[yellow]{safe(name)}[/]: {constant['rows']:,} rows hold one number throughout, such as of {some}")
    for place in figures["quarantined"]:
        said = "would be moved to ROOT/quarantine" if figures["dry"] else "moved here"
        out.print(f"{said}: {safe(place)}", soft_wrap=True)
    for name, videos in figures["lost"].items():
        out.print(f"{safe(name)}: {len(videos):,} videos are missing without it", soft_wrap=True)
    if figures["repair"]:
        first = "" if figures["quarantined"] and not figures["dry"] else "`reelmill verify --quarantine`, then "
        out.print(f"to make it again: {first}{', '.join(f'`{line}`' for line in figures['repair'])}", soft_wrap=True)


def retry(out: Console, figures: Mapping[str, Any]) -> None:
    """What is tried again, and what came of it."""
    if not figures["retried"]:
        out.print(
            f"nothing of {safe(', '.join(figures['classes']))} has failed; {safe(figures['else'])}", soft_wrap=True
        )
        return
    table = _counted("tried again", "failures", "now done", "failed again")
    for what, count in figures["retried"].items():
        again = figures["again"].get(what, 0)
        came = ("", "") if figures["dry"] else (f"{count - again:,}", f"{again:,}")
        table.add_row(safe(what), f"{count:,}", *came)
    out.print(table)
    if figures["dry"]:
        out.print("nothing was done (--dry-run)")


def compact(out: Console, figures: Mapping[str, Any]) -> None:
    """Parts before and after."""
    table = _counted("", "parts", "now", "blocks dropped")
    for kind in ("stores", "tables"):
        for name, one in figures[kind].items():
            table.add_row(safe(name), f"{one['before']:,}", f"{one['after']:,}", f"{one['dropped'] or '':}")
    out.print(table)
    if figures["dry"]:
        out.print("nothing was done (--dry-run)")


def export(out: Console, figures: Mapping[str, Any]) -> None:
    """How much was copied, and to where."""
    said = "would be copied" if figures["dry"] else "copied"
    out.print(
        f"{safe(figures['store'])}: {figures['copied']:,} videos {said} to {safe(figures['to'])} "
        f"as {figures['format']}, {figures['there']:,} were there already",
        soft_wrap=True,
    )


def doctor(out: Console, figures: Mapping[str, Any]) -> None:
    """A line a check."""
    colours = {"ok": "green", "warning": "yellow", "error": "bold red"}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in figures["checks"]:
        advice = f"; {row['advice']}" if row["advice"] else ""
        state = f"[{colours[row['state']]}]{row['state']}[/]"
        table.add_row(state, row["name"], safe(f"{row['found']}{advice}"))
    out.print(table)


def _counted(first: str, *rest: str) -> Table:
    """A table of names with numbers."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _extract_note(found: Mapping[str, Any]) -> str:
    notes = [f"{lasting(found['load_seconds'])} for weights"] if found["seconds"] else []
    notes += [f"{found['not_fetched']:,} not fetched yet"] if found["not_fetched"] else []
    notes += [f"{found['left']:,} not selected"] if found["left"] else []
    return ", ".join(notes)


def _stores(stores: Mapping[str, Mapping[str, int]]) -> Table:
    table = _counted("feature store", "there", "missing", "rows", "bytes")
    for name, cells in stores.items():
        row = f"{cells['there']:,}", f"{cells['videos']:,}", f"{cells['rows']:,}", amount(cells["bytes"])
        table.add_row(safe(name), *row)
    return table
