"""Verbs that look after a root and the weights: status, verify, weights."""

from pathlib import Path
from typing import Annotated

import typer

from reelmill.flows.cli import tell, tell_keep
from reelmill.flows.cli.arguments import DryRun, Json
from reelmill.flows.cli.command import app, existing, show
from reelmill.storage.errors import InputError


@app.command()
def status(
    root: Annotated[str, typer.Option(help="Folder of tables and features, or s3://….")] = "reelmill",
    json: Json = False,
) -> None:
    """What is there: each stage and store, done, missing, failed; failures by class; rows of each table."""
    from reelmill.flows.jobs.status import status as stand

    existing(root)
    show(stand(root), json, tell_keep.status)


@app.command()
def verify(
    root: Annotated[str, typer.Option(help="Folder of tables and features, or s3://….")] = "reelmill",
    media: Annotated[bool, typer.Option("--media", help="Hash every media file as well.")] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Move damaged parts to ROOT/quarantine, so that they are made again.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Read every part of every store and table: checksums, index, numbers against masks, constant rows."""
    from reelmill.flows.jobs.keep import check

    existing(root)
    figures = check(root, media=media, quarantine=quarantine, dry=dry_run)
    show(figures, json, tell_keep.verify)
    if figures["damaged"]:
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
    from reelmill.extractors.registry import checkpoint, checkpoints
    from reelmill.extractors.weights import files
    from reelmill.extractors.weights.checkpoints import Checkpoint

    record = checkpoint(name) if name is not None else None
    match action, record, file, sha256:
        case "list", None, None, None:
            found = files.listing(checkpoints().values())
        case "verify", None, None, None:
            found = files.listing(files.present(checkpoints().values()))
        case "verify", Checkpoint(), None, None:
            found = files.verified(record)
        case "fetch", Checkpoint(), None, _:
            found = files.fetched(record, sha256)
        case "import", Checkpoint(), Path(), _:
            found = files.taken(record, file, sha256)
        case _:
            known = "list, verify [NAME], fetch NAME [--sha256 …] or import NAME FILE [--sha256 …]"
            raise InputError(f"weights {action}: give {known}; `reelmill weights` lists the names")
    show(found, json, tell.weights)
    if action == "verify" and any(row["state"] == "wrong" for row in found["weights"]):
        raise typer.Exit(1)
