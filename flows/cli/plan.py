"""`reelmill plan`: what is missing and what it will cost."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings, progress
from reelmill.flows.cli.options import Extractors, Json, Limit, Order, Root, Set, SettingsFile, Since, Where
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.settings.sections import Settings


def plan(
    settings_file: SettingsFile = None,
    root: Root = None,
    extractor: Extractors = None,
    since: Since = None,
    where: Where = None,
    limit: Limit = None,
    order: Order = "labels",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure first how fast this machine is, for some seconds.")
    ] = False,
    set: Set = None,
    json: Json = False,
) -> None:
    """Show what is missing, and what it will cost: frames, hours, bytes, finish time."""
    from reelmill.flows.jobs.backfill import narrowed
    from reelmill.flows.jobs.plan import STAGES
    from reelmill.flows.jobs.plan import plan as job
    from reelmill.pipeline.planning.select import Selection

    selection = Selection(since, where, limit, order)  # type: ignore[arg-type]
    chosen, stages = load_settings(settings_file, root, set), tuple(STAGES)
    if extractor or selection.narrows:
        chosen, stages = narrowed(chosen, extractor or (), selection), ("extract", "texts")
    with progress(json):
        figures = job(chosen, selection, stages, calibrate)
    show(figures, json, render)


def show_plan(settings: "Settings", stages: Sequence[str], as_json: bool, **options: Any) -> None:
    """What a verb would do, for its `--dry-run`. `options`: those of `reelmill.flows.jobs.plan.plan`."""
    from reelmill.flows.jobs.plan import plan as job

    with progress(as_json):
        figures = {"dry_run": True, **job(settings, stages=stages, **options)}
    source = settings.source
    if source is not None and "download" in stages:
        figures["source"] = f"{source.path} ({source.format}) is read first; rows that are new add to this"
    show(figures, as_json, render)


def render(out: Console, figures: Mapping[str, Any]) -> None:
    """What is missing, and what it will cost."""
    stages = figures["stages"]
    if "source" in figures:
        out.print(f"source: {safe(figures['source'])}", soft_wrap=True)
    table = Table("stage", "missing", "frames", "bytes", "time", "", numbers=(1, 2, 3, 4))
    if "download" in stages:
        found = stages["download"]
        row = f"{found['videos']:,} videos", "", amount(found["bytes"]), lasting(found["seconds"])
        table.add("download", *row, "" if found["seconds"] is not None else "none was downloaded yet")
    if "extract" in stages:
        found = stages["extract"]
        row = f"{found['videos']:,} videos", f"{found['frames']:,}", amount(found["bytes"]), lasting(found["seconds"])
        table.add("extract", *row, _extract_note(found))
    for name, found in stages.get("texts", {}).items():
        table.add(name, f"{found['missing']:,} texts", "", "", "" if found["fitted"] else "to be fitted")
    for name in stages.get("train", {}):
        table.add("train", name, "", "", "", "unless it is complete")
    table.print(out)
    if stages.get("extract", {}).get("stores"):
        _stores(stages["extract"]["stores"]).print(out)
    if figures["seconds"] is None:
        out.print("never measured on this machine: `reelmill plan --calibrate` does it", soft_wrap=True)
    elif figures["seconds"]:
        finish = datetime.fromisoformat(figures["finish"]).astimezone()
        out.print(
            f"started now it ends about {finish:%Y-%m-%d %H:%M}, and the root grows by {amount(figures['bytes'])}",
            soft_wrap=True,
        )
    elif "download" in stages or "extract" in stages:
        out.print("nothing is missing that would be downloaded or extracted")
    if figures.get("dry_run"):
        out.print("nothing was done (--dry-run)")


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


def _extract_note(found: Mapping[str, Any]) -> str:
    notes = [f"{lasting(found['load_seconds'])} for weights"] if found["seconds"] else []
    notes += [f"{found['not_fetched']:,} not fetched yet"] if found["not_fetched"] else []
    notes += [f"{found['left']:,} not selected"] if found["left"] else []
    return ", ".join(notes)


def _stores(stores: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table("feature store", "present", "missing", "rows", "bytes", numbers=(1, 2, 3, 4))
    for name, cells in stores.items():
        row = f"{cells['there']:,}", f"{cells['videos']:,}", f"{cells['rows']:,}", amount(cells["bytes"])
        table.add(safe(name), *row)
    return table
