"""One page about a root: what is in it, what went wrong, what the features and labels look like, how good the fits are.

The page stands alone: style and pictures are in it, nothing is loaded, no script runs. What came from outside (ids,
titles, messages) is escaped by the template, and its control characters are made visible (`visible`).
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from reelmill.models import registry
from reelmill.models.core import charts
from reelmill.models.core.charts import visible
from reelmill.models.core.recommender import Caption
from reelmill.models.metrics.table import MAIN
from reelmill.models.report import ablations, overview
from reelmill.models.report.state import state_of
from reelmill.storage import Outcomes, Tables, parts
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyPath, place

CAPTIONS = {
    "loss": Caption("Terms of the loss", "Means over each epoch."),
    "validation": Caption("Validation", "The dashed epoch gave the model that is tested."),
}
"""Of the plots that every fit has; a recommender's own captions are in its descriptor."""


def write_report(root: str | Path, path: str | AnyPath, *, title: str, runs: Sequence[str | AnyPath] = ()) -> AnyPath:
    """Write the page; return its path. `runs`: folders of complete fits, of this root or of another one.

    Raises InputError if a run folder has no metrics. A root without anything gives a page that says so.
    """
    state = state_of(root, title, [place(folder) for folder in runs])  # first: what comes meanwhile is not in the page
    tables = Tables(root)
    labels = tables.read("labels")
    fits = [_run(place(folder)) for folder in runs]
    content = {
        "title": title,
        "state": state,
        "root": str(root),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "corpus": overview.corpus(tables, labels),
        "rejects": overview.rejects(tables),
        "stores": overview.stores(root, tables),
        "outcomes": overview.outcomes(Outcomes(root)),
        "labels": overview.label_charts(tables, labels),
        "samples": overview.samples(tables, labels),
        "runs": fits,
        "ablations": ablations.charts_of(fits),
    }
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=visible, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters: dict[str, Callable[..., str]] = {"clock": clock, "number": "{:,}".format, "size": _size, "uri": charts.uri}
    environment.filters |= filters
    return parts.write_file(place(path), environment.get_template("page.html").render(content).encode())


def clock(milliseconds: int) -> str:
    """`1:02:03`, or `2:03`; parts of a second only where there are any: `2:03.48`."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, hours = seconds // 60 % 60, seconds // 3600
    text = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
    return text + (f".{rest:03d}".rstrip("0") if rest else "")


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"


def _run(folder: AnyPath) -> dict[str, Any]:
    """A fit: its settings, and its figures arranged by ranking and metric."""
    if parts.size(folder / "metrics.json") is None:
        raise InputError(f"{folder} has no metrics.json; the fit is not finished (reelmill train)")
    metrics = json.loads(parts.read_file(folder / "metrics.json"))
    asked = folder / "settings.json"
    settings = json.loads(parts.read_file(asked)) if parts.size(asked) is not None else {}
    rows, grouped = _named(metrics["rows"]), _named(metrics.get("by_sparsity", []))
    every = list(dict.fromkeys(row["metric"] for row in rows))
    main = [name for name in MAIN if name in every] or every[:8]
    model = settings.get("model", folder.name)
    chart = [{**row, "strong": row["name"] == model} for row in rows if row["metric"] == main[0]]
    head = next((row for row in rows if row["name"] == model and row["metric"] == main[0]), None)
    return {
        "name": folder.name,
        "home": folder.parent.parent.name,
        "model": model,
        "store": ", ".join(store for store in settings.get("stores", {}).values() if store),
        "asked": settings,
        "settings": {**settings.get("settings", {}), "code_version": settings.get("code_version", "")},
        "counts": metrics.get("counts", {}),
        "fit": metrics.get("fit", {}),
        "metric": main[0],
        "head": head,
        "verdict": _verdict(head) if head else "",
        "chance": next((row for row in rows if row["name"] == "random" and row["metric"] == main[0]), None),
        "chart": charts.whiskers(chart, f"{main[0]}, mean and 95 % interval") if chart else b"",
        "plots": _plots(folder, model),
        "tables": {"main": _table(rows, main), "every": _table(rows, every)},
        "groups": _groups(grouped),
        "groups_chart": charts.groups(grouped, model) if grouped else b"",
    }


def _plots(folder: AnyPath, model: str) -> list[dict[str, Any]]:
    """The plots of a run in the order of their captions, without `groups`, which the page shows beside its table; none
    of a run that was fitted without."""
    captions = {**CAPTIONS, **(registry.find(model).captions if model in registry.RECOMMENDERS else {})}
    found = []
    for path in (folder / "plots" / name for name in parts.files(folder / "plots") if name.endswith(".svg")):
        kind = path.stem.rstrip("_0123456789")
        if kind != "groups":
            caption = captions.get(kind, Caption(path.stem.replace("_", " ")))
            found.append({"kind": kind, "svg": parts.read_file(path), "caption": caption})
    order = [*captions]
    return sorted(found, key=lambda plot: order.index(plot["kind"]) if plot["kind"] in order else len(order))


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every row with its ranking under `name`."""
    return [{"name": row.get("row", ""), **row} for row in rows]


def _verdict(row: dict[str, Any]) -> str:
    """`better`, `worse` or `equal` to chance, by the interval of the paired difference; empty if there is none."""
    if "minus_random_low" not in row:
        return ""
    low, high = row["minus_random_low"], row["minus_random_high"]
    if row.get("better") == "lower":
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "equal"


def _table(rows: list[dict[str, Any]], metrics: list[str]) -> dict[str, Any]:
    """Rankings downwards, metrics across; each cell a row of the metrics with its verdict."""
    lines = {
        name: {row["metric"]: {**row, "verdict": _verdict(row)} for row in rows if row["name"] == name}
        for name in dict.fromkeys(row["name"] for row in rows)
    }
    better = {row["metric"]: row.get("better", "") for row in rows}
    return {"metrics": [{"name": m, "better": better[m]} for m in metrics], "lines": lines}


def _groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tables of groups of users, in the order in which they come."""
    found = []
    for name in dict.fromkeys(row["group"] for row in rows):
        here = [row for row in rows if row["group"] == name]
        table = _table(here, list(dict.fromkeys(row["metric"] for row in here)))
        found.append({"name": name, "cases": here[0]["cases"], **table})
    return found
