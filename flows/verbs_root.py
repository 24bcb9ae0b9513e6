"""Verbs that look after a root and the weights: status, verify, weights."""

from pathlib import Path
from typing import Annotated

import typer

from flows import tell
from flows.arguments import Json
from flows.command import app, existing, show
from storage.errors import InputError


@app.command()
def status(
    root: Annotated[str, typer.Option(help="Folder of tables and features, or s3://….")] = "reelmill",
    json: Json = False,
) -> None:
    """What is there: rows of each table, videos of each store, failures by class."""
    from flows import steps

    existing(root)
    show(steps.status(root), json, tell.status)


@app.command()
def verify(
    root: Annotated[str, typer.Option(help="Folder of tables and features, or s3://….")] = "reelmill",
    json: Json = False,
) -> None:
    """Check every shard of every feature store against its checksum."""
    from storage import features

    existing(root)
    found = {name: [str(e) for e in features.verify(root, name)] for name in features.list_stores(root)}
    show({"stores": found}, json, tell.verify)
    if any(found.values()):
        raise typer.Exit(1)


@app.command()
def weights(
    action: Annotated[str, typer.Argument(help="list, fetch, verify or import.")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which; verify without one takes all that are here.")] = None,
    file: Annotated[Path | None, typer.Argument(help="For import: the file, which is copied.")] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="For fetch and import: trust this file, not the published one.")
    ] = None,
    json: Json = False,
) -> None:
    """Published weights: list them, fetch one, verify those that are here, import a file from elsewhere."""
    from extractors import checkpoints, files

    record = checkpoints.named(name) if name is not None else None
    match action, record, file, sha256:
        case "list", None, None, None:
            found = files.listing()
        case "verify", _, None, None:
            found = files.verified(record)
        case "fetch", checkpoints.Checkpoint(), None, _:
            found = files.fetched(record, sha256)
        case "import", checkpoints.Checkpoint(), Path(), _:
            found = files.taken(record, file, sha256)
        case _:
            known = "list, verify [NAME], fetch NAME [--sha256 …] or import NAME FILE [--sha256 …]"
            raise InputError(f"weights {action}: give {known}; `reelmill weights` lists the names")
    show(found, json, tell.weights)
    if action == "verify" and any(row["state"] == "wrong" for row in found["weights"]):
        raise typer.Exit(1)
