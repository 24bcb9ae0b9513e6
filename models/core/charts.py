"""Small charts as SVG files, which carry no script and load nothing.

A chart takes plain numbers and names, and gives the bytes of a file; equal numbers give equal bytes. Names may come
from outside: they are cut to a length, and their control characters are made visible. Most charts are as wide as a
column of the report (3.7 inches), so that their text is readable there and on a telephone.
"""

import base64
import contextlib
import io
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import markupsafe
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

ACCENT, QUIET, INK, LINE = "#0f766e", "#94a3b8", "#334155", "#e2e8f0"
COLOURS = (ACCENT, "#c2410c", "#4f46e5", "#a16207", "#be185d", "#64748b", "#0369a1", "#4d7c0f")
"""Of several series; they differ in brightness too, and each has a marker of its own."""
MARKERS = "osD^vPX*"
DASHED = (0, (4, 3))
COLUMN = 3.7
"""Inches."""
KEEP = "\n\u200c\u200d"
"""Control characters that a text may need: line ends, and the joiners of some scripts and emoji."""


def visible(value: Any) -> Any:
    """Text with its control characters, direction marks and lone surrogates written out; anything else as it is."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup):
        return value
    return "".join(c if c in KEEP or unicodedata.category(c)[0] != "C" else repr(c)[1:-1] for c in value)


def short(name: str, most: int = 26) -> str:
    """A name for a chart: visible, and at most so many characters long."""
    name = visible(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def uri(svg: bytes) -> str:
    """The file as a data URI."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def bars(values: np.ndarray, first: int, xlabel: str, ylabel: str) -> bytes:
    """One bar a value (n,), from `first` on."""
    with _canvas(COLUMN, 2.2) as (figure, axes):
        axes.bar(np.arange(first, first + len(values)), values, width=0.82 if len(values) <= 40 else 1, color=ACCENT)
        axes.set_ylim(bottom=0)
        axes.set_xlim(first - 0.6, first + len(values) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axes, xlabel, ylabel)
        return _svg(figure)


