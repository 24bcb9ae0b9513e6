"""A settings file for a table that is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from reelmill.flows.settings.starter import has_videos, starter
from reelmill.pipeline import sources
from reelmill.pipeline.sources.guess import Guess, guess
from reelmill.pipeline.sources.mapped import TARGETS
from reelmill.pipeline.sources.preview import preview
from reelmill.pipeline.sources.rows import AnySource
from reelmill.storage.errors import InputError, nearest


@dataclass(frozen=True)
class InitResult:
    """What a source was taken for, and what `ingest` would read of it."""

    settings: str
    """The file that was written."""
    source: str
    format: str
    mapping: dict[str, str]
    """{our column: column of the table}"""
    reasons: dict[str, str]
    """{our column: why}"""
    missing: list[str]
    """Needed columns that were not recognised; while there are any, nothing is read."""
    unused: list[str]
    """Columns of the table that are not used."""
    has_videos: bool
    """The source says where the videos are."""
    first_rows: list[str] = field(default_factory=list)
    rows: int = 0
    events: int = 0
    videos: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    understood: dict[str, str] = field(default_factory=dict)
    """{our column, or `file`: what it was taken for}"""


def init(
    table: Path, output: Path, root: str | None = None, given: Mapping[str, str] | None = None, force: bool = False
) -> InitResult:
    """Write a commented settings file for a table, or for a folder or file of videos. `root`: by default `data`, or
    `reelmill` if `data` is a folder of something else. `given`: {our column: column of the table}, not to be guessed.

    Raises InputError if the source cannot be read, or if the file exists and is not to be overwritten (`force`)."""
    if output.exists() and not force:
        raise InputError(f"{output} exists already; give another --output, or --force to overwrite it")
    for name, column in (given or {}).items():
        if name not in TARGETS:
            raise InputError(f"--map {name!r}: there is no such column; {nearest(name, TARGETS)}")
        if not column:
            raise InputError(f"--map {name!r}: give ours=yours, such as user_id=viewer")
    found = guess(table, given)
    read = None if found.missing else preview(_source(found))
    first = [] if read is None else read.first_events
    text = starter(found, output, root or _root(output.parent), first)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    result = InitResult(
        str(output), str(found.path), found.format, found.mapping, found.reasons, list(found.missing),
        list(found.unused), has_videos(found),
    )  # fmt: skip
    if read is None:
        return result
    return replace(
        result, first_rows=first, rows=read.rows, events=read.events, videos=read.videos, rejected=read.rejected,
        notes=read.notes, understood=read.understood,
    )  # fmt: skip


def _source(found: Guess) -> AnySource:
    """The source as `ingest` reads it. Raises InputError if it cannot be read."""
    if found.format == "folder":
        return sources.read_folder(found.path)
    mapping = found.mapping if found.format == "mapped" else None
    form = cast(sources.Format, found.format)
    return sources.open_source(found.path, form, mapping=mapping, url_template=found.url_template)


def _root(folder: Path) -> str:
    """`data`, unless the folder has one that is no root."""
    taken = (folder / "data").exists() and not (folder / "data" / "tables").is_dir()
    return "reelmill" if taken else "data"
