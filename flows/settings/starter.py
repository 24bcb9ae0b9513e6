"""A settings file to begin with, for a source that was looked at: `reelmill init` writes it."""

import os
from collections.abc import Sequence
from pathlib import Path

from reelmill.flows.progress import visible
from reelmill.flows.settings.document import one_line
from reelmill.pipeline.sources.guess import Guess

UNKNOWN = "?"
"""Placeholder for a column that could not be guessed. `ingest` refuses it by name."""
MEANING = {
    "user_id": "the user",
    "video_id": "the video",
    "kind": "highlight, watch, rating, frame_like or post",
    "start_s": "start of the liked range in the video, seconds",
    "start_ms": "start of the liked range in the video, milliseconds",
    "stop_s": "its stop, seconds",
    "stop_ms": "its stop, milliseconds",
    "duration_s": "length of the range, seconds",
    "duration_ms": "length of the range, milliseconds",
    "video_duration_s": "length of the video, seconds",
    "video_duration_ms": "length of the video, milliseconds",
    "time": "when it happened",
    "value": "the rating",
    "url": "where the video is",
}
FORMATS = {
    "phd2": "PHD²: highlights of YouTube videos",
    "movielens": "MovieLens: ratings; titles, tags and users from files in the same folder",
    "recbole": "RecBole: interactions; titles, tags and users from X.item and X.user",
    "microlens": "MicroLens: pairs of users and videos",
    "kuairec": "KuaiRec: watches",
    "kuairand": "KuaiRand: videos that were shown, clicked (1) or not (0)",
    "amazon": "Amazon: ratings of products",
    "mapped": "a table of your own, by the mapping",
    "folder": "videos only, without records",
}
COLUMN = 34
"""Column at which comments begin."""


def starter(found: Guess, file: Path, root: str, rows: Sequence[str] = ()) -> str:
    """The text of a settings file at `file`, commented. `rows`: the first events as lines, to be shown in a comment."""
    lines = [
        f"# Settings for `reelmill run {file.name}`. `reelmill settings` prints every other key with its default.",
        _line(f"root: {one_line(root)}", "tables, media, features, runs and the report; or s3://bucket/name"),
        "source:",
        _line(f"  path: {one_line(_path(found.path, file))}", "relative to this file"),
        _line(f"  format: {found.format}", FORMATS[found.format]),
    ]
    if found.format == "mapped":
        lines += ["  mapping:  # our column: yours", *_mapping(found)]
    if found.url_template is not None and found.format == "mapped":
        lines += [_line(f"  url_template: {one_line(found.url_template)}", "the ids look like YouTube's")]
    elif not has_videos(found):
        lines += ["  # no column holds addresses of videos: nothing is downloaded; unless you say where they are:"]
        lines += ["  # url_template: https://example.org/{video_id}.mp4"]
    if rows:
        lines += ["# The first rows, as they are understood:", *(f"#   {visible(row)}" for row in rows)]
    return "\n".join([*lines, "", *_stages(found)]) + "\n"


def has_videos(found: Guess) -> bool:
    """Whether the source says where videos are."""
    return found.format in ("phd2", "folder") or found.url_template is not None or "url" in found.mapping


def _mapping(found: Guess) -> list[str]:
    lines = []
    for name in found.missing:
        lines.append(_line(f"    {name}: {one_line(UNKNOWN)}", f"which column is {MEANING[name]}? {_open(found)}"))
    for name, column in found.mapping.items():
        meaning = MEANING.get(name, f"{name.replace('_', ' ')} of the video")
        lines.append(_line(f"    {name}: {one_line(column)}", f"{meaning} ({found.reasons[name]})"))
    if found.unused:
        lines.append(f"    # not used: {_open(found)}")
    return lines


def _open(found: Guess) -> str:
    return visible(" ".join(", ".join(found.unused).split())) or "none is left"


def _stages(found: Guess) -> list[str]:
    """Extractors and recommenders that such a source has the data for."""
    highlights = found.format == "phd2" or bool({"start_s", "start_ms"} & {*found.mapping})
    if not has_videos(found):
        extractor = _line("    topics: {}", "of titles and tags; networks need videos")
    else:
        extractor = _line("    c3d: {layers: [fc6]}", "with weights: random, to try it without the published ones")
    if highlights or found.format == "folder":
        model = _line("    transgrec: {stores: c3d-fc6}", "or jifr, prnet, multimodal, drnn …")
    else:
        model = _line("    bpr: {}", "ranks items without features; or vbpr, jifr, multimodal, drnn …")
    if highlights and not has_videos(found):
        extractor = _line("    c3d: {layers: [fc6]}", "needs videos: see url_template")
    return ["extract:", "  extractors:", extractor, "train:", "  models:", model]


def _line(text: str, comment: str) -> str:
    return f"{text:<{COLUMN}} # {comment}"


def _path(path: Path, file: Path) -> str:
    """As seen from the settings file, unless that leads far up."""
    relative = os.path.relpath(path.resolve(), file.resolve().parent)
    return relative if not relative.startswith(f"..{os.sep}..{os.sep}..") else str(path.resolve())
