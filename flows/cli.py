"""The `reelmill` command: thin verbs over flows and functions that a program can call as well.

Results go to stdout, everything else to stderr. With `--json` a verb prints one JSON object there and nothing else.
Exit status: 0 done (failures that were known before included), 1 something failed that had not failed before,
2 the input breaks a rule, 130 stopped by Ctrl-C. With REELMILL_DEBUG set, errors of the system keep their traceback.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows import tell
from flows.arguments import Json, Root, Set, SettingsFile
from flows.document import described, document, plain
from flows.load import load
from flows.progress import console, safe, shown
from flows.settings import Settings
from storage.errors import InputError, ReelmillError

app = typer.Typer(
    name="reelmill",
    help="From who liked which seconds of which video to feature stores and fitted recommenders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

LABELLED = ("phd2", "movielens", "mapped")
"""Source formats that say who liked what; a folder of videos does not."""


def main() -> None:
    """Run the command; errors of the input and of the system are one message, not a traceback."""
    try:
        status = app(standalone_mode=False)  # Typer turns Ctrl-C into 130
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    except ReelmillError as error:
        status = _failed(error, str(error), 2 if isinstance(error, InputError) else 1)
    except OSError as error:
        if os.environ.get("REELMILL_DEBUG"):
            raise
        where = f": {error.filename}" if error.filename is not None else ""
        status = _failed(error, f"{error.strerror or error}{where}", 1)
    except Exception as error:
        if not (type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message")):
            _as_json(error, str(error))
            raise
        error.show()  # type: ignore[attr-defined]
        _as_json(error, error.format_message())
        status = 2
    if status == 130:
        console.print("[yellow]stopped; everything finished so far is kept, run the same command to go on[/]")
    sys.exit(status)


def _failed(error: Exception, message: str, status: int) -> int:
    console.print(f"[bold red]error:[/] {safe(message)}", highlight=False, soft_wrap=True)
    _as_json(error, message)
    return status


def _as_json(error: Exception, message: str) -> None:
    """The object that a program waits for on stdout."""
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps({"error": {"class": type(error).__name__, "message": message}}) + "\n")


@app.command()
def run(settings_file: SettingsFile, root: Root = None, set: Set = None, json: Json = False) -> None:
    """The main job: ingest → extract → train → report. Running it again does only what is missing."""
    _flow("run", settings_file, root, set, json)


@app.command()
def ingest(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Read the source, download and measure videos, build segments and labels."""
    _flow("ingest", settings_file, root, set, json)


