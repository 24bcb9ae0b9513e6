"""`reelmill export`: a feature store, copied to another root."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import DryRun, Json, Root, SettingsFile
from reelmill.flows.cli.output import show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.keep import ExportResult


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Feature store, or a prefix that fits one.")],
    to: Annotated[str, typer.Option(metavar="ROOT", help="Root that gets the copy.")],
    settings_file: SettingsFile = None,
    root: Root = None,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="parquet or hdf5.", autocompletion=lambda: ["parquet", "hdf5"])
    ] = "parquet",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Copy a feature store to another root, as Parquet or HDF5; what is there already stays."""
    found = find_root(settings_file, root)
    from reelmill.flows.jobs import keep

    show(keep.export(found, name, to, format, dry_run), json, render)  # type: ignore[arg-type]


def render(out: Console, result: "ExportResult") -> None:
    """How much was copied, and to where."""
    said = "would be copied" if result.dry else "copied"
    out.print(
        f"{safe(result.store)}: {result.copied:,} videos {said} to {safe(result.to)} "
        f"as {result.format}, {result.there:,} were already there",
        soft_wrap=True,
    )
