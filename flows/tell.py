"""Figures as short tables for people. One function a verb, each takes the same dict that `--json` prints."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.progress import safe

SHOWN = ("map", "hr@1", "ndcg@5")
"""Metrics of the terminal table; the report and metrics.json have them all."""
LISTED = 20
"""Most failures of the terminal table; `status --json` has them all."""


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


def train(out: Console, figures: dict[str, Any]) -> None:
    """Metrics against chance."""
    if figures["skipped"] and "reason" not in figures:
        out.print("train: skipped, this run is complete already")
    _fitted(out, figures)


def run(out: Console, figures: dict[str, Any]) -> None:
    """All stages, the metrics, the report."""
    table = _stages()
    _ingest_rows(table, figures["ingest"])
    _extract_rows(table, figures["extract"])
    fitted = figures["train"]
    _train_row(table, fitted)
    out.print(table)
    _fitted(out, fitted)
    out.print(f"report: {safe(figures['report'])}", soft_wrap=True)


def demo(out: Console, figures: dict[str, Any]) -> None:
    """The whole job on the planted corpus, then the control."""
    planted, control = figures["run"], figures["control"]
    table = _stages()
    _ingest_rows(table, planted["ingest"])
    _extract_rows(table, planted["extract"])
    _train_row(table, planted["train"])
    out.print(table)
    out.print(_stores(figures["stores"]))
    out.print("[bold]Planted corpus[/]: users like segments of their tastes")
    out.print(metrics(planted["train"]["metrics"]))
    out.print("[bold]Noise twin[/], the control: the same users like segments at random; nothing may beat chance")
    out.print(metrics(control["train"]["metrics"], ("random", "transgrec")))
    if not planted["extract"]["done"] and planted["train"]["skipped"]:
        out.print("Everything was there already: nothing was rendered, downloaded, extracted or fitted again.")
    out.print(f"report: {planted['report']}", soft_wrap=True)


def status(out: Console, figures: dict[str, Any]) -> None:
    """Tables, stores, failures."""
    table = Table("table", "rows", title=safe(figures["root"]), title_justify="left", box=SIMPLE_HEAD)
    for name, rows in figures["tables"].items():
        table.add_row(name, f"{rows:,}")
    out.print(table)
    out.print(_stores(figures["stores"]))
    for what, count in figures["failures"].items():
        out.print(f"failed  {safe(what)}: {count}")
    failed = figures["newest_failures"]
    if failed:
        last = Table(
            "stage", "what", "class", "", "message", title="newest failures", title_justify="left", box=SIMPLE_HEAD
        )
        for row in failed[:LISTED]:
            again = "permanent" if row["permanent"] else "tried again"
            last.add_row(row["stage"], safe(row["key"]), row["class"], again, safe(row["message"]))
        out.print(last)
    if len(failed) > LISTED:
        out.print(f"and {len(failed) - LISTED:,} more; `reelmill status --json` has them all")


def verify(out: Console, figures: dict[str, Any]) -> None:
    """Sound or not, a line a store."""
    for name, wrong in figures["stores"].items():
        out.print(f"{name}: {'sound' if not wrong else f'{len(wrong)} shards are damaged'}")
        for line in wrong:
            out.print(f"  {safe(line)}", soft_wrap=True)


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


def metrics(rows: list[dict[str, Any]], only: tuple[str, ...] = ()) -> Table:
    """Metric rows with 95 % intervals: one line a row of the evaluation (those in `only`), one column a metric."""
    rows = [row for row in rows if not only or row["row"] in only]
    names = [m for m in SHOWN if any(row["metric"] == m for row in rows)]
    cases = max((row["cases"] for row in rows), default=0)
    title = f"mean and 95 % interval over {cases} cases"
    table = Table("", *names, title=title, title_justify="left", title_style="", box=SIMPLE_HEAD)
    for name in dict.fromkeys(row["row"] for row in rows):
        cells = {r["metric"]: r for r in rows if r["row"] == name}
        table.add_row(safe(name), *(_interval(cells[metric]) if metric in cells else "" for metric in names))
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


def _fitted(out: Console, figures: dict[str, Any]) -> None:
    """What was measured and where it is, or why there is nothing."""
    if "reason" in figures:
        out.print(f"train: skipped, {safe(figures['reason'])}", soft_wrap=True)
        return
    out.print(metrics(figures["metrics"]))
    out.print(f"run:    {safe(figures['folder'])}", soft_wrap=True)


def _train_row(table: Table, figures: dict[str, Any]) -> None:
    if "reason" in figures:
        table.add_row("train", "0", "0", "", "skipped")
        return
    table.add_row("train", *(("0", "1") if figures["skipped"] else ("1", "0")), "", f"on {figures['store']}")


def _stores(stores: dict[str, dict[str, int]]) -> Table:
    table = Table("feature store", "videos", "rows", "numbers a row", box=SIMPLE_HEAD)
    for name, counts in stores.items():
        table.add_row(name, f"{counts['videos']:,}", f"{counts['rows']:,}", f"{counts['dim']:,}")
    return table


def _classes(failed: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(failed.items()))
