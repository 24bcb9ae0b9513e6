"""What verbs do before and after a job: find settings and root, draw progress, print what came of it."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from reelmill.flows.cli.output import Render, show
from reelmill.flows.progress import console, safe, shown
from reelmill.storage.errors import InputError
from reelmill.storage.parts import is_folder
from reelmill.storage.place import place

if TYPE_CHECKING:
    from reelmill.flows.settings.sections import Settings

SETTINGS_FILE, ROOT = "settings.yaml", "reelmill"
"""Read and used in the current folder where the command names no others."""


def find_settings(file: Path | None, root: str | None) -> Path | None:
    """The settings file of a command: the one that it names, else, if it names no root either, `settings.yaml`."""
    if file is None and root is None and Path(SETTINGS_FILE).is_file():
        return Path(SETTINGS_FILE)
    return file


def load_settings(
    file: Path | None, root: str | None, overrides: Sequence[str] | None, *, makes_root: bool = False
) -> "Settings":
    """Settings of a command, by the rule of `options`. `makes_root`: the command needs no root that is there already.
    Raises InputError if it names neither settings nor a root, and there are none here."""
    from reelmill.flows.settings.load import load

    path = find_settings(file, root)
    if path is None and root is None and not _root_given(overrides or ()):
        root = _root_here(makes_root)
    return load(path, overrides or (), root=root)


def find_root(file: Path | None, root: str | None) -> str:
    """Root of a command that reads one, by the rule of `options`. Raises InputError if it is no folder, or nothing is
    there on an object store."""
    if file is not None or root is None:
        root = load_settings(file, root, ()).root
    if not is_folder(place(root)):
        raise InputError(f"root {root!r} is not a folder; give the one that `reelmill run` wrote with --root")
    return root


def _root_given(overrides: Sequence[str]) -> bool:
    return "REELMILL__ROOT" in os.environ or any(override.startswith("root=") for override in overrides)


def _root_here(makes_root: bool) -> str:
    if not makes_root and not Path(ROOT).is_dir():
        raise InputError(
            f"no settings and no root: give SETTINGS or --root, or go to a folder with a {SETTINGS_FILE} or a root "
            f"called {ROOT}; `reelmill init TABLE` writes a {SETTINGS_FILE}"
        )
    return ROOT


def work(
    job: Callable[..., dict[str, Any]], settings: "Settings", as_json: bool, render: Render, **options: Any
) -> None:
    """Run a job, print its figures, and name what failed that had not failed before; then exit with status 1."""
    from reelmill.flows.cli.execute import execute
    from reelmill.flows.jobs import steps

    root = steps.root_of(settings)
    before = {_identity(row) for row in steps.newest_failures(root)}
    with progress(as_json):
        figures = execute(job, settings, **options)
    rows = [row for row in steps.newest_failures(root) if _identity(row) not in before]
    new = sorted({f"{row['stage']}: {row['key']}" for row in rows})
    figures = {**figures, "new_failures": new}
    show(figures, as_json, render)
    if new:
        again = "the next run tries again"
        if any(row["permanent"] for row in rows):
            again = "the permanent ones are tried again with `--set retry_failed=true` only"
        console.print(
            f"[yellow]{len(new)} failed that had not failed before[/]; see them with "
            f"`reelmill status --root {safe(root)}`; {again}",
            soft_wrap=True,
        )
    if new or figures.get("train", figures).get("unfitted"):
        raise typer.Exit(1)


def _identity(failure: dict[str, Any]) -> tuple[str, str, str | None]:
    return failure["stage"], failure["key"], failure["spec"]


@contextlib.contextmanager
def progress(as_json: bool) -> Iterator[None]:
    """Draw progress while the block runs, unless a program reads along."""
    with shown(quiet=as_json and not console.is_terminal):
        yield
