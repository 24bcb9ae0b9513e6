"""Verbs that ask for results: recommend, floors, report; and settings, which prints their description."""

from pathlib import Path
from typing import Annotated

import typer

from reelmill.flows.cli import tell
from reelmill.flows.cli.arguments import Json, Root, Set, SettingsFile
from reelmill.flows.cli.command import app, chosen_settings, existing, show
from reelmill.flows.progress import safe
from reelmill.flows.settings.document import described, document


@app.command()
def recommend(
    root: Annotated[str, typer.Option(help="Folder with a complete run, or s3://….")] = "reelmill",
    user: Annotated[str | None, typer.Option(help="For whom; anybody may be asked for, also who is new.")] = None,
    video: Annotated[str | None, typer.Option(help="In this video; over all of them if not given.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Name of a run; the newest if not given.")] = None,
    top: Annotated[int, typer.Option(help="How many.")] = 10,
    why: Annotated[bool, typer.Option("--why", help="Show what the attention rests on.")] = False,
    gif: Annotated[Path | None, typer.Option(help="Cut the first recommendation into this .gif or .mp4.")] = None,
    json: Json = False,
) -> None:
    """What a fitted recommender recommends to a user: segments, moments, items or next videos."""
    from reelmill.flows.cli import tell_recommend
    from reelmill.flows.jobs.recommend import recommend as ask

    existing(root)
    show(ask(root, user, video, run, top, why, gif), json, tell_recommend.recommend)


@app.command()
def floors(
    root: Annotated[str, typer.Option(help="Folder of the tables, or s3://….")] = "reelmill",
    data: Annotated[Path | None, typer.Option("--data", help="A published table, read into the root first.")] = None,
    json: Json = False,
) -> None:
    """What rankings of segments score without features and training: random, smooth random, early first."""
    from reelmill.flows.jobs import steps

    if data is None:
        existing(root)
    show(steps.floors(root, data), json, tell.floors)


@app.command()
def report(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Write the HTML page over everything in the root."""
    from reelmill.flows.jobs import steps

    path = steps.report(chosen_settings(settings_file, root, set))
    show({"report": str(path)}, json, lambda out, _: out.print(f"report: {safe(str(path))}", soft_wrap=True))


@app.command()
def settings(json: Json = False) -> None:
    """Print a settings file with every key, its meaning and its default."""
    show({"settings": described()}, json, lambda out, _: out.out(document(), end=""))
