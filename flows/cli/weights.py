"""`reelmill weights`: published weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.options import Json
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.extractors.weights.files import WeightFiles

ACTIONS = ("list", "fetch", "verify", "import")


def weights(
    action: Annotated[
        str,
        typer.Argument(metavar="ACTION", help="list, fetch, verify or import.", autocompletion=lambda: list(ACTIONS)),
    ] = "list",
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of the weights; verify without one takes all that are here."),
    ] = None,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="For import: the file, which is copied.")] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HASH", help="For fetch and import: trust this file, not the published one."),
    ] = None,
    json: Json = False,
) -> None:
    """Published weights: list them, fetch one, verify those that are here, import a file from elsewhere."""
    from reelmill.extractors.registry import checkpoint, checkpoints
    from reelmill.extractors.weights import files
    from reelmill.extractors.weights.checkpoints import Checkpoint

    record = checkpoint(name) if name is not None else None
    match action, record, file, sha256:
        case "list", None, None, None:
            found = files.describe_files(checkpoints().values())
        case "verify", None, None, None:
            found = files.describe_files(files.present(checkpoints().values()))
        case "verify", Checkpoint(), None, None:
            found = files.verify_file(record)
        case "fetch", Checkpoint(), None, _:
            found = files.fetch_file(record, sha256)
        case "import", Checkpoint(), Path(), _:
            found = files.import_file(record, file, sha256)
        case _:
            known = "list, verify [NAME], fetch NAME [--sha256 …] or import NAME FILE [--sha256 …]"
            raise InputError(f"weights {action}: give {known}; `reelmill weights` lists the names")
    show(found, json, render)
    if action == "verify" and any(one.state == "wrong" for one in found.weights):
        raise typer.Exit(1)


def render(out: Console, found: "WeightFiles") -> None:
    """Weights: here or not, the right ones or not, and under which terms."""
    table = Table("weights", "extractor", "state", "file", title=f"in {safe(str(found.folder))}")
    for one in found.weights:
        table.add(safe(one.name), safe(one.extractor), safe(one.state), safe(one.file))
    table.print(out)
    for one in found.weights:
        if one.state in ("wrong", "unverified"):
            expected = f"should be {one.expected}" if one.expected else "no hash is published to compare it with"
            out.print(f"{one.name}: the file has {one.found}, {expected}", soft_wrap=True)
    for licence in dict.fromkeys(one.licence for one in found.weights):
        names = ", ".join(one.name for one in found.weights if one.licence == licence)
        out.print(f"licence {safe(licence)}: {names}", soft_wrap=True)
