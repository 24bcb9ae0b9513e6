"""Figures as short tables for people. One function a verb, each takes the same dict that `--json` prints."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reelmill.flows.progress import safe

SHOWN = ("map", "hr@1", "ndcg@5")
"""Metrics of the terminal table, where a recommender has them; the report and metrics.json have them all."""
MOST = 3
"""Else so many, the first."""
FLOORS = ("map", "highlight_ap", "nmsd")
"""Metrics of the table of floors."""


def ingest(out: Console, figures: dict[str, Any]) -> None:
    """Source, downloads and labels."""
    table = _stages()
    _ingest_rows(table, figures)
    out.print(table)


def extract(out: Console, figures: dict[str, Any]) -> None:
    """Videos, texts and stores."""
    table = _stages()
    _extract_rows(table, figures)
    out.print(table)
    for store in figures["stores"]:
        out.print(f"store: {store}")


backfill = extract


def train(out: Console, figures: dict[str, Any]) -> None:
    """What was read, if anything was; metrics of each recommender against chance."""
    if "data" in figures:
        _read(out, figures["data"])
    for name, fitted in figures["fits"].items():
        if fitted["skipped"]:
            out.print(f"{name}: skipped, this run is complete already")
        _fitted(out, name, fitted)
    for name, message in figures["unfitted"].items():
        out.print(f"[bold]{safe(name)}[/]: not fitted, {safe(message)}", soft_wrap=True)
    if "reason" in figures:
        out.print(f"train: skipped, {safe(figures['reason'])}", soft_wrap=True)


def floors(out: Console, figures: dict[str, Any]) -> None:
    """What was read, if anything was, and both tables."""
    if "data" in figures:
        _read(out, figures["data"])
    out.print(metrics("last video of users with five", figures["rows"], shown=FLOORS))
    if figures["last_videos"]:
        out.print(metrics("what the source marks as last", figures["last_videos"], shown=FLOORS))


def run(out: Console, figures: dict[str, Any]) -> None:
    """All stages, the metrics, the report."""
    table = _stages()
    _ingest_rows(table, figures["ingest"])
    _extract_rows(table, figures["extract"])
    _train_rows(table, figures["train"])
    out.print(table)
    train(out, figures["train"])
    out.print(f"report: {safe(figures['report'])}", soft_wrap=True)


def demo(out: Console, figures: dict[str, Any]) -> None:
    """The whole job on the planted corpus, then the control."""
    planted, control = figures["run"], figures["control"]
    table = _stages()
    _ingest_rows(table, planted["ingest"])
    _extract_rows(table, planted["extract"])
    _train_rows(table, planted["train"])
    out.print(table)
    out.print(_stores(figures["stores"]))
    out.print("[bold]Planted corpus[/]: users like segments of their tastes")
    for name, fitted in planted["train"]["fits"].items():
        out.print(metrics(name, fitted["metrics"]))
    out.print("[bold]Noise twin[/], the control: the same users like segments at random; nothing may beat chance")
    for name, fitted in control["train"]["fits"].items():
        out.print(metrics(name, fitted["metrics"], ("random", name)))
    if not planted["extract"]["done"] and all(fitted["skipped"] for fitted in planted["train"]["fits"].values()):
        out.print("Everything was there already: nothing was rendered, downloaded, extracted or fitted again.")
    out.print(f"report: {planted['report']}", soft_wrap=True)


def weights(out: Console, figures: dict[str, Any]) -> None:
    """Checkpoints: here or not, the right ones or not, and under which terms."""
    table = Table(box=SIMPLE_HEAD, title=f"in {safe(figures['folder'])}", title_justify="left", title_style="")
    table.add_column("weights", no_wrap=True)
    table.add_column("for", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("file", overflow="fold")
    for row in figures["weights"]:
        table.add_row(row["name"], row["extractor"], row["state"], row["file"])
    out.print(table)
    for row in figures["weights"]:
        if row["state"] in ("wrong", "unverified"):
            wanted = f"should be {row['expected']}" if row["expected"] else "no hash is published to compare it with"
            out.print(f"{row['name']}: the file has {row['found']}, {wanted}", soft_wrap=True)
    for licence in dict.fromkeys(row["licence"] for row in figures["weights"]):
        names = ", ".join(row["name"] for row in figures["weights"] if row["licence"] == licence)
        out.print(f"licence {licence}: {names}", soft_wrap=True)


def metrics(name: str, rows: list[dict[str, Any]], only: tuple[str, ...] = (), shown: tuple[str, ...] = SHOWN) -> Table:
    """Metric rows of a recommender with 95 % intervals: one line a row of the evaluation (those in `only`), one column
    a metric."""
    rows = [row for row in rows if not only or row["row"] in only]
    every = list(dict.fromkeys(row["metric"] for row in rows))
    columns = [metric for metric in shown if metric in every] or every[:MOST]
    cases = max((row["cases"] for row in rows), default=0)
    title = f"[bold]{safe(name)}[/], mean and 95 % interval over {cases:,} cases"
    table = Table("", *columns, title=title, title_justify="left", title_style="", box=SIMPLE_HEAD)
    for line in dict.fromkeys(row["row"] for row in rows):
        cells = {r["metric"]: r for r in rows if r["row"] == line}
        table.add_row(safe(line), *(_interval(cells[metric]) if metric in cells else "" for metric in columns))
    return table


def _interval(row: dict[str, Any]) -> str:
    return f"{row['mean']:.3f} [dim]{row['low']:.2f}–{row['high']:.2f}[/]"


def _stages() -> Table:
    return Table("stage", "done", "there already", "failed or rejected", "", box=SIMPLE_HEAD)


def _ingest_rows(table: Table, figures: dict[str, Any]) -> None:
    source, labels = figures["source"], figures["labels"]
    if source["read"]:
        rejects = _classes(source["reasons"])
        note = f"{source['rows']:,} rows, {source['videos']:,} videos, {source['clipped']:,} clipped"
        done = ("0", f"{source['events']:,}") if not source["events_written"] else (f"{source['events']:,}", "0")
        table.add_row("events", *done, rejects, note)
    if "download" in figures:
        fetched = figures["download"]
        table.add_row("download", f"{fetched['done']:,}", f"{fetched['skipped']:,}", _classes(fetched["failed"]), "")
    rows = (f"{labels['labels']:,}", "0") if labels["written"] else ("0", f"{labels['labels']:,}")
    table.add_row("labels", *rows, "", f"{labels['segments']:,} segments of {labels['videos']:,} videos")


def _extract_rows(table: Table, figures: dict[str, Any]) -> None:
    note = f"{figures['segments']:,} segments"
    if figures["seconds"]:
        note += f", {figures['video_seconds'] / figures['seconds']:.1f}× real time"
    if figures["without"]:
        note += f"; {figures['without']:,} failed for good before"
    if figures["left"]:
        note += f"; {figures['left']:,} more lack something and were not selected"
    if figures["done"] or figures["skipped"] or figures["failed"] or not figures["texts"]:
        table.add_row("extract", f"{figures['done']:,}", f"{figures['skipped']:,}", _classes(figures["failed"]), note)
    for name, read in figures["texts"].items():
        table.add_row(name, f"{read['done']:,}", f"{read['skipped']:,}", "", _text_note(read))


def _text_note(read: dict[str, Any]) -> str:
    if read["reason"] is not None:
        return safe(read["reason"])
    notes = ["fitted anew"] if read["fitted"] else []
    notes += [f"{read['without_text']:,} of {read['rows']:,} without text"] if read["without_text"] else []
    notes += [f"{read['undated']:,} posts without a time left out"] if read["undated"] else []
    return ", ".join(notes)


def _read(out: Console, data: dict[str, Any]) -> None:
    """The parts of a published data set, its stores, and what it lacks."""
    table = Table(data["kind"], "rows", "events", "rejected", "videos", box=SIMPLE_HEAD)
    for source in data["sources"]:
        counts = (f"{source[key]:,}" for key in ("rows", "events"))
        table.add_row(safe(source["source"]), *counts, _classes(source["reasons"]), f"{source['videos']:,}")
    out.print(table)
    for modality, store in data["stores"].items():
        out.print(f"{safe(modality)}: {safe(store)}")
    for what, reason in data["without"].items():
        out.print(f"without {what}: {safe(reason)}", soft_wrap=True)
    for note in data["notes"]:
        out.print(safe(note), soft_wrap=True)


def _fitted(out: Console, name: str, figures: dict[str, Any]) -> None:
    """What was measured and where it is."""
    out.print(metrics(name, figures["metrics"]))
    out.print(f"run:    {safe(figures['folder'])}", soft_wrap=True)


def _train_rows(table: Table, figures: dict[str, Any]) -> None:
    for name, fitted in figures["fits"].items():
        on = ", ".join(fitted["stores"].values())
        table.add_row(f"train {name}", *(("0", "1") if fitted["skipped"] else ("1", "0")), "", f"on {on}" if on else "")
    for name in figures["unfitted"]:
        table.add_row(f"train {name}", "0", "0", "1", "")


def _stores(stores: dict[str, dict[str, int]]) -> Table:
    table = Table("feature store", "videos", "rows", "numbers a row", box=SIMPLE_HEAD)
    for name, counts in stores.items():
        table.add_row(name, f"{counts['videos']:,}", f"{counts['rows']:,}", f"{counts['dim']:,}")
    return table


def _classes(failed: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {safe(name)}" for name, count in sorted(failed.items()))
