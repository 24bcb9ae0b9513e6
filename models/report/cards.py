"""The fits of a report: what the page shows of each run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reelmill.models import registry
from reelmill.models.core import charts
from reelmill.models.core.recommender import Caption
from reelmill.models.metrics.table import MAIN
from reelmill.models.metrics.untrained import FLOORS
from reelmill.storage import parts
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyPath

CAPTIONS = {
    "loss": Caption("Terms of the loss", "Means over each epoch."),
    "validation": Caption("Validation", "The model of the dashed epoch is tested."),
}
"""Of the plots that every fit has; a recommender's own captions are in its descriptor."""


@dataclass(frozen=True)
class Plot:
    """A picture of a run."""

    kind: str
    """Its name without a number."""
    svg: bytes
    caption: Caption


@dataclass(frozen=True)
class Scores:
    """A table of rankings by metrics."""

    metrics: list[dict[str, str]]
    """`name`, and `better`: higher, lower or empty."""
    lines: dict[str, dict[str, dict[str, Any]]]
    """{ranking: {metric: row of `metrics.json`}}, each with a `verdict`, which is empty of a floor."""


@dataclass(frozen=True)
class Group:
    """The same for a group of users."""

    name: str
    cases: int
    scores: Scores


@dataclass(frozen=True)
class Card:
    """One fit."""

    name: str
    """Of the run."""
    home: str
    """Name of its root."""
    model: str
    title: str
    """Of the recommender, empty if it is not in the registry."""
    store: str
    """Names of the stores that it was fitted on."""
    identity: dict[str, Any]
    """The content of `settings.json`."""
    settings: dict[str, Any]
    sources: dict[str, int]
    """{source: its events}, of those that were read; empty of a fit that does not say."""
    counts: dict[str, int]
    fit: dict[str, Any]
    metric: str
    """The first main metric."""
    head: dict[str, Any] | None
    """The model's row of this metric."""
    verdict: str
    """Of this row, against the best floor: better, worse or equal by the paired interval; above or below by the means
    alone, of a run that is older than the interval; empty without a floor."""
    floor: dict[str, Any] | None
    """The row of the best floor."""
    chart: bytes
    plots: list[Plot]
    main: Scores
    every: Scores
    groups: list[Group]
    groups_chart: bytes


def card(folder: AnyPath) -> Card:
    """A complete fit. Raises InputError if the run has no metrics."""
    if parts.size(folder / "metrics.json") is None:
        raise InputError(f"{folder} has no metrics.json; the fit is not finished (reelmill train)")
    metrics = json.loads(parts.read_file(folder / "metrics.json"))
    path = folder / "settings.json"
    identity = json.loads(parts.read_file(path)) if parts.size(path) is not None else {}
    rows, grouped = _named(metrics["rows"]), _named(metrics.get("by_sparsity", []))
    every = list(dict.fromkeys(row["metric"] for row in rows))
    main = [name for name in MAIN if name in every] or every[:8]
    model = identity.get("model", folder.name)
    bars = [{**row, "strong": row["name"] == model} for row in rows if row["metric"] == main[0]]
    head = next((row for row in rows if row["name"] == model and row["metric"] == main[0]), None)
    floor = _best_floor(rows, main[0])
    known = model in registry.RECOMMENDERS
    return Card(
        name=folder.name,
        home=folder.parent.parent.name,
        model=model,
        title=registry.RECOMMENDERS[model].title if known else "",
        store=", ".join(store for store in identity.get("stores", {}).values() if store),
        identity=identity,
        settings={**identity.get("settings", {}), "code_version": identity.get("code_version", "")},
        sources=metrics.get("sources", {}),
        counts=metrics.get("counts", {}),
        fit=metrics.get("fit", {}),
        metric=main[0],
        head=head,
        verdict=_verdict(head, floor) if head else "",
        floor=floor,
        chart=charts.whiskers(bars, f"{main[0]}, mean and 95 % interval") if bars else b"",
        plots=_plots(folder, registry.find(model).captions if known else {}),
        main=_table(rows, main),
        every=_table(rows, every),
        groups=_groups(grouped),
        groups_chart=charts.groups(grouped, model) if grouped else b"",
    )


def _plots(folder: AnyPath, own: Mapping[str, Caption]) -> list[Plot]:
    """The plots of a run in the order of their captions, without `groups`, which the page shows beside its table; none
    of a run that was fitted without."""
    captions, found = {**CAPTIONS, **own}, []
    for path in (folder / "plots" / name for name in parts.files(folder / "plots") if name.endswith(".svg")):
        kind = path.stem.rstrip("_0123456789")
        if kind != "groups":
            caption = captions.get(kind, Caption(path.stem.replace("_", " ")))
            found.append(Plot(kind, parts.read_file(path), caption))
    order = [*captions]
    return sorted(found, key=lambda plot: order.index(plot.kind) if plot.kind in order else len(order))


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every row with its ranking under `name`."""
    return [{"name": row.get("row", ""), **row} for row in rows]


def _best_floor(rows: list[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """The row of this metric, of the rankings without training, with the best mean."""
    floors = [row for row in rows if row["metric"] == metric and row["name"] in FLOORS]
    return max(floors, key=lambda row: -row["mean"] if row.get("better") == "lower" else row["mean"], default=None)


def _verdict(row: dict[str, Any], floor: dict[str, Any] | None) -> str:
    """As `Card.verdict` has it."""
    if floor is None or row["name"] in FLOORS:
        return ""
    if "verdict" in row:
        return str(row["verdict"])
    over = row["mean"] - floor["mean"]
    return "above" if (-over if row.get("better") == "lower" else over) > 0 else "below"


def _table(rows: list[dict[str, Any]], metrics: list[str]) -> Scores:
    """Rankings downwards, metrics across; each cell a row of the metrics with its verdict."""
    best = {row["metric"]: _best_floor(rows, row["metric"]) for row in rows}
    lines = {
        name: {
            row["metric"]: {**row, "verdict": _verdict(row, best[row["metric"]])} for row in rows if row["name"] == name
        }
        for name in dict.fromkeys(row["name"] for row in rows)
    }
    better = {row["metric"]: row.get("better", "") for row in rows}
    return Scores([{"name": m, "better": better[m]} for m in metrics], lines)


def _groups(rows: list[dict[str, Any]]) -> list[Group]:
    """Tables of groups of users, in the order in which they come."""
    found = []
    for name in dict.fromkeys(row["group"] for row in rows):
        here = [row for row in rows if row["group"] == name]
        table = _table(here, list(dict.fromkeys(row["metric"] for row in here)))
        found.append(Group(name, here[0]["cases"], table))
    return found
