"""One page about a root: its contents, failures, features and labels, and how good the fits are.

The page stands alone: style and pictures are in it, nothing is loaded, no script runs. What came from outside (ids,
titles, messages) is escaped by the template, and its control characters are made visible (`visible`).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from reelmill.models.core import charts
from reelmill.models.core.charts import visible
from reelmill.models.report import ablations, cards, overview, repeats
from reelmill.models.report.state import state_of
from reelmill.storage import Outcomes, Root, parts
from reelmill.storage.place import AnyPath, AnyRoot, place


def write_report(root: AnyRoot, path: str | AnyPath, *, title: str, runs: Sequence[str | AnyPath] = ()) -> AnyPath:
    """Write the page; return its path. `runs`: folders of complete fits, of this root or of another one.

    Raises InputError if a run folder has no metrics. A root without anything gives a page that says so.
    """
    root = Root(root)
    state = state_of(root, title, [place(folder) for folder in runs])  # first: what comes meanwhile is not in the page
    tables = root.tables
    labels = tables.read("labels")
    fits = [cards.card(place(folder)) for folder in runs]
    content = {
        "title": title,
        "state": state,
        "root": str(root),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "corpus": overview.corpus(tables, labels),
        "sources": overview.sources(root),
        "rejects": overview.rejects(tables),
        "stores": overview.stores(root),
        "outcomes": overview.outcomes(Outcomes(root)),
        "labels": overview.label_charts(tables, labels),
        "samples": overview.samples(tables, labels),
        "runs": fits,
        "ablations": ablations.find_ablations(fits),
        "repeats": repeats.find_repeats(fits),
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
