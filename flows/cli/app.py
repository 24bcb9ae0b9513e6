"""The verbs of the command line in groups, as `reelmill --help` lists them."""

from typing import Annotated

import typer

from reelmill.flows.cli import (
    backfill,
    compact,
    demo,
    doctor,
    export,
    extract,
    floors,
    ingest,
    init,
    label,
    plan,
    recommend,
    report,
    retry,
    run,
    serve,
    settings,
    sql,
    status,
    train,
    verify,
    weights,
)
from reelmill.flows.cli.help import EPILOG, Command, Group

GROUPS = {
    "Set up": (init.init, settings.settings, weights.weights, doctor.doctor, demo.demo),
    "The main job": (run.run, ingest.ingest, label.label, extract.extract, train.train, report.report),
    "Recommenders": (recommend.recommend, floors.floors),
    "Look after a root": (
        status.status, plan.plan, backfill.backfill, retry.retry, verify.verify, compact.compact, export.export,
        sql.sql,
    ),
    "Operate": (serve.serve,),
}  # fmt: skip
"""{heading in `reelmill --help`: its verbs}."""


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"reelmill {version('reelmill')}")
        raise typer.Exit


HELP_NAMES = {"help_option_names": ["--help", "-h"]}
app = typer.Typer(
    name="reelmill",
    cls=Group,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)
for _group, _verbs in GROUPS.items():
    for _verb in _verbs:
        app.command(cls=Command, rich_help_panel=_group, context_settings=HELP_NAMES)(_verb)


@app.callback()
def reelmill(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """From who liked which seconds of which video to feature stores and fitted recommenders."""
