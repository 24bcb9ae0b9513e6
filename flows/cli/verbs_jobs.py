"""Verbs that do the work: run, ingest, extract, train, label, demo."""

from pathlib import Path
from typing import Annotated

import typer

from reelmill.flows.cli import tell
from reelmill.flows.cli.arguments import DryRun, Json, Root, Set, SettingsFile
from reelmill.flows.cli.command import app, bars, chosen_settings, flow, planned, show, work
from reelmill.flows.settings.load import load
from reelmill.storage.errors import InputError
from reelmill.storage.place import is_url

LABELLED = ("phd2", "movielens", "mapped")
"""Source formats that say who liked what; a folder of videos does not."""


@app.command()
def run(
    settings_file: SettingsFile, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """The main job: ingest → extract → train → report. Running it again does only what is missing."""
    flow("run", settings_file, root, set, json, dry_run)


@app.command()
def ingest(
    settings_file: SettingsFile = None, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Read the source, download and measure videos, build segments and labels."""
    flow("ingest", settings_file, root, set, json, dry_run)


@app.command()
def extract(
    settings_file: SettingsFile = None, root: Root = None, set: Set = None, dry_run: DryRun = False, json: Json = False
) -> None:
    """Run the networks on every video that lacks their features."""
    flow("extract", settings_file, root, set, json, dry_run)


@app.command()
def train(
    model: Annotated[str | None, typer.Argument(help="Recommender, or all; else those of the settings.")] = None,
    settings_file: SettingsFile = None,
    root: Root = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A published data set, read into the root first: file or folder.")
    ] = None,
    world: Annotated[
        str | None, typer.Option("--world", help="Fit a planted world: default, or its knobs: telling=0.5,seed=1.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="Hyper-parameter: epochs=20.")] = None,
    set: Set = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fit recommenders on feature stores and evaluate them: one by name, all, or those of the settings."""
    from reelmill.flows.jobs import fits

    if model is not None and settings_file is None and model.endswith((".yaml", ".yml")):
        settings_file, model = Path(model), None
    if world is None and data is None:
        chosen = fits.choose(chosen_settings(settings_file, root, set), [model] if model else [], option or ())
        return planned("train", chosen, json) if dry_run else work("train", chosen, json)
    if model is None or settings_file is not None or (world is not None and data is not None):
        raise InputError("give --world or --data with the name of a recommender, or all, and without a settings file")
    place = [f"root={root or ('worlds' if world is not None else 'reelmill')}", *(set or ())]
    chosen = fits.choose(load(None, place), [model], option or ())
    if dry_run:
        return planned("train", chosen, json)
    return work("train", chosen, json, data=data, world=world)


@app.command()
def label(
    source: Annotated[Path, typer.Argument(help="Table of who liked what.")],
    format: Annotated[str, typer.Option(help="phd2, movielens or mapped.")] = "phd2",
    root: Annotated[str, typer.Option(help="Folder of the tables, or s3://….")] = "reelmill",
    map: Annotated[list[str] | None, typer.Option("--map", help="For mapped: ours=yours. Repeatable.")] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Build segments and labels from claimed durations alone, with no download."""
    from reelmill.flows.jobs import steps

    if format not in LABELLED:
        raise InputError(f"--format {format!r}: a table of who liked what is one of {', '.join(LABELLED)}")
    mapping = dict(pair.partition("=")[::2] for pair in map or ())
    base = {"root": str(root), "source": {"path": str(source), "format": format, "mapping": mapping}}
    settings = load(None, set or (), base)
    figures = {"source": steps.read_source(settings), "labels": steps.label(settings)}
    show(figures, json, tell.ingest)


@app.command()
def demo(
    folder: Annotated[str, typer.Option(help="Where the demo lives; a second run goes on there.")] = "demo",
    json: Json = False,
) -> None:
    """Render a small planted corpus, serve it on the loopback, run the whole job on it with random weights."""
    from reelmill.flows.jobs.demo import demo as run_demo

    if is_url(folder):
        raise InputError(f"--folder {folder!r}: the demo renders and serves videos on this machine; give a folder")
    with bars(json):
        figures = run_demo(Path(folder))
    show(figures, json, tell.demo)
