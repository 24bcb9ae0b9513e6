"""What verbs do before and after a job: find settings and root, draw progress, print what came of it."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

import typer
from rich.console import Console

from reelmill.flows.cli.output import show
from reelmill.flows.jobs.results import INLINE
from reelmill.flows.progress import console, safe, shown
from reelmill.storage.errors import InputError
from reelmill.storage.parts import is_folder
from reelmill.storage.place import place

if TYPE_CHECKING:
    from reelmill.flows.jobs.executor import Executor
    from reelmill.flows.settings.sections import Settings

P = ParamSpec("P")
R = TypeVar("R")
SETTINGS_FILE, ROOT = "settings.yaml", "reelmill"
"""Used in the current folder if the command names no others."""


def find_settings(file: Path | None, root: str | None) -> Path | None:
    """The settings file of a command: the one that it names; if it names no root either, `settings.yaml`."""
    if file is None and root is None and Path(SETTINGS_FILE).is_file():
        return Path(SETTINGS_FILE)
    return file


def load_settings(
    file: Path | None, root: str | None, overrides: Sequence[str] | None, *, makes_root: bool = False
) -> "Settings":
    """Settings of a command, by the rule of `options`. `makes_root`: the command creates the root if it does not
    exist. Raises InputError if it names neither settings nor a root, and the current folder has neither."""
    from reelmill.flows.settings.load import load

    path = find_settings(file, root)
    if path is None and root is None and not _root_given(overrides or ()):
        root = _root_here(makes_root)
    return load(path, overrides or (), root=root)


def find_root(file: Path | None, root: str | None) -> str:
    """Root of a command that reads one, by the rule of `options`. Raises InputError if it is not a folder, or empty on
    an object store."""
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


@dataclass(frozen=True)
class Worked(Generic[R]):
    """The result of a job, and what failed that had not failed before."""

    result: R = field(metadata=INLINE)
    new_failures: list[str] = field(default_factory=list)


def work(
    job: "Callable[Concatenate[Settings, Executor, P], R]",
    settings: "Settings",
    as_json: bool,
    render: Callable[[Console, R], None],
    *args: P.args,
    **options: P.kwargs,
) -> None:
    """Run a job, print its result, and name what failed that had not failed before; then exit with status 1."""
    from reelmill.flows.cli.execute import execute
    from reelmill.flows.jobs.failures import newest_failures

    root = settings.root
    before = {failure.identity for failure in newest_failures(root)}
    with progress(as_json):
        result = execute(job, settings, *args, **options)
    new = [failure for failure in newest_failures(root) if failure.identity not in before]
    names = sorted({f"{failure.stage}: {failure.key}" for failure in new})
    show(Worked(result, names), as_json, lambda out, worked: render(out, worked.result))
    if new:
        again = "the next run tries again"
        if any(failure.permanent for failure in new):
            again = "the permanent ones are tried again with `--set retry_failed=true` only"
        console.print(
            f"[yellow]{len(names)} failed that had not failed before[/]; see them with "
            f"`reelmill status --root {safe(root)}`; {again}",
            soft_wrap=True,
        )
    if new or (options.get("world") is not None and _unfitted(result)):
        raise typer.Exit(1)


def _unfitted(result: object) -> dict[str, str]:
    """The recommenders that could not be fitted, of a result that has any."""
    return getattr(getattr(result, "train", result), "unfitted", {})


@contextlib.contextmanager
def progress(as_json: bool) -> Iterator[None]:
    """Draw progress while the block runs, unless a program reads along."""
    with shown(quiet=as_json and not console.is_terminal):
        yield
