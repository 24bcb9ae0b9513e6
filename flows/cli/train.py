"""`reelmill train`: feature stores and tables → fitted recommenders with their metrics."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Json, Root, Set, SettingsFile, recommender_names
from reelmill.flows.cli.output import Table, classes, show
from reelmill.flows.cli.plan import show_plan
from reelmill.flows.progress import safe
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.flows.jobs.places import DataResult
    from reelmill.flows.jobs.train import TrainResult

SHOWN = ("map", "hr@1", "ndcg@5")
"""Metrics of the terminal table, where a recommender has them; the report and metrics.json have them all."""
FIRST = 3
"""Otherwise this many, the first."""


def train(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Recommender, or all; those of the settings if not given.",
            autocompletion=recommender_names,
        ),
    ] = None,
    settings_file: SettingsFile = None,
    root: Root = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="PATH", help="A published data set, read into the root first: file or folder."),
    ] = None,
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            metavar="KNOBS",
            help="Fit on a planted world, written under --root (worlds if not given): default, or its knobs: "
            "telling=0.5,seed=1.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="Hyper-parameter: epochs=20.")
    ] = None,
    set: Set = None,
    listed: Annotated[bool, typer.Option("--list", help="List the recommenders and what each ranks.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fit recommenders on feature stores and evaluate them: one by name, all, or those of the settings."""
    if listed:
        return show_recommenders(json)
    from reelmill.flows.jobs import fits

    if model is not None and settings_file is None and model.endswith((".yaml", ".yml")):
        settings_file, model = Path(model), None
    own_data = data is not None or world is not None
    if own_data and (model is None or settings_file is not None or None not in (data, world)):
        raise InputError("give --world or --data with the name of a recommender, or all, and without a settings file")
    if own_data:
        root = root or ("worlds" if world is not None else "reelmill")
    chosen = load_settings(settings_file, root, set)
    chosen = fits.choose(chosen, [model] if model else [], option or ())
    if dry_run:
        return show_plan(chosen, ("train",), json)
    from reelmill.flows.jobs.train import train as job

    return work(job, chosen, json, render, data=data, world=world)


def show_recommenders(json: bool) -> None:
    """Print the recommenders by name, each with its title."""
    from reelmill.models.registry import RECOMMENDERS

    def table(out: Console, titles: dict[str, Any]) -> None:
        listed = Table("recommender", "ranks")
        for name, title in titles.items():
            listed.add(name, title)
        listed.print(out)

    show({name: entry.title for name, entry in RECOMMENDERS.items()}, json, table)


def render(out: Console, result: "TrainResult") -> None:
    """What was read, if anything was; metrics of each recommender and of the floors, and its verdict."""
    if result.data is not None:
        render_data(out, result.data)
    for name, fitted in result.fits.items():
        if fitted.skipped:
            out.print(f"{safe(name)}: skipped, this run is complete already", soft_wrap=True)
        metrics_table(name, fitted.metrics).print(out)
        for line in verdicts(name, fitted.metrics):
            out.print(line, soft_wrap=True)
        out.print(f"run: {safe(fitted.folder)}", soft_wrap=True)
    for name, message in result.unfitted.items():
        out.print(f"[bold]{safe(name)}[/]: not fitted, {safe(message)}", soft_wrap=True)
    if result.reason is not None:
        out.print(f"train: skipped, {safe(result.reason)}", soft_wrap=True)


def render_data(out: Console, data: "DataResult") -> None:
    """The parts of a published data set, its stores, and what is missing."""
    found = data.found
    table = Table(found.kind, "rows", "events", "rejected", "videos", numbers=(1, 2, 4))
    for source in found.sources:
        counts = (f"{count:,}" for count in (source.rows, source.events))
        table.add(safe(source.source), *counts, classes(source.reasons), f"{source.videos:,}")
    table.print(out)
    for modality, store in found.stores.items():
        out.print(f"{safe(modality)}: {safe(store)}", soft_wrap=True)
    for what, reason in data.without.items():
        out.print(f"without {what}: {safe(reason)}", soft_wrap=True)
    for how in dict.fromkeys(f"{name}: {how}" for source in found.sources for name, how in source.understood.items()):
        out.print(safe(how), soft_wrap=True)
    for note in found.notes:
        out.print(safe(note), soft_wrap=True)


def add_train(table: Table, result: "TrainResult") -> None:
    """Fits as rows of the table of stages."""
    for name, fitted in result.fits.items():
        on = ", ".join(fitted.stores.values())
        done = ("0", "1") if fitted.skipped else ("1", "0")
        table.add(f"train {name}", *done, "", f"on {safe(on)}" if on else "")
    for name in result.unfitted:
        table.add(f"train {safe(name)}", "0", "0", "1")


def metrics_table(
    name: str, rows: list[dict[str, Any]], only: tuple[str, ...] = (), shown: tuple[str, ...] = SHOWN
) -> Table:
    """Metrics of a recommender with 95 % intervals: a line for each row of the evaluation (those in `only`), a column
    for each metric."""
    rows = [row for row in rows if not only or row["row"] in only]
    every = list(dict.fromkeys(row["metric"] for row in rows))
    columns = [metric for metric in shown if metric in every] or every[:FIRST]
    cases = max((row["cases"] for row in rows), default=0)
    table = Table("", *columns, title=f"[bold]{safe(name)}[/], mean and 95 % interval over {cases:,} cases")
    for line in dict.fromkeys(row["row"] for row in rows):
        cells = {row["metric"]: row for row in rows if row["row"] == line}
        table.add(safe(line), *(_interval(cells[metric]) if metric in cells else "" for metric in columns))
    return table


VERDICTS = {"better": "beats", "worse": "[bold]is below[/]", "equal": "[bold]is no different from[/]"}
"""{verdict: how it is said}"""


def verdicts(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """What the fit is worth against the best ranking without training, a line for each metric of the table; and nMSD
    with permuted labels. Runs of older versions have neither."""
    own = {row["metric"]: row for row in rows if row["row"] == name and "verdict" in row}
    lines = []
    for metric in [metric for metric in SHOWN if metric in own] or list(own)[:FIRST]:
        row = own[metric]
        span = f"{row['minus_floor']:+.3f} [dim]{row['minus_floor_low']:+.3f} – {row['minus_floor_high']:+.3f}[/]"
        said = VERDICTS[row["verdict"]]
        lines.append(f"{safe(metric)}: {safe(name)} {said} the best floor, {safe(row['best_floor'])}: {span}")
    if "null" in own.get("nmsd", {}):
        row = own["nmsd"]
        lines.append(f"nmsd: {row['mean']:.3f}; with permuted labels {row['null']:.3f}")
    return lines


def _interval(row: dict[str, Any]) -> str:
    return f"{row['mean']:.3f} [dim]{row['low']:.2f}–{row['high']:.2f}[/]"