@app.command()
def extract(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Run the networks on every video that lacks their features."""
    _flow("extract", settings_file, root, set, json)


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
    json: Json = False,
) -> None:
    """Fit recommenders on feature stores and evaluate them: one by name, all, or those of the settings."""
    from flows import fits

    if model is not None and settings_file is None and model.endswith((".yaml", ".yml")):
        settings_file, model = Path(model), None
    if world is None and data is None:
        chosen = fits.choose(_settings(settings_file, root, set), [model] if model else [], option or ())
        return _work("train", chosen, json)
    if model is None or settings_file is not None or (world is not None and data is not None):
        raise InputError("give --world or --data with the name of a recommender, or all, and without a settings file")
    place = [f"root={root or ('worlds' if world is not None else 'reelmill')}", *(set or ())]
    chosen = fits.choose(load(None, place), [model], option or ())
    return _work("train", chosen, json, data=data, world=world)


@app.command()
def recommend(
    root: Annotated[Path, typer.Option(help="Folder with a complete run.")] = Path("reelmill"),
    user: Annotated[str | None, typer.Option(help="For whom; anybody may be asked for, also who is new.")] = None,
    video: Annotated[str | None, typer.Option(help="In this video; over all of them if not given.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Name of a run; the newest if not given.")] = None,
    top: Annotated[int, typer.Option(help="How many.")] = 10,
    why: Annotated[bool, typer.Option("--why", help="Show what the attention rests on.")] = False,
    gif: Annotated[Path | None, typer.Option(help="Cut the first recommendation into this .gif or .mp4.")] = None,
    json: Json = False,
) -> None:
    """What a fitted recommender recommends to a user: segments, moments, items or next videos."""
    from flows import tell_recommend
    from flows.recommend import recommend as ask

    _existing(root)
    _print(ask(root, user, video, run, top, why, gif), json, tell_recommend.recommend)


@app.command()
def floors(
    root: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("reelmill"),
    data: Annotated[Path | None, typer.Option("--data", help="A published table, read into the root first.")] = None,
    json: Json = False,
) -> None:
    """What rankings of segments score without features and training: random, smooth random, early first."""
    from flows import steps

    if data is None:
        _existing(root)
    _print(steps.floors(root, data), json, tell.floors)


@app.command()
def report(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Write the HTML page over everything in the root."""
    from flows import steps

    path = steps.report(_settings(settings_file, root, set))
    _print({"report": str(path)}, json, lambda out, _: out.print(f"report: {safe(str(path))}", soft_wrap=True))


@app.command()
def label(
    source: Annotated[Path, typer.Argument(help="Table of who liked what.")],
    format: Annotated[str, typer.Option(help="phd2, movielens or mapped.")] = "phd2",
    root: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("reelmill"),
    map: Annotated[list[str] | None, typer.Option("--map", help="For mapped: ours=yours. Repeatable.")] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Build segments and labels from claimed durations alone, with no download."""
    from flows import steps

    if format not in LABELLED:
        raise InputError(f"--format {format!r}: a table of who liked what is one of {', '.join(LABELLED)}")
    mapping = dict(pair.partition("=")[::2] for pair in map or ())
    base = {"root": str(root), "source": {"path": str(source), "format": format, "mapping": mapping}}
    settings = load(None, set or (), base)
    figures = {"source": steps.read_source(settings), "labels": steps.label(settings)}
    _print(figures, json, tell.ingest)


@app.command()
def status(
    root: Annotated[Path, typer.Option(help="Folder of tables and features.")] = Path("reelmill"), json: Json = False
) -> None:
    """What is there: rows of each table, videos of each store, failures by class."""
    from flows import steps

    _existing(root)
    _print(steps.status(str(root)), json, tell.status)


@app.command()
def verify(
    root: Annotated[Path, typer.Option(help="Folder of tables and features.")] = Path("reelmill"), json: Json = False
) -> None:
    """Check every shard of every feature store against its checksum."""
    from storage import features

    _existing(root)
    found = {name: [str(e) for e in features.verify(root, name)] for name in features.list_stores(root)}
    _print({"stores": found}, json, tell.verify)
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
    _print(found, json, tell.weights)
    if action == "verify" and any(row["state"] == "wrong" for row in found["weights"]):
        raise typer.Exit(1)


@app.command()
def settings(json: Json = False) -> None:
    """Print a settings file with every key, its meaning and its default."""
    _print({"settings": described()}, json, lambda out, _: out.out(document(), end=""))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo lives; a second run goes on there.")] = Path("demo"),
    json: Json = False,
) -> None:
    """Render a small planted corpus, serve it on the loopback, run the whole job on it with random weights."""
    from flows.demo import demo as run_demo

    with _bars(json):
        figures = run_demo(folder)
    _print(figures, json, tell.demo)


def _flow(name: str, file: Path | None, root: Path | None, overrides: list[str] | None, as_json: bool) -> None:
    _work(name, _settings(file, root, overrides), as_json)


def _work(name: str, chosen: Settings, as_json: bool, **given: Any) -> None:
    """Run one of the flows and tell what came of it."""
    from importlib import import_module

    from flows import steps

    place = steps.root_of(chosen)
    before = {_identity(row) for row in steps.newest_failures(place)}
    with _bars(as_json):
        figures = getattr(import_module(f"flows.{name}"), name)(chosen, **given)
    rows = [row for row in steps.newest_failures(place) if _identity(row) not in before]
    fresh = sorted({f"{row['stage']}: {row['key']}" for row in rows})
    figures = {**figures, "new_failures": fresh}
    _print(figures, as_json, getattr(tell, name))
    if fresh:
        again = "the next run tries again"
        if any(row["permanent"] for row in rows):
            again = "those that are permanent are tried again with `--set retry_failed=true` only"
        console.print(
            f"[yellow]{len(fresh)} failed that had not failed before[/]; see them with "
            f"`reelmill status --root {safe(place)}`; {again}",
            soft_wrap=True,
        )
    if fresh or figures.get("train", figures).get("unfitted"):
        raise typer.Exit(1)


def _identity(failure: dict[str, Any]) -> tuple[str, str, str | None]:
    return failure["stage"], failure["key"], failure["spec"]


def _settings(file: Path | None, root: Path | None, overrides: list[str] | None) -> Settings:
    extra = [f"root={root}"] if root is not None else []
    return load(file, [*extra, *(overrides or ())])


def _existing(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"root {str(root)!r} is not a folder; give the one that `reelmill run` wrote with --root")


@contextlib.contextmanager
def _bars(as_json: bool) -> Iterator[None]:
    with shown(quiet=as_json and not console.is_terminal):
        yield


def _print(figures: dict[str, Any], as_json: bool, show: Callable[[Console, dict[str, Any]], None]) -> None:
    if as_json:
        sys.stdout.write(json.dumps(figures, default=plain, indent=2) + "\n")
    else:
        show(Console(highlight=False), figures)
