"""Arguments and options that several verbs of the command line share."""

from pathlib import Path
from typing import Annotated

import typer

SettingsFile = Annotated[Path | None, typer.Argument(help="Settings file (YAML); see `reelmill settings`.")]
Root = Annotated[str | None, typer.Option("--root", help="Folder of tables, features, media and runs, or s3://….")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: extract.device=cpu. Repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it costs; do nothing.")]
