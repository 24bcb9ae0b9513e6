"""The pictures of the report: small charts as SVG in a data URI, which carry no script and load nothing."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

ACCENT, QUIET, INK, LINE = "#0f766e", "#94a3b8", "#334155", "#e2e8f0"

LOOK = {
    "svg.fonttype": "none",  # text stays text, in the reader's own font
    "svg.hashsalt": "reelmill",  # equal figures give equal files
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "xtick.color": INK,
    "ytick.color": INK,
}


def bars(values: np.ndarray, first: int, xlabel: str, ylabel: str) -> str:
    """One bar a value (n,), from `first` on."""
    with matplotlib.rc_context(LOOK):
        figure, axes = _figure(5.2, 2.5)
        axes.bar(np.arange(first, first + len(values)), values, width=0.82, color=ACCENT)
        axes.set_ylim(bottom=0)
        axes.set_xlim(first - 0.6, first + len(values) - 0.4)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _label(axes, xlabel, ylabel)
        return _uri(figure)


def histogram(counts: np.ndarray, xlabel: str, ylabel: str, bins: int = 24) -> str:
    """How often each whole number occurs in (n,), in at most `bins` bars of equal whole width."""
    low, high = int(counts.min()), int(counts.max())
    width = -(-(high - low + 1) // bins)
    edges = np.arange(low, high + width + 1, width) - 0.5
    with matplotlib.rc_context(LOOK):
        figure, axes = _figure(5.2, 2.5)
        axes.hist(counts, bins=edges, color=ACCENT, rwidth=0.9)
        axes.axvline(float(np.median(counts)), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"median {np.median(counts):g}", (float(np.median(counts)), 1), xycoords=("data", "axes fraction"),
                      xytext=(4, -2), textcoords="offset points", va="top", fontsize=9)  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_locator().set_params(integer=True)
        _label(axes, xlabel, ylabel)
        return _uri(figure)


def whiskers(rows: Sequence[dict[str, Any]], xlabel: str) -> str:
    """One line a row, top down: its `mean` as a bar, `low` to `high` as a whisker; `strong` rows stand out. A row
    called `random` becomes an upright line as well."""
    with matplotlib.rc_context(LOOK):
        figure, axes = _figure(6.4, 0.5 + 0.38 * len(rows))
        place = np.arange(len(rows))
        mean, low, high = (np.array([row[key] for row in rows], float) for key in ("mean", "low", "high"))
        colours = [ACCENT if row["strong"] else QUIET for row in rows]
        axes.barh(place, mean, height=0.62, color=colours)
        spread = np.maximum(np.stack([mean - low, high - mean]), 0)
        axes.errorbar(mean, place, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3)
        for row in rows:
            if row["name"] == "random":
                axes.axvline(row["mean"], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(place, [row["name"] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(left=min(0.0, float(low.min())))
        _label(axes, xlabel, "", grid="x")
        return _uri(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _label(axes: Axes, xlabel: str, ylabel: str, grid: str = "y") -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=LINE, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
