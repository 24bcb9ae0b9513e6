"""`reelmill plan`: what is missing and what it will cost."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings, progress
from reelmill.flows.cli.options import Extractors, Json, Limit, Order, Root, Set, SettingsFile, Since, Where
from reelmill.flows.cli.output import Table, classes, show, show_skipped
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.plan import ExtractPlan, PlanResult, StorePlan
    from reelmill.flows.settings.sections import Settings
    from reelmill.pipeline.sources.preview import Preview


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
        result = job(chosen, selection, stages, calibrate)
    show(result, json, render)


def show_plan(settings: "Settings", stages: Sequence[str], as_json: bool, **options: Any) -> None:
    """What a verb would do, for its `--dry-run`. A source is read to its end, and what the verb refuses is refused.
    `options`: those of `reelmill.flows.jobs.plan.plan`."""
    from reelmill.flows.jobs import check, steps
    from reelmill.flows.jobs.plan import plan as job
    from reelmill.pipeline.sources.preview import preview

    source, table, found = settings.source, None, None
    with progress(as_json):
        if "download" in stages:
            check.check(settings, check.STAGES if len(stages) > 1 else ("ingest",), weights=False)
            opened = steps.open_source(settings)
            found = None if opened is None else preview(opened)
        result = job(settings, stages=stages, **options)
    if source is not None and "download" in stages:
        table = f"{source.path} ({source.format}) is read first; rows that are new add to this"
    show(replace(result, dry_run=True, source=table, preview=found), as_json, render)


def render(out: Console, result: "PlanResult") -> None:
    """What is missing, and what it will cost."""
    stages = result.stages
    if result.source is not None:
        out.print(f"source: {safe(result.source)}", soft_wrap=True)
    if result.preview is not None:
        _render_preview(out, result.preview)
    table = Table("stage", "missing", "frames", "bytes", "time", "", numbers=(1, 2, 3, 4))
    if (download := stages.download) is not None:
        row = f"{download.videos:,} videos", "", amount(download.bytes), lasting(download.seconds)
        table.add("download", *row, "" if download.seconds is not None else "none was downloaded yet")
    if (extract := stages.extract) is not None:
        row = f"{extract.videos:,} videos", f"{extract.frames:,}", amount(extract.bytes), lasting(extract.seconds)
        table.add("extract", *row, _extract_note(extract))
    for name, text in (stages.texts or {}).items():
        table.add(name, f"{text.missing:,} texts", "", "", "" if text.fitted else "to be fitted")
    for name in stages.train or ():
        table.add("train", name, "", "", "", "unless it is complete")
    table.print(out)
    if extract is not None and extract.stores:
        _stores(extract.stores).print(out)
    if result.seconds is None:
        out.print("never measured on this machine: `reelmill plan --calibrate` does it", soft_wrap=True)
    elif result.seconds and result.finish is not None:
        finish = datetime.fromisoformat(result.finish).astimezone()
        out.print(
            f"started now it ends about {finish:%Y-%m-%d %H:%M}, and the root grows by {amount(result.bytes)}",
            soft_wrap=True,
        )
    elif download is not None or extract is not None:
        out.print("nothing is missing that would be downloaded or extracted")
    if result.dry_run:
        out.print("nothing was done (--dry-run)")


def _render_preview(out: Console, found: "Preview") -> None:
    """How a source would be read: its columns, its first rows, and what becomes of all of them."""
    if (how := found.understood.get("file")) is not None:
        out.print(f"file: {safe(how)}", soft_wrap=True)
    if found.columns:
        columns = Table("our column", "yours", "read as")
        for name, theirs in found.columns.items():
            columns.add(name, safe(theirs), safe(found.understood.get(name, "")))
        columns.print(out)
    out.print("the first rows, as they are understood:", soft_wrap=True)
    for row in found.first_rows:
        cells = ", ".join(f"{name} {cell!r}" for name, cell in row.cells.items())
        out.print(f"  {safe(cells)} → {safe(row.becomes)}", soft_wrap=True)
    for line in () if found.first_rows else found.first_events:
        out.print(f"  {safe(line)}", soft_wrap=True)
    rejected = f"; rejected: {classes(found.rejected)}" if found.rejected else ""
    if found.videos_without_events:
        rejected += f"; of {found.videos_without_events:,} videos every row"
    out.print(f"{found.rows:,} rows: {found.events:,} events, {found.videos:,} videos{rejected}", soft_wrap=True)
    show_skipped(out, found.skipped)
    for note in found.notes:
        out.print(f"note: {safe(note)}", soft_wrap=True)


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


def _extract_note(found: "ExtractPlan") -> str:
    notes = [f"{lasting(found.load_seconds)} for weights"] if found.seconds else []
    notes += [f"{found.not_fetched:,} not fetched yet"] if found.not_fetched else []
    notes += [f"{found.left:,} not selected"] if found.left else []
    return ", ".join(notes)


def _stores(stores: "Mapping[str, StorePlan]") -> Table:
    table = Table("feature store", "present", "missing", "rows", "bytes", numbers=(1, 2, 3, 4))
    for name, cells in stores.items():
        row = f"{cells.there:,}", f"{cells.videos:,}", f"{cells.rows:,}", amount(cells.bytes)
        table.add(safe(name), *row)
    return table
