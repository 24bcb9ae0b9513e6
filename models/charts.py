"""The pictures of the report: small charts as SVG in a data URI, which carry no script and load nothing."""

import base64
import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

ACCENT, QUIET, INK, LINE = "#0f766e", "#94a3b8", "#334155", "#e2e8f0"


def bars(values: np.ndarray, first: int, xlabel: str, ylabel: str) -> str:
    """One bar a value (n,), from `first` on."""
    with _canvas(3.7, 2.2) as (figure, axes):
        axes.bar(np.arange(first, first + len(values)), values, width=0.82 if len(values) <= 40 else 1, color=ACCENT)
        axes.set_ylim(bottom=0)
        axes.set_xlim(first - 0.6, first + len(values) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axes, xlabel, ylabel)
        return _uri(figure)


def histogram(counts: np.ndarray, xlabel: str, ylabel: str, bins: int = 24) -> str:
    """How often each whole number occurs in (n,), in at most `bins` bars of equal whole width. A long tail is gathered
    in the last bar."""
    low, high, median = int(counts.min()), int(counts.max()), float(np.median(counts))
    common = int(np.ceil(np.quantile(counts, 0.97)))
    if high - low >= max(bins, 2 * (common - low)):
        high, xlabel = common + 1, f"{xlabel}\n(last bar: the tail, up to {high:,})"
        counts = np.minimum(counts, high)
    width = -(-(high - low + 1) // bins)
    edges = np.arange(low, high + width + 1, width) - 0.5
    with _canvas(3.7, 2.2) as (figure, axes):
        axes.hist(counts, bins=edges.tolist(), color=ACCENT, rwidth=0.9)
        axes.axvline(median, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"median {median:g}", (median, 1), xycoords=("data", "axes fraction"), xytext=(4, -1),
                      textcoords="offset points", va="top", fontsize=8)  # fmt: skip
        axes.margins(y=0.2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axes, xlabel, ylabel)
        return _uri(figure)


def whiskers(rows: Sequence[dict[str, Any]], xlabel: str) -> str:
    """One line a row, top down: its `mean` as a bar, `low` to `high` as a whisker; `strong` rows stand out. A row
    called `random` becomes an upright line as well."""
    place = np.arange(len(rows))
    mean, low, high = (np.array([row[key] for row in rows], float) for key in ("mean", "low", "high"))
    with _canvas(6.4, 0.6 + 0.33 * len(rows)) as (figure, axes):
        axes.barh(place, mean, height=0.62, color=[ACCENT if row["strong"] else QUIET for row in rows])
        spread = np.maximum(np.stack([mean - low, high - mean]), 0)
        axes.errorbar(mean, place, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3)
        for row in rows:
            if row["name"] == "random":
                axes.axvline(row["mean"], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(place, [row["name"] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        if low.min() >= 0 and high.max() <= 1:
            axes.set_xlim(0, 1)  # charts of several fits can be compared
        _label(axes, xlabel, "", grid="x")
        return _uri(figure)


@contextlib.contextmanager
def _canvas(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Axes of this size in inches, in the report's look."""
    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",  # text stays text, in the reader's own font
            "svg.hashsalt": "reelmill",  # equal figures give equal files
            "font.family": "sans-serif",
            "font.size": 9,
            "text.color": INK,
            "text.parse_math": False,
            "axes.labelcolor": INK,
            "axes.edgecolor": LINE,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def _label(axes: Axes, xlabel: str, ylabel: str, grid: Literal["x", "y"] = "y") -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)


def _uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
