"""Adapters: each reads one published format into events and rejects, and `write_source` puts them into the tables.

text, values   bytes into columns, columns into numbers, times and texts, without a loop over rows
rows           what an adapter hands on, what comes back, what a source says of its videos
checks         which rows become events, and why the others do not: read this one
phd2, movielens, mapped, folder    the formats
ingest         into the tables of a root
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pipeline.sources import mapped, movielens, phd2
from pipeline.sources.folder import read_folder
from pipeline.sources.ingest import IngestCounts, write_source
from pipeline.sources.rows import PLACEHOLDER, SourceResult
from storage.errors import InputError, nearest

Format = Literal["phd2", "movielens", "mapped"]

__all__ = ["Format", "IngestCounts", "SourceResult", "read", "read_folder", "write_source"]


def read(
    path: str | Path,
    format: Format,
    *,
    mapping: Mapping[str, str] | None = None,
    url_template: str | None = None,
    name: str | None = None,
    durations: Mapping[str, int] | None = None,
) -> SourceResult:
    """Read a source file. Every row of it ends in `events` or in `rejects`; the rules are those of `checks`.

    `mapping`: our names to the file's columns, for format `mapped`. `url_template`: where a video is, with
    `{video_id}` in it, for videos without a URL of their own (PHD²: YouTube). `name`: name of the source in the tables,
    else the file's. `durations`: measured milliseconds by video_id; they go before what the source claims.

    Raises InputError for an unknown format, a file that cannot be opened, or columns or a mapping that do not fit.
    """
    path = Path(path)
    if format not in get_args(Format):
        raise InputError(f"source format {format!r} is not known; {nearest(format, get_args(Format))}")
    if url_template is not None and PLACEHOLDER not in url_template:
        raise InputError(f"url_template {url_template!r} must hold {PLACEHOLDER}")
    if (format == "mapped") != (mapping is not None):
        raise InputError(f"source {path}: format 'mapped' needs a mapping, the others take none (this is {format!r})")
    if not path.is_file():
        raise InputError(f"source {path} is not a file; check the path")
    source = name or path.name
    if mapping is not None:
        return mapped.read(path, source, mapping, url_template=url_template, durations=durations)
    adapter = {"phd2": phd2, "movielens": movielens}[format]
    return adapter.read(path, source, url_template=url_template, durations=durations)
