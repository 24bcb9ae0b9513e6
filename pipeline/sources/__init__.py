"""Adapters: each reads one published format into events and rejects, and `write_source` writes them to the tables.

text           bytes into columns, without a loop over rows
values         columns into identities, numbers, times in a video and texts; `moments`: into points in time
rows           the input and the result of `checks`, and what a source says about its videos
checks         which rows become events, and why others are rejected: read this one
phd2, movielens, mapped, folder    the formats
guess          which format a file has and what its columns hold, for `reelmill init`; `head`: its first rows
ingest         writes a source to the tables of a root
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources import mapped, movielens, phd2
from reelmill.pipeline.sources.folder import read_folder
from reelmill.pipeline.sources.ingest import IngestCounts, write_source
from reelmill.pipeline.sources.moments import Unit
from reelmill.pipeline.sources.rows import PLACEHOLDER, SourceResult, is_true
from reelmill.storage.errors import InputError, nearest

Format = Literal["phd2", "movielens", "mapped"]

ADDRESS = "(?i)://|^(https?|file):"
"""Distinguishes an address from the path of a file, as the downloader does."""

__all__ = ["Format", "IngestCounts", "SourceResult", "read", "read_folder", "write_source"]


def read(
    path: str | Path,
    format: Format,
    *,
    mapping: Mapping[str, str] | None = None,
    url_template: str | None = None,
    name: str | None = None,
    durations: Mapping[str, int] | None = None,
    time_unit: Unit | None = None,
) -> SourceResult:
    """Read a source file. Every row becomes an event or a reject, by the rules of `checks`.

    `mapping`: our names to the file's columns, for format `mapped`. `url_template`: where a video is, with
    `{video_id}` in it, for videos without a URL of their own (PHD²: YouTube). `name`: name of the source in the tables,
    else the file's. `durations`: measured milliseconds by video_id; they take precedence over what the source
    claims. `time_unit`: of points in time that are numbers; found on the whole column if not given. A URL
    that is the path of a file is relative to the folder of the source, and absolute in the result.

    Raises InputError for an unknown format, a file that cannot be opened, or columns or a mapping that do not match.
    """
    path = Path(path)
    if format not in get_args(Format):
        raise InputError(f"source format {format!r} is not known; {nearest(format, get_args(Format))}")
    if url_template is not None and PLACEHOLDER not in url_template:
        raise InputError(f"url_template {url_template!r} must hold {PLACEHOLDER}")
    if not path.is_file():
        raise InputError(f"source {path} is not a file; check the path")
    if format == "mapped" and mapping is None:
        raise InputError(
            f"source {path}: format 'mapped' needs a mapping of our names to its columns, such as {{user_id: user, "
            "video_id: clip, start_s: from, stop_s: to}; or give another format"
        )
    if format != "mapped" and mapping is not None:
        raise InputError(f"source {path}: format {format!r} takes no mapping; leave it out, or give format 'mapped'")
    source = name or path.name
    if mapping is not None:
        result = mapped.read(path, source, mapping, url_template=url_template, durations=durations, time_unit=time_unit)
    else:
        adapter = {"phd2": phd2, "movielens": movielens}[format]
        result = adapter.read(path, source, url_template=url_template, durations=durations, time_unit=time_unit)
    place = path.resolve()
    return replace(result, videos=_beside(place.parent, result.videos), path=str(place), named=name is not None)


def _beside(folder: Path, videos: pa.Table) -> pa.Table:
    """The videos, with paths among their URLs resolved against this folder."""
    urls = videos["url"].combine_chunks()
    local = pa.array(is_true(pc.invert(pc.match_substring_regex(urls, ADDRESS))))
    paths = [str(folder / url) for url in urls.filter(local).to_pylist()]
    urls = pc.replace_with_mask(urls, local, pa.array(paths, pa.string()))
    return videos.set_column(videos.column_names.index("url"), videos.schema.field("url"), urls)