def histogram(counts: np.ndarray, xlabel: str, ylabel: str, bins: int = 24) -> bytes:
    """How often each whole number occurs in (n,), in at most `bins` bars of equal whole width. A long tail is gathered
    in the last bar."""
    low, high, median = int(counts.min()), int(counts.max()), float(np.median(counts))
    common = int(np.ceil(np.quantile(counts, 0.97)))
    if high - low >= max(bins, 2 * (common - low)):
        high, xlabel = common + 1, f"{xlabel}\n(last bar: the tail, up to {high:,})"
        counts = np.minimum(counts, high)
    width = -(-(high - low + 1) // bins)
    edges = np.arange(low, high + width + 1, width) - 0.5
    with _canvas(COLUMN, 2.2) as (figure, axes):
        axes.hist(counts, bins=edges.tolist(), color=ACCENT, rwidth=0.9)
        axes.axvline(median, color=INK, linewidth=1, linestyle=DASHED)
        axes.annotate(f"median {median:g}", (median, 1), xycoords=("data", "axes fraction"), xytext=(4, -1),
                      textcoords="offset points", va="top", fontsize=8)  # fmt: skip
        axes.margins(y=0.2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axes, xlabel, ylabel)
        return _svg(figure)


def whiskers(rows: Sequence[dict[str, Any]], xlabel: str) -> bytes:
    """One line a row, top down: its `mean` as a bar, `low` to `high` as a whisker; `strong` rows are highlighted. A row
    called `random` becomes an upright line as well."""
    place = np.arange(len(rows))
    mean, low, high = (np.array([row[key] for row in rows], float) for key in ("mean", "low", "high"))
    with _canvas(4.6, 0.6 + 0.3 * len(rows)) as (figure, axes):
        axes.barh(place, mean, height=0.62, color=[ACCENT if row["strong"] else QUIET for row in rows])
        spread = np.maximum(np.stack([mean - low, high - mean]), 0)
        axes.errorbar(mean, place, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3)
        for row in rows:
            if row["name"] == "random":
                axes.axvline(row["mean"], color=INK, linewidth=1, linestyle=DASHED)
        axes.set_yticks(place, [short(row["name"]) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        if low.min() >= 0 and high.max() <= 1:
            axes.set_xlim(0, 1)  # charts of several fits can be compared
        _label(axes, xlabel, "", grid="x")
        return _svg(figure)


def points(
    ticks: Sequence[str],
    series: Mapping[str, Sequence[Mapping[str, Any] | None]],
    xlabel: str,
    ylabel: str,
    *,
    strong: str = "",
    joined: bool = False,
) -> bytes:
    """For each tick one point a series, its `mean` with a whisker from `low` to `high`, side by side, or joined by
    lines. None leaves a point out; the series `strong` is highlighted, `random` is dim."""
    place, gap = np.arange(len(ticks)), min(0.14, 0.7 / len(series))
    own = {strong: ACCENT, "random": QUIET}
    with _canvas(COLUMN, 2.2 + _legend_height(series)) as (figure, axes):
        for k, (name, cells) in enumerate(series.items()):
            here = [cell or dict.fromkeys(("mean", "low", "high"), np.nan) for cell in cells]
            mean, low, high = (np.array([cell[key] for cell in here], float) for key in ("mean", "low", "high"))
            axes.errorbar(
                place + gap * (k - (len(series) - 1) / 2),
                mean,
                yerr=np.maximum(np.stack([mean - low, high - mean]), 0),
                fmt=MARKERS[k % len(MARKERS)],
                linestyle="-" if joined else "none",
                linewidth=1.2,
                capsize=2.5,
                markersize=7 if name == strong else 5,
                color=own.get(name, COLOURS[(k + bool(strong)) % len(COLOURS)]),
                label=short(name),
            )
        axes.set_xticks(place, [short(tick) for tick in ticks])
        axes.set_xlim(-0.6, len(ticks) - 0.4)
        _label(axes, xlabel, ylabel)
        _legend(figure, axes)
        return _svg(figure)


def groups(rows: Sequence[Mapping[str, Any]], model: str) -> bytes:
    """The first metric of rows of `by_sparsity`: for each group one point a ranking (`row`), that of `model` strong."""
    metric = rows[0]["metric"]
    cells = {(row["row"], row["group"]): dict(row) for row in rows if row["metric"] == metric}
    size = {group: cell["cases"] for (_, group), cell in cells.items()}
    ticks = [f"{group}\n{cases:,} cases" for group, cases in size.items()]
    series = {ranking: [cells.get((ranking, group)) for group in size] for ranking, _ in cells}
    return points(ticks, series, "training examples", metric, strong=model)


def curves(series: Mapping[str, np.ndarray], xlabel: str, ylabel: str, best: int | None = None) -> bytes:
    """Values (n,) at 1 … n; `best` is marked. Values of very different sizes get a log scale."""
    every = np.concatenate(list(series.values()))
    with _canvas(COLUMN, 2.2 + _legend_height(series)) as (figure, axes):
        for k, (name, values) in enumerate(series.items()):
            at, marker = np.arange(1, len(values) + 1), MARKERS[k % len(MARKERS)] if len(values) < 4 else ""
            axes.plot(at, values, label=short(name), color=COLOURS[k % len(COLOURS)], marker=marker, linewidth=1.4)
        if every.min() > 0 and every.max() > 30 * every.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        if best is not None:
            axes.axvline(best, color=INK, linewidth=1, linestyle=DASHED)
            # The label goes to the side with more room.
            away, side = (-4, "right") if best > (1 + len(every) / len(series)) / 2 else (4, "left")
            axes.annotate(f"best: {best}", (best, 1), xycoords=("data", "axes fraction"), xytext=(away, -1),
                          textcoords="offset points", va="top", ha=side, fontsize=8)  # fmt: skip
        axes.margins(y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axes, xlabel, ylabel)
        _legend(figure, axes)
        return _svg(figure)


def stacked(ticks: Sequence[str], shares: Mapping[str, np.ndarray], xlabel: str, ylabel: str) -> bytes:
    """One bar a tick, made of the values (ticks,) of each name, one upon the other."""
    place, floor = np.arange(len(ticks)), np.zeros(len(ticks))
    with _canvas(COLUMN, 2.2 + _legend_height(shares)) as (figure, axes):
        for k, (name, values) in enumerate(shares.items()):
            axes.bar(place, values, bottom=floor, width=0.7, color=COLOURS[k % len(COLOURS)], label=short(name))
            floor = floor + values
        axes.set_xticks(place, [short(tick) for tick in ticks])
        _label(axes, xlabel, ylabel)
        _legend(figure, axes)
        return _svg(figure)


def scatter(groups: Mapping[str, np.ndarray], colours: Sequence[str]) -> bytes:
    """Points (n, 2) of each name, without axes: only distances mean something, not positions."""
    with _canvas(COLUMN, 3.3 + _legend_height(groups)) as (figure, axes):
        for (name, place), colour in zip(groups.items(), colours, strict=True):
            # Thousands of points would make a large file; as one picture inside they do not.
            axes.scatter(*place.T, s=5, c=colour, alpha=0.6, linewidths=0, label=short(name), rasterized=True)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", "datalim")
        axes.spines[:].set_color(LINE)
        _legend(figure, axes, markerscale=2.5)
        return _svg(figure)


def heat(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], xlabel: str, title: str, least: float | None = 0.0
) -> bytes:
    """A matrix (rows, columns) as shades from `least` on (None: its least value), NaN left white. Rows are named;
    columns too, or if there are no names, the chart is a wide one, with numbers below."""
    rows, columns = [short(row, 20) for row in rows], [short(column, 16) for column in columns]
    width, most = (COLUMN if columns else 6.4), float(np.nanmax(values))
    with _canvas(width, 0.9 + 0.22 * len(rows) + 0.05 * max(map(len, columns), default=0)) as (figure, axes):
        shown = axes.imshow(values, aspect="auto", cmap="YlGnBu", vmin=least, vmax=most or 1, interpolation="none")
        axes.set_yticks(np.arange(len(rows)), rows, fontsize=8)
        if columns:
            axes.set_xticks(np.arange(len(columns)), columns, rotation=45, ha="right", fontsize=8)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(visible(xlabel))
        axes.set_title(short(title, 40 if columns else 60), fontsize=9, loc="left")
        bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8)
        return _svg(figure)


def small_bars(panels: Sequence[tuple[str, np.ndarray]], xlabel: str, ylabel: str) -> bytes:
    """Panels in two columns on one scale: a title and its bars (n,), from 1 on, with their mean as a line."""
    lines = -(-len(panels) // 2)
    with _canvas(COLUMN, 0.5 + 1.25 * lines, (lines, 2)) as (figure, axes):
        most = max(float(values.max()) for _, values in panels)
        for k, panel in enumerate(axes.flat):
            if k >= len(panels):
                panel.set_visible(False)
                continue
            title, values = panels[k]
            panel.bar(np.arange(1, len(values) + 1), values, color=ACCENT)
            panel.axhline(values.mean(), color=INK, linewidth=1, linestyle=DASHED)
            panel.set_ylim(0, 1.05 * most)
            panel.set_title(short(title), fontsize=8, loc="left")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            _label(panel, "", "")
            panel.tick_params(labelsize=8)
        figure.supxlabel(visible(xlabel), fontsize=9)
        figure.supylabel(visible(ylabel), fontsize=9)
        return _svg(figure)


@contextlib.contextmanager
def _canvas(width: float, height: float, panels: tuple[int, int] = (1, 1)) -> Iterator[tuple[Figure, Any]]:
    """One set of axes of this size in inches, or an array (lines, columns) of them, in the report's look."""
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
        figure = Figure(figsize=(width, height), layout="constrained", dpi=200)
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot() if panels == (1, 1) else figure.subplots(*panels, squeeze=False)


def _label(axes: Axes, xlabel: str, ylabel: str, grid: Literal["x", "y"] = "y") -> None:
    axes.set_xlabel(visible(xlabel))
    axes.set_ylabel(visible(ylabel))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)


def _legend_columns(names: Iterable[str]) -> int:
    return max(1, 46 // (4 + max(len(short(name)) for name in names)))


def _legend_height(names: Collection[str]) -> float:
    """Inches that a legend takes above the axes."""
    return 0.17 * -(-len(names) // _legend_columns(names))


def _legend(figure: Figure, axes: Axes, markerscale: float = 1.0) -> None:
    """Above the axes, where it covers nothing, in as many columns as there is room for."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=_legend_columns(names), frameon=False, fontsize=8,
                  handlelength=1.4, columnspacing=1.0, markerscale=markerscale)  # fmt: skip


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The reader's font may have what the one that text is measured with has not.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
