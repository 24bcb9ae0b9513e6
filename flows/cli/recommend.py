"""`reelmill recommend`: what a fitted recommender recommends to a user."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import Json, Root, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.recommend import RecommendResult
    from reelmill.models.recommendations import Recommendations

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "rank": lambda row: str(row["rank"]),
    "video": lambda row: safe(row["video_id"]),
    "title": lambda row: safe(row.get("title", "")),
    "segment": lambda row: str(row.get("segment_index", "")),
    "time": lambda row: row.get("clock") or "",
    "score": lambda row: f"{row['score']:.3f}",
    "probability": lambda row: f"{row['probability']:.3f}" if "probability" in row else "",
    "new": lambda row: "new" if row.get("new") else "",
    "why": lambda row: _why(row["why"]) if "why" in row else "",
}
"""{heading: what a row has there}; a column that is empty in every row is not shown."""


def recommend(
    settings_file: SettingsFile = None,
    root: Root = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="The user; an unknown one is answered as well.")
    ] = None,
    video: Annotated[
        str | None, typer.Option(metavar="VIDEO", help="In this video; over all of them if not given.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Name of a run; the newest if not given.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="How many.")] = 10,
    why: Annotated[bool, typer.Option("--why", help="Show reasons: nearest liked segments, attention.")] = False,
    gif: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cut the first recommendation into this .gif or .mp4.")
    ] = None,
    json: Json = False,
) -> None:
    """Recommend segments, moments, items or next videos to a user."""
    found = find_root(settings_file, root)
    from reelmill.flows.jobs.recommend import recommend as job

    show(job(found, user, video, run, top, why, gif), json, render)


def render(out: Console, result: "RecommendResult") -> None:
    """The list, for which user it was computed, and notes on it."""
    answer = result.answer
    user = answer.user
    who = "an unnamed user" if user.id is None else safe(user.id)
    out.print(f"{_what(answer)} for {who}, by {safe(answer.run)}", soft_wrap=True)
    _table(answer.recommended).print(out)
    out.print(f"user: {'known' if user.known else 'not known'}: {safe(user.how)}", soft_wrap=True)
    if answer.about:
        out.print(f"video: {_listed(answer.about)}", soft_wrap=True)
    for note in answer.notes:
        out.print(f"note: {safe(note)}", soft_wrap=True)
    if left := {what: count for what, count in answer.left_out.items() if count}:
        out.print(f"left out: {_listed(left)}", soft_wrap=True)
    if (cut := result.gif) is not None:
        seconds = (cut["stop_ms"] - cut["start_ms"]) / 1000
        out.print(f"cut: {safe(cut['file'])}, {seconds:.1f} s of {safe(cut['video_id'])}", soft_wrap=True)


def _what(answer: "Recommendations") -> str:
    """`3 of 12 segments of v041`; a whole video is just named."""
    unit, video = answer.unit, answer.video
    if video is not None and unit in ("item", "video"):
        return f"{unit} {safe(video)}"
    where = f" of {safe(video)}" if video is not None else ""
    return f"{len(answer.recommended)} of {answer.candidates:,} {unit}s{where}"


def _table(rows: list[dict[str, Any]]) -> Table:
    shown = {name: [cell(row) for row in rows] for name, cell in COLUMNS.items()}
    shown = {name: cells for name, cells in shown.items() if any(cells)}
    table = Table(*shown, numbers=[n for n, name in enumerate(shown) if name in ("rank", "segment", "time", "score")])
    for cells in zip(*shown.values(), strict=True):
        table.add(*cells)
    return table


def _why(why: Mapping[str, Any]) -> str:
    """One line of reasons, whatever the recommender gives: numbers, numbers by name, and lists of videos, frames or
    fields, each with the first of its figures."""
    said = [_listed({name: value for name, value in why.items() if isinstance(value, int | float)})]
    for name, value in why.items():
        label = safe(name.replace("_", " "))
        if isinstance(value, Mapping) and value:
            said.append(f"{label}: {_listed(value)}")
        elif isinstance(value, Sequence) and value:
            said.append(f"{label}: {', '.join(map(_reason, value))}")
    return "; ".join(filter(None, said))


def _reason(reason: Mapping[str, Any]) -> str:
    """`v041 0:05–0:10 (0.83)`, or `user id × tags (0.21)`."""
    names = [" × ".join(reason["fields"])] if "fields" in reason else [reason.get("video_id"), reason.get("clock")]
    figure = next(value for value in reason.values() if isinstance(value, float))
    return f"{' '.join(safe(name) for name in names if name)} ({figure:.2f})"


def _listed(result: Mapping[str, Any]) -> str:
    """`rating 0.412, new no`."""

    def word(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"

    return ", ".join(f"{safe(name.replace('_', ' '))} {word(value)}" for name, value in result.items())
