"""Arguments and options that several verbs of the command line share, and the one rule for settings and root.

A verb takes SETTINGS, `--root`, or both. With neither it reads `settings.yaml` of the current folder. The root is, in
this order: `--root`; `REELMILL__ROOT` of the environment; `root` of the settings file; the folder `reelmill`.
"""

from pathlib import Path
from typing import Annotated

import typer

SettingsFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="SETTINGS",
        help="Settings file (YAML). Without it and without --root: settings.yaml of this folder, if there is one.",
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="ROOT", help="Folder of tables, features, media and runs, or s3://…; else that of SETTINGS."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: extract.device=cpu. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it costs; do nothing.")]


def extractor_names() -> list[str]:
    """What completes `--extractor`."""
    from reelmill.extractors.registry import descriptors

    return [known.name for known in descriptors()]


def recommender_names() -> list[str]:
    """What completes the recommender of `train`."""
    from reelmill.models.registry import RECOMMENDERS

    return ["all", *RECOMMENDERS]


Extractors = Annotated[
    list[str] | None,
    typer.Option(
        "--extractor",
        metavar="NAME",
        help="Extractor; those of the settings if not given. Repeatable.",
        autocompletion=extractor_names,
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only videos fetched at this day or time (UTC) or later: 2026-01-31."),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="FILTER",
        help="Only videos of which this is true: \"uploader = 'x' and duration_ms > 60000\".",
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="At most this many videos, the first in the order.")
]
Order = Annotated[
    str,
    typer.Option(
        "--order",
        metavar="ORDER",
        help="labels (most first), newest, shortest or any.",
        autocompletion=lambda: ["labels", "newest", "shortest", "any"],
    ),
]
