"""`reelmill label`: segments and labels without a download."""

from pathlib import Path
from typing import Annotated

import typer

from reelmill.flows.cli.ingest import render
from reelmill.flows.cli.job import load_settings
from reelmill.flows.cli.options import Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import show
from reelmill.storage.errors import InputError

FORMATS = ("phd2", "movielens", "mapped")
"""Source formats that say who liked what; a folder of videos does not."""


def label(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Table of who liked what.")],
    settings_file: SettingsFile = None,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="phd2, movielens or mapped.", autocompletion=lambda: list(FORMATS))
    ] = "phd2",
    root: Root = None,
    map: Annotated[
        list[str] | None, typer.Option("--map", metavar="OURS=YOURS", help="For mapped: ours=yours. Repeatable.")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Build segments and labels from claimed durations alone, with no download."""
    if format not in FORMATS:
        raise InputError(f"--format {format!r}: a table of who liked what is one of {', '.join(FORMATS)}")
    from reelmill.flows.jobs import steps
    from reelmill.flows.jobs.ingest import IngestResult
    from reelmill.flows.settings.source import SourceSettings

    chosen = load_settings(settings_file, root, set, makes_root=True)
    mapping = dict(pair.partition("=")[::2] for pair in map or ())
    table = SourceSettings(path=source, format=format, mapping=mapping)
    chosen = chosen.model_copy(update={"source": table})
    show(IngestResult(steps.read_source(chosen), None, steps.label(chosen)), json, render)
