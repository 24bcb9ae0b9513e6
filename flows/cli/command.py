"""What the verbs share: the Typer application, how a flow is run and told, how figures are printed."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from reelmill.flows.cli import tell, tell_keep
from reelmill.flows.cli.execute import execute
from reelmill.flows.progress import console, safe, shown
from reelmill.flows.settings.document import plain
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.storage.errors import InputError
from reelmill.storage.parts import is_folder
from reelmill.storage.place import place

app = typer.Typer(
    name="reelmill",
    help="From who liked which seconds of which video to feature stores and fitted recommenders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


STAGES: dict[str, tuple[str, ...]] = {
    "run": ("download", "extract", "texts", "train"), "ingest": ("download",), "extract": ("extract", "texts"),
    "backfill": ("extract", "texts"), "train": ("train",),
}  # fmt: skip
"""What `--dry-run` of a flow plans."""


def flow(
    name: str, file: Path | None, root: str | None, overrides: list[str] | None, as_json: bool, dry: bool = False
) -> None:
    """Run one of the flows by its name, with settings from file, root and overrides; or only say what it would do."""
    chosen = chosen_settings(file, root, overrides)
    if dry:
        return planned(name, chosen, as_json)
    return work(name, chosen, as_json)


def planned(name: str, chosen: Settings, as_json: bool, **given: Any) -> None:
    """Say what a flow would do, with what `reelmill.flows.jobs.plan.plan` takes besides."""
    from reelmill.flows.jobs.plan import plan

    with bars(as_json):
        figures = {"dry_run": True, **plan(chosen, stages=STAGES[name], **given)}
    if chosen.source is not None and name in ("run", "ingest"):
        figures["source"] = (
            f"{chosen.source.path} ({chosen.source.format}) is read first; rows that are new add to this"
        )
    show(figures, as_json, tell_keep.plan)


def work(name: str, chosen: Settings, as_json: bool, **given: Any) -> None:
    """Run one of the flows and tell what came of it."""
    from importlib import import_module

    from reelmill.flows.jobs import steps

    place = steps.root_of(chosen)
    before = {_identity(row) for row in steps.newest_failures(place)}
    with bars(as_json):
        figures = execute(getattr(import_module(f"reelmill.flows.jobs.{name}"), name), chosen, **given)
    rows = [row for row in steps.newest_failures(place) if _identity(row) not in before]
    fresh = sorted({f"{row['stage']}: {row['key']}" for row in rows})
    figures = {**figures, "new_failures": fresh}
    show(figures, as_json, getattr(tell if hasattr(tell, name) else tell_keep, name))
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


def chosen_settings(file: Path | None, root: str | None, overrides: list[str] | None) -> Settings:
    """Settings of a file, with what the command line overrides."""
    extra = [f"root={root}"] if root is not None else []
    return load(file, [*extra, *(overrides or ())])


def existing(root: str) -> None:
    """Raise InputError if the root is no folder, or nothing stands there on an object store."""
    if not is_folder(place(root)):
        raise InputError(f"root {root!r} is not a folder; give the one that `reelmill run` wrote with --root")


@contextlib.contextmanager
def bars(as_json: bool) -> Iterator[None]:
    """Draw progress while the block runs, unless a program reads along."""
    with shown(quiet=as_json and not console.is_terminal):
        yield


def show(figures: dict[str, Any], as_json: bool, tell: Callable[[Console, dict[str, Any]], None]) -> None:
    """Print figures on stdout, as JSON or by `tell`, a function of `reelmill.flows.cli.tell`."""
    if as_json:
        sys.stdout.write(json.dumps(figures, default=plain, indent=2) + "\n")
    else:
        tell(Console(highlight=False), figures)
