"""The command line: a verb a file, with its options and what it prints. Here they are listed, in groups.

options    arguments and options that verbs share, and the rule for SETTINGS and --root
job        settings and root of a command, running a job and saying what came of it
output     JSON for programs, tables for people
main       the `reelmill` command: errors, exit statuses
"""

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
    label,
    plan,
    recommend,
    report,
    retry,
    run,
    serve,
    settings,
    status,
    train,
    verify,
    weights,
)

GROUPS = {
    "Set up": (settings.settings, weights.weights, doctor.doctor, demo.demo),
    "The main job": (run.run, ingest.ingest, label.label, extract.extract, train.train, report.report),
    "Recommenders": (recommend.recommend, floors.floors),
    "Look after a root": (
        status.status, plan.plan, backfill.backfill, retry.retry, verify.verify, compact.compact, export.export,
    ),
    "Operate": (serve.serve,),
}  # fmt: skip
"""{heading in `reelmill --help`: its verbs}."""

app = typer.Typer(name="reelmill", no_args_is_help=True, pretty_exceptions_enable=False)
for _group, _verbs in GROUPS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_group)(_verb)


@app.callback()
def reelmill() -> None:
    """From who liked which seconds of which video to feature stores and fitted recommenders."""
