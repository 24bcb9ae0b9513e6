"""Sources: published and own tables become events and rejects, and `write_source` writes them to the tables of a root.

dialect        the form of a text table: encoding, separator, header, quotes
tables, text   the file of a table, batch by batch: delimited text, JSON lines, Parquet
values         columns into identities, numbers, times in a video and texts; `moments`: into points in time
mapped         our names to the columns of a table; `layouts`: those of published data sets; `beside`: files with more
rows           the input and the result of `checks`, and what a source says about its videos
checks         which rows become events, and why others are rejected: read this one; `duplicates`
source         a source from its first to its last row
folder         a folder of videos as a source
guess          which format a file has and what its columns hold, for `reelmill init`; `head`: its first rows
ingest         writes a source to the tables of a root
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from reelmill.pipeline.sources import layouts, tables
from reelmill.pipeline.sources.dialect import Dialect
from reelmill.pipeline.sources.folder import read_folder
from reelmill.pipeline.sources.ingest import IngestCounts, write_source
from reelmill.pipeline.sources.mapped import Columns
from reelmill.pipeline.sources.moments import Unit
from reelmill.pipeline.sources.rows import PLACEHOLDER, SourceResult
from reelmill.pipeline.sources.source import Source
from reelmill.storage.errors import InputError, nearest

Format = Literal["phd2", "movielens", "recbole", "microlens", "kuairec", "kuairand", "amazon", "mapped"]

__all__ = ["Dialect", "Format", "IngestCounts", "Source", "SourceResult", "open_source", "read", "read_folder",
           "write_source"]  # fmt: skip


def open_source(
    path: str | Path,
    format: Format,
    *,
    mapping: Mapping[str, str] | None = None,
    url_template: str | None = None,
    name: str | None = None,
    durations: Mapping[str, int] | None = None,
    time_unit: Unit | None = None,
    dialect: Dialect | None = None,
) -> Source:
    """Open a source file: its form and its columns are known afterwards, its rows are not read.

    `mapping`: our names to the file's columns, for format `mapped`. `url_template`: where a video is, with
    `{video_id}` in it, for videos without a URL of their own (PHD²: YouTube). `name`: name of the source in the tables,
    else the file's. `durations`: measured milliseconds by video_id; they take precedence over what the source
    claims. `time_unit`: of points in time that are numbers; found on the whole column if not given. `dialect`: the form
    of a text table, as far as the user says it. A URL that is the path of a file is relative to the folder of the
    source, and absolute in the result.

    Raises InputError for an unknown format, a file that cannot be opened, or columns or a mapping that do not match.
    """
    path, told = Path(path), dialect or Dialect()
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
    layout = None
    if mapping is not None:
        table = tables.open_table(path, told)
        if told.header is None and not {*mapping.values()} <= {*table.names}:
            table = _other_header(path, told, mapping, table)
    else:
        layout, table = layouts.open_layout(path, format, told)
        mapping, url_template = layout.mapping(table), url_template or layout.url_template
    return Source(
        name or path.name, str(path.resolve()), name is not None, table, Columns.of(mapping, table), layout,
        url_template, durations, time_unit,
    )  # fmt: skip


def _other_header(path: Path, told: Dialect, mapping: Mapping[str, str], table: tables.Table) -> tables.Table:
    """The table of a text file whose first line turns out to be, or not to be, the names of the columns, because the
    mapping names what is there (or numbers); else the table as it was found."""
    if not isinstance(table, tables.TextTable):
        return table
    other = tables.open_table(path, replace(told, header=not table.form.header))
    named = [{*mapping.values()} & {*one.names} for one in (table, other)]
    return other if len(named[1]) > len(named[0]) else table


def read(
    path: str | Path,
    format: Format,
    *,
    mapping: Mapping[str, str] | None = None,
    url_template: str | None = None,
    name: str | None = None,
    durations: Mapping[str, int] | None = None,
    time_unit: Unit | None = None,
    dialect: Dialect | None = None,
) -> SourceResult:
    """Read a source file as a whole; see `open_source`. Every row becomes an event or a reject, by the rules of
    `checks`."""
    return open_source(
        path, format, mapping=mapping, url_template=url_template, name=name, durations=durations,
        time_unit=time_unit, dialect=dialect,
    ).result()  # fmt: skip
