"""`reelmill demo`: the whole job on a planted corpus, and its control."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.job import progress
from reelmill.flows.cli.options import Json
from reelmill.flows.cli.output import Table, show
from reelmill.flows.cli.run import stages
from reelmill.flows.cli.train import metrics_table
from reelmill.flows.progress import safe
from reelmill.storage.errors import InputError
from reelmill.storage.place import is_url

if TYPE_CHECKING:
    from reelmill.flows.jobs.demo import DemoResult
    from reelmill.flows.jobs.status import StoreStatus


def demo(
    folder: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the demo lives; a second run goes on there.")
    ] = "demo",
    json: Json = False,
) -> None:
    """Render a small planted corpus, serve it on the loopback, run the whole job on it with random weights."""
    from reelmill.flows.jobs.demo import demo as job

    if is_url(folder):
        raise InputError(f"--folder {folder!r}: the demo renders and serves videos on this machine; give a folder")
    with progress(json):
        result = job(Path(folder))
    show(result, json, render)


def render(out: Console, result: "DemoResult") -> None:
    """The whole job on the planted corpus, then the control."""
    planted, control = result.run, result.control
    stages(planted).print(out)
    _stores(result.stores).print(out)
    out.print("[bold]Planted corpus[/]: users like segments of their tastes", soft_wrap=True)
    for name, fitted in planted.train.fits.items():
        metrics_table(name, fitted.metrics).print(out)
    out.print(
        "[bold]Noise twin[/], the control: the same users like segments at random; nothing may beat chance",
        soft_wrap=True,
    )
    for name, fitted in control.train.fits.items():
        metrics_table(name, fitted.metrics, ("random", name)).print(out)
    if not planted.extract.done and all(fitted.skipped for fitted in planted.train.fits.values()):
        out.print(
            "Everything was there already: nothing was rendered, downloaded, extracted or fitted again.", soft_wrap=True
        )
    out.print(f"report: {safe(planted.page.report)}", soft_wrap=True)


def _stores(stores: "dict[str, StoreStatus]") -> Table:
    table = Table("feature store", "videos", "rows", "dimension", numbers=(1, 2, 3))
    for name, counts in stores.items():
        table.add(safe(name), f"{counts.videos:,}", f"{counts.rows:,}", f"{counts.dim:,}")
    return table
