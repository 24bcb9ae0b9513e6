"""`reelmill serve`: deployments on a Prefect server."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reelmill.flows.cli.job import find_settings, load_settings
from reelmill.flows.cli.options import Json, Root, Set, SettingsFile
from reelmill.flows.cli.output import Table, show
from reelmill.flows.progress import safe
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.flows.serve.deployments import ServeResult


def serve(settings_file: SettingsFile = None, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Register nightly deployments on the server at PREFECT_API_URL, and do their runs unless a work pool does."""
    path = find_settings(settings_file, root)
    if path is None:
        raise InputError(
            "serve needs a settings file, which its runs will read; `reelmill init TABLE` or `reelmill settings` "
            "writes one"
        )
    chosen = load_settings(path, root, set)
    from reelmill.flows.jobs.steps import root_of
    from reelmill.flows.serve import deployments as serving

    overrides = [override for override in set or () if not override.startswith("root=")]
    if root is not None or len(overrides) != len(set or ()):
        overrides.append(f"root={root_of(chosen)}")
    deployments, result = serving.register(chosen, Path(path).resolve(), overrides)
    show(result, json, render)
    if chosen.serve.work_pool is None:
        serving.serve(deployments)


def render(out: Console, result: "ServeResult") -> None:
    """Deployments with their schedules, and how their runs are done."""
    table = Table("deployment", "schedule")
    for row in result.deployments:
        when = f"{row.schedule} {row.timezone}" if row.schedule else "by hand"
        table.add(safe(row.deployment), safe(when))
    table.print(out)
    first = result.deployments[0].deployment
    if result.work_pool is not None:
        out.print(f"workers do their runs: prefect worker start --pool {safe(result.work_pool)}", soft_wrap=True)
    else:
        out.print("this process does their runs; Ctrl-C ends it", soft_wrap=True)
    out.print(f"to start one now: prefect deployment run {safe(first)}", soft_wrap=True)
